//! Starting processes and copies, and moving their bytes.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::{Answer, Keeper};
use crate::program::failure::{Result, failure};
use crate::program::process::{Job, Process};
use crate::program::pump::Side;
use crate::protocol::{Attach, Body, Failure, FailureKind, Message, Started, Streams};

/// Most bytes kept of all processes that have ended: the keeper's memory is the host's, not the container's.
const MAX_HELD: usize = 16 * 1024 * 1024;

/// How often what is kept is looked at, at most.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Most processes that have ended and of which something is kept: each has descriptors of the keeper's.
const MAX_HOLDERS: usize = 256;

fn no_process(name: &str) -> Failure {
    failure(FailureKind::NoProcess, format!("no process {name} is running"))
}

impl Keeper {
    pub(super) fn process(&mut self, name: &str) -> Result<&mut Process> {
        self.processes
            .iter_mut()
            // One that a runtime is still starting has no number, no terminal and no descriptor of its own.
            .find(|process| process.name == name && !process.ended && process.client.is_none())
            .ok_or_else(|| no_process(name))
    }

    /// Attaches to a process that runs, of which some is kept, or of which is known how much it said.
    pub(super) fn attach(&mut self, attach: &Attach) -> Result<(Streams, Vec<OwnedFd>)> {
        let place = self.processes.iter().rposition(|process| {
            process.name == attach.process && (!process.ended || process.outputs.iter().any(Option::is_some))
        });
        match place {
            Some(place) if self.processes[place].client.is_some() => Err(no_process(&attach.process)),
            Some(place) => self.processes[place].attach([attach.stdout_from, attach.stderr_from]),
            None => self.past.attach(&attach.process),
        }
    }

    /// Lets go of processes of which nothing is left to be held.
    pub(super) fn forget_over(&mut self) {
        let past = &mut self.past;
        self.processes.retain(|process| {
            let over = process.is_over();
            if over {
                past.remember(process);
            }
            !over
        });
    }

    /// Gives up the output that was kept longest while it is too much in all, or of too many. What is kept of processes that
    /// run is bounded by their number.
    pub(super) fn bound_held_output(&mut self) {
        // Each look asks the kernel for each of them.
        let now = Instant::now();
        if now.duration_since(self.looked) < BETWEEN_LOOKS {
            return;
        }
        self.looked = now;
        self.processes.iter_mut().for_each(Process::look_at_tails);
        let kept = self.processes.iter().map(Process::held).filter(|held| *held > 0);
        let (mut number, mut bytes) = kept.fold((0, 0), |(number, sum), held| (number + 1, sum + held));
        for process in &mut self.processes {
            if number <= MAX_HOLDERS && bytes <= MAX_HELD {
                break;
            }
            let held = process.held();
            if held > 0 {
                (number, bytes) = (number - 1, bytes - held);
                process.let_go();
            }
        }
    }

    pub(super) fn run(
        &mut self,
        key: u64,
        id: u64,
        run: &crate::protocol::Run,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let container = self.running()?;
        if self.processes.iter().any(|process| process.name == run.process && !process.ended) {
            return Err(failure(
                FailureKind::ProcessExists,
                format!("process ID '{}' already in use", run.process),
            ));
        }
        let process = match (&run.runtime, &container.host_pids) {
            (None, None) => Process::start(container, run, descriptors, key, id)?,
            (Some(client), Some(_)) => {
                Process::start_by_runtime(container, run, client, descriptors, (key, id))?
            }
            _ => {
                return Err(failure(
                    FailureKind::OtherRuntime,
                    "the container was made by a runtime plug-in, or by another: start the engine with the same \
                     --runtime-plugin to run processes in it",
                ));
            }
        };
        self.processes.push(process);
        Ok(())
    }

    /// The child has said how its start went, or nothing yet.
    pub(super) fn finish_start(&mut self, index: usize) {
        if let Some((key, id, answer)) = self.start_answer(index) {
            self.tell_started(index, key, id, answer);
        }
    }

    /// What to answer to the client that started a process, and which client that is, once the outcome is known.
    pub(super) fn start_answer(&mut self, index: usize) -> Option<(u64, u64, Result<Answer>)> {
        let process = &mut self.processes[index];
        let starting = process.starting.take()?;
        let Some(outcome) = Process::start_outcome(&starting) else {
            process.starting = Some(starting);
            return None;
        };
        if outcome.is_err() {
            // Its exit is no exit of a process: nobody is told, nothing is written down.
            process.name.clear();
        }
        let pid = process.pid;
        let answer = outcome.map(|()| {
            let mut answer = Answer::streams((starting.streams, starting.descriptors));
            answer.reply.pid = pid;
            answer
        });
        Some((starting.connection, starting.request, answer))
    }

    /// Answers a start. When the client has gone meanwhile, whoever is there now learns that there is one more process.
    pub(super) fn tell_started(&mut self, index: usize, key: u64, id: u64, answer: Result<Answer>) {
        if answer.is_ok() && !self.connections.iter().any(|connection| connection.key == key) {
            let started = Started { process: self.processes[index].name.clone() };
            let message = Message { body: Some(Body::Started(started)) };
            return self.tell(|_| true, &message, &[]);
        }
        self.reply(key, id, answer);
    }

    pub(super) fn transfer(
        &mut self,
        key: u64,
        id: u64,
        transfer: &crate::protocol::Transfer,
        descriptors: Vec<OwnedFd>,
    ) -> Result<()> {
        let [stream]: [OwnedFd; 1] =
            descriptors.try_into().map_err(|_| failure(FailureKind::BadRequest, "a copy needs one pipe"))?;
        let job = Job::start(self.running()?, transfer, stream, key, id)?;
        self.jobs.push(job);
        Ok(())
    }

    pub(super) fn move_output(&mut self, index: usize, number: usize, side: Side, flags: PollFlags) {
        self.processes[index].tend(number, |output| {
            if side == Side::Sink && flags.intersects(PollFlags::ERR) {
                output.drop_dead_sinks();
            }
            output.advance()
        });
    }
}
