//! What external runtimes do for the keeper, and what comes of it.

use std::os::fd::{AsFd, OwnedFd};

use super::{Answer, Keeper};
use crate::program::container::Built;
use crate::program::exec::Stdio;
use crate::program::failure::{During, Result, failure};
use crate::program::process::Process;
use crate::program::runtime::{self, Client};
use crate::protocol::{self, Assemble, FailureKind, Reply, Sandbox};

/// Most ends of children that are remembered while it is not known which of them runtimes have started.
const MAX_EARLY: usize = 256;

/// Clients that start no process, and ends that came before their beginnings were known.
#[derive(Default)]
pub(super) struct Clients {
    assembling: Option<Assembling>,
    /// Others, and who waits for them.
    others: Vec<(Client, u64, u64)>,
    early: Vec<(u32, i32)>,
}

/// The container is being made.
struct Assembling {
    client: Client,
    connection: u64,
    request: u64,
    /// The other end of init's standard input.
    life: OwnedFd,
}

impl Keeper {
    pub(super) fn make_sandbox(&mut self, sandbox: &Sandbox, descriptors: Vec<OwnedFd>) -> Result<Answer> {
        if self.container.is_some() {
            return Err(failure(FailureKind::BadRequest, "the sandbox is made already"));
        }
        let container = self.container.insert(runtime::sandbox(sandbox, descriptors)?);
        let pidfd =
            container.pidfd.try_clone().during(FailureKind::Exhausted, || "hand out the pidfd".into())?;
        let netns = container.network_namespace()?;
        Ok(Answer {
            reply: Reply { pid: container.pid, ..Reply::default() },
            descriptors: vec![pidfd, netns],
        })
    }

    pub(super) fn assemble(
        &mut self,
        connection: u64,
        request: u64,
        assemble: &Assemble,
        mut descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let client = assemble.client.clone().unwrap_or_default();
        let container = match &mut self.container {
            Some(container) if !self.dead && container.built.is_none() => container,
            _ => return Err(failure(FailureKind::NotRunning, "there is no sandbox to be built")),
        };
        if container.host_pids.is_none() || self.runtime.assembling.is_some() {
            return Err(failure(FailureKind::BadRequest, "the container is made already"));
        }
        container.tasks = descriptors.split_off(descriptors.len().min(client.mounts.len()));
        let during = || "make init's standard streams".to_owned();
        let (stdin, life) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .during(FailureKind::Exhausted, during)?;
        let stdio = Stdio { stdin, ..Stdio::null().during(FailureKind::Exhausted, during)? };
        let cgroup = container.unified.as_ref().filter(|_| client.inside);
        let client = Client::start(&client, cgroup.map(AsFd::as_fd), &descriptors, &stdio, None)?;
        self.runtime.assembling = Some(Assembling { client, connection, request, life });
        Ok(())
    }

    /// Starts a client of which only the end is of interest.
    pub(super) fn run_client(
        &mut self,
        connection: u64,
        request: u64,
        client: &protocol::Client,
    ) -> Result<()> {
        let stdio = Stdio::null().during(FailureKind::Exhausted, || "make standard streams".into())?;
        let client = Client::start(client, None, &[], &stdio, None)?;
        self.runtime.others.push((client, connection, request));
        Ok(())
    }

    /// Nothing is started any more.
    pub(super) fn kill_clients(&self) {
        let starts = self.processes.iter().filter_map(|process| process.client.as_ref());
        let making = self.runtime.assembling.as_ref().map(|assembling| &assembling.client);
        let others = self.runtime.others.iter().map(|(client, ..)| client);
        starts.map(|pending| &pending.client).chain(making).chain(others).for_each(Client::kill);
    }

    /// A child has ended that is no process that we know: a client, or what one has started.
    pub(super) fn client_ended(&mut self, pid: u32, wait_status: i32) {
        let is = |process: &Process| process.client.as_ref().is_some_and(|pending| pending.client.pid == pid);
        if let Some(index) = self.processes.iter().position(is) {
            self.started_by_runtime(index, wait_status);
        } else if self.runtime.assembling.as_ref().is_some_and(|assembling| assembling.client.pid == pid) {
            self.assembled(wait_status);
        } else if let Some(index) = self.runtime.others.iter().position(|(client, ..)| client.pid == pid) {
            let (client, key, id) = self.runtime.others.remove(index);
            self.reply(key, id, client.outcome(wait_status).map(|()| Answer::default()));
        } else if self.runtime.early.len() < MAX_EARLY && self.starts_anything() {
            self.runtime.early.push((pid, wait_status));
            return;
        }
        if !self.starts_anything() {
            self.runtime.early.clear();
        }
    }

    fn starts_anything(&self) -> bool {
        self.runtime.assembling.is_some() || self.processes.iter().any(|process| process.client.is_some())
    }

    fn started_by_runtime(&mut self, index: usize, wait_status: i32) {
        let early = std::mem::take(&mut self.runtime.early);
        let process = &mut self.processes[index];
        let Some(pending) = process.client.take() else { return };
        let was_early = |pid: u32| early.iter().any(|(ended, _)| *ended == pid);
        let taken = process.take_over(&pending, wait_status, was_early);
        if taken.is_err() {
            // Its exit is no exit of a process: nobody is told, nothing is written down.
            process.name.clear();
            process.give_up();
        }
        let pid = process.pid;
        let answer = taken.map(|streams| {
            let mut answer = Answer::streams(streams);
            answer.reply.pid = pid;
            answer
        });
        self.tell_started(index, pending.connection, pending.request, answer);
        self.end_early(early, pid);
    }

    fn assembled(&mut self, wait_status: i32) {
        let early = std::mem::take(&mut self.runtime.early);
        let Some(assembling) = self.runtime.assembling.take() else { return };
        let Assembling { client, connection, request, life } = assembling;
        let mut pid = 0;
        let outcome = client.outcome(wait_status).and_then(|()| {
            let was_early = |pid: u32| early.iter().any(|(ended, _)| *ended == pid);
            let init = client.orphan(was_early)?;
            pid = init.pid;
            let container = self.container.as_mut().filter(|_| !self.dead).ok_or_else(|| {
                failure(FailureKind::NotRunning, "the container was ended while it was made")
            })?;
            let root = std::fs::File::open(format!("/proc/{pid}/root"))
                .during(FailureKind::NotRunning, || "open the container's root".into())?;
            let root = OwnedFd::from(root);
            let copy = || root.try_clone().during(FailureKind::Exhausted, || "hand out the root".into());
            let (handed, terminals) = (copy()?, copy()?);
            // The process that held the namespaces ends with its pipe; its end means nothing any more.
            (container.pid, container.pidfd, container.init) = (pid, init.pidfd, life);
            // The runtime has seen to the confinement of its processes.
            container.built = Some(Built { root, terminals, filter: None, apparmor: String::new() });
            Ok(Answer { reply: Reply { pid, ..Reply::default() }, descriptors: vec![handed] })
        });
        self.reply(connection, request, outcome);
        self.end_early(early, pid);
    }

    /// Makes up for an end that was told before its beginning; the others are still of interest.
    fn end_early(&mut self, mut early: Vec<(u32, i32)>, pid: u32) {
        let place = early.iter().position(|(ended, _)| *ended == pid);
        let ended = place.map(|place| early.swap_remove(place));
        self.runtime.early = early;
        if let Some((pid, wait_status)) = ended {
            self.ended(pid, wait_status);
        }
    }
}
