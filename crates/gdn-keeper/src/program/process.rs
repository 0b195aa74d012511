//! One process of the container, from its start to the record of its end.

use std::os::fd::{AsFd, OwnedFd};

use gdn_namespaces::{Namespaces, Spawned, spawn};
use rustix::fs::fchown;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::container::Container;
use super::exec::{self, Stdio};
use super::failure::{During, Result, encoded, failure};
use super::plan::{Plan, Refusal};
use super::pump::{Output, Progress, Retention, pipe_never_blocking, pipe_nonblocking};
use super::runtime::Pending;
use super::sidecar::Sidecar;
use super::{system, terminal};
use crate::protocol::{Failure, FailureKind, Run, Streams, Window};

/// End of file on a terminal's input (VEOF, ^D).
const END_OF_FILE: u8 = 4;

/// Most bytes of one output that are kept: the keeper's memory is the host's, not the container's.
pub(crate) const MAX_KEPT: usize = 4 * 1024 * 1024;

/// A process that the keeper started.
pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(super) pidfd: OwnedFd,
    /// Set until the program has been exec'd: where the child says why it could not, and who wants to know.
    pub(crate) starting: Option<Starting>,
    /// Set while an external runtime starts it; until then it has no number.
    pub(crate) client: Option<Pending>,
    /// The write end of standard input, for attachments to come; gone once it was closed.
    pub(super) stdin: Option<OwnedFd>,
    /// With a terminal: its master, and the read end of the pipe whose bytes it gets.
    pub(super) terminal: Option<OwnedFd>,
    pub(super) relay: Option<OwnedFd>,
    /// Typed, but the terminal had no room yet.
    typed: Vec<u8>,
    /// Standard output and error (with a terminal, only the first).
    pub(crate) outputs: Vec<Option<Output>>,
    /// How many bytes each output said that is not there any more.
    pub(crate) written: [u64; 2],
    /// Set when the kernel has told that it ended.
    pub(crate) ended: bool,
}

/// A start whose outcome is not known yet.
pub(crate) struct Starting {
    pub(crate) errors: OwnedFd,
    plan: Plan,
    pub(crate) connection: u64,
    pub(crate) request: u64,
    /// The first attachment's descriptors.
    pub(crate) streams: Streams,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Starting {
    fn failure(&self, said: &[u8]) -> Failure {
        match Refusal::parse(said) {
            Some(refusal) => self.plan.failure(refusal),
            None => <Failure as prost::Message>::decode(said)
                .unwrap_or_else(|_| failure(FailureKind::Internal, "the process did not say why it failed")),
        }
    }
}

impl Process {
    /// Forks the process. Whether the program could be started is told later, by [`Process::start_outcome`].
    pub(crate) fn start(
        container: &Container,
        run: &Run,
        descriptors: Vec<OwnedFd>,
        connection: u64,
        request: u64,
    ) -> Result<Self> {
        let sidecar = Sidecar::of(run, descriptors, container)?;
        let unified = sidecar.as_ref().and_then(|sidecar| sidecar.unified.as_ref());
        let unified = unified.or(container.unified.as_ref());
        let plan = Plan::new(run)?;
        let no_id =
            |id: u32| failure(FailureKind::BadRequest, format!("id {id} is not mapped in the container"));
        let uid = container.ids.to_host(run.uid).ok_or_else(|| no_id(run.uid))?;
        let gid = container.ids.to_host(run.gid).ok_or_else(|| no_id(run.gid))?;
        // The kernel's refusal would not say which.
        if let Some(group) = run.groups.iter().find(|group| container.ids.to_host(**group).is_none()) {
            return Err(no_id(*group));
        }
        let (mut process, stdio) = match run.tty {
            Some(window) => Self::with_terminal(container, run, window, uid)?,
            None => Self::with_pipes(run, uid, gid)?,
        };
        // What the child says fits into it.
        let (errors, child_errors) =
            pipe_never_blocking().during(FailureKind::Exhausted, || "make a pipe".into())?;
        // Before the fork: whatever fails afterwards would leave a process that nobody holds.
        let (streams, descriptors) = process.attach([None; 2])?;
        // SAFETY: the keeper is single-threaded.
        #[allow(unsafe_code, reason = "forking is what the keeper is for")]
        let spawned = unsafe { spawn(Namespaces::NONE, unified.map(AsFd::as_fd)) }
            .during(FailureKind::Exhausted, || "start a process".into())?;
        match spawned {
            Spawned::Child => exec::run(container, &plan, sidecar.as_ref(), &stdio, child_errors.as_fd()),
            Spawned::Parent { pid, pidfd } => (process.pid, process.pidfd) = (pid, pidfd),
        }
        process.starting = Some(Starting { errors, plan, connection, request, streams, descriptors });
        Ok(process)
    }

    pub(super) fn new(run: &Run, pidfd: OwnedFd, stdin: OwnedFd, outputs: Vec<Option<Output>>) -> Self {
        Process {
            name: run.process.clone(),
            pid: 0,
            pidfd,
            starting: None,
            client: None,
            stdin: Some(stdin),
            terminal: None,
            relay: None,
            typed: Vec::new(),
            outputs,
            written: [0; 2],
            ended: false,
        }
    }

    pub(super) fn with_pipes(run: &Run, uid: u32, gid: u32) -> Result<(Self, Stdio)> {
        let during = || "make the process's pipes".to_owned();
        let (stdin, our_stdin) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .during(FailureKind::Exhausted, during)?;
        let (our_stdout, stdout) = pipe_nonblocking(true).during(FailureKind::Exhausted, during)?;
        let (our_stderr, stderr) = pipe_nonblocking(true).during(FailureKind::Exhausted, during)?;
        for pipe in [&stdin, &stdout, &stderr] {
            // So that the user can open /dev/stdout and the like again.
            fchown(pipe, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .during(FailureKind::Internal, during)?;
        }
        let outputs = [our_stdout, our_stderr].map(|source| Some(Output::new(source, retention(run), false)));
        // The pidfd is replaced right after the fork; until then any descriptor of ours serves.
        let placeholder = our_stdin.try_clone().during(FailureKind::Exhausted, during)?;
        let process = Self::new(run, placeholder, our_stdin, outputs.into());
        Ok((process, Stdio { stdin, stdout, stderr, terminal: false }))
    }

    fn with_terminal(container: &Container, run: &Run, window: Window, uid: u32) -> Result<(Self, Stdio)> {
        let during = || "make the process's terminal".to_owned();
        let built = container
            .built
            .as_ref()
            .ok_or_else(|| failure(FailureKind::NotRunning, "the container is not built"))?;
        let group = container.ids.to_host(terminal::TTY_GROUP).unwrap_or(terminal::TTY_GROUP);
        let (master, peer) = terminal::open(built.terminals.as_fd(), window, uid, group)?;
        let (relay, our_stdin) = pipe_nonblocking(true).during(FailureKind::Exhausted, during)?;
        let source = master.try_clone().during(FailureKind::Exhausted, during)?;
        let copy = || peer.try_clone().during(FailureKind::Exhausted, during);
        let stdio = Stdio { stdin: copy()?, stdout: copy()?, stderr: copy()?, terminal: true };
        let placeholder = copy()?;
        let mut process =
            Self::new(run, placeholder, our_stdin, vec![Some(Output::new(source, retention(run), true))]);
        process.terminal = Some(master);
        process.relay = Some(relay);
        Ok((process, stdio))
    }

    /// What the child said about its start: `None` while it has not, then success or the failure.
    pub(crate) fn start_outcome(starting: &Starting) -> Option<Result<()>> {
        // Not filled with zeros: after a fork, the kernel copies each page that is written to.
        let mut said = Box::new_uninit_slice(8192);
        match rustix::io::read(&starting.errors, &mut *said) {
            Err(Errno::AGAIN | Errno::INTR) => None,
            Ok(([], _)) => Some(Ok(())),
            Ok((said, _)) => Some(Err(starting.failure(said))),
            Err(errno) => {
                Some(Err(errno).during(FailureKind::Internal, || "hear of the process's start".into()))
            }
        }
    }

    /// Makes the descriptors of one more attachment, whose outputs begin with these bytes.
    pub(crate) fn attach(&mut self, from: [Option<u64>; 2]) -> Result<(Streams, Vec<OwnedFd>)> {
        let during = || "attach to the process".to_owned();
        let mut descriptors = Vec::with_capacity(3);
        let mut streams = Streams { stdin: self.stdin.is_some(), ..Streams::default() };
        if let Some(stdin) = &self.stdin {
            descriptors.push(stdin.try_clone().during(FailureKind::Exhausted, during)?);
        }
        // All of them before anything is attached: what is held goes to whoever attaches next.
        let pipes: std::io::Result<Vec<_>> = self.outputs.iter().map(|_| pipe_never_blocking()).collect();
        for (index, (reader, sink)) in pipes.during(FailureKind::Exhausted, during)?.into_iter().enumerate() {
            // An output that has ended gives a pipe that is at its end.
            let first = match &mut self.outputs[index] {
                Some(output) => output.attach(sink, from[index]),
                None => self.written[index],
            };
            if self.ended {
                // Nothing else will happen that makes it go out, and its end with it.
                self.tend(index, Output::advance);
            }
            descriptors.push(reader);
            if index == 0 {
                (streams.stdout, streams.stdout_first) = (true, first);
            } else {
                (streams.stderr, streams.stderr_first) = (true, first);
            }
        }
        Ok((streams, descriptors))
    }

    /// Sends a signal; to a process that has ended, nothing.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        match gdn_namespaces::pidfd_signal(self.pidfd.as_fd(), signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other
                .during(FailureKind::BadRequest, || format!("send signal {signal} to process {}", self.name)),
        }
    }

    /// Changes the terminal's size.
    pub(crate) fn resize(&self, window: Window) -> Result<()> {
        let master = self.terminal.as_ref().ok_or_else(|| {
            failure(FailureKind::NoTerminal, format!("process {} has no terminal", self.name))
        })?;
        terminal::resize(master.as_fd(), window)
            .during(FailureKind::Internal, || "resize the terminal".into())
    }

    /// Ends standard input: the pipe's, or the terminal's by its end-of-file character after what was typed.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
        if self.relay.is_some() && self.terminal.is_some() {
            self.take_typed();
            self.typed.push(END_OF_FILE);
            self.type_pending();
        }
    }

    /// The pipe from which a terminal is fed, while it can take more.
    pub(crate) fn relay_source(&self) -> Option<&OwnedFd> {
        self.relay.as_ref().filter(|_| self.typed.is_empty() && !self.ended)
    }

    /// The terminal, while it has not taken everything typed.
    pub(crate) fn relay_target(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().filter(|_| !self.typed.is_empty() && !self.ended)
    }

    /// Moves typed bytes to the terminal.
    pub(crate) fn relay_input(&mut self) {
        if self.typed.is_empty()
            && let Some(relay) = &self.relay
        {
            let mut chunk = vec![0; 4096];
            match rustix::io::read(relay, &mut chunk) {
                Ok(0) => self.relay = None,
                Ok(length) => {
                    chunk.truncate(length);
                    self.typed = chunk;
                }
                Err(_) => {}
            }
        }
        self.type_pending();
    }

    /// Takes what is in the relay pipe, all of it, and closes the pipe.
    fn take_typed(&mut self) {
        let Some(relay) = self.relay.take() else { return };
        // What arrives from now on came after the end.
        let length = rustix::io::ioctl_fionread(&relay).ok().and_then(|length| usize::try_from(length).ok());
        let mut rest = vec![0; length.unwrap_or(0)];
        // One read takes the whole content of a pipe.
        if let Ok(length) = rustix::io::read(&relay, &mut rest) {
            self.typed.extend_from_slice(&rest[..length]);
        }
    }

    fn type_pending(&mut self) {
        let Some(terminal) = &self.terminal else { return };
        while !self.typed.is_empty() {
            match rustix::io::write(terminal, &self.typed) {
                Ok(0) => return,
                Ok(written) => drop(self.typed.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.typed.clear(),
            }
        }
    }

    /// The process has ended: its outputs give what is left, and nothing can be typed.
    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.stdin = None;
        self.relay = None;
        self.typed.clear();
        self.tend_all(Output::end);
    }

    /// Does something about one output, which may be over then.
    pub(crate) fn tend(&mut self, number: usize, what: impl FnOnce(&mut Output) -> Progress) {
        let slot = &mut self.outputs[number];
        if let Some(output) = slot
            && what(output) == Progress::Done
        {
            self.written[number] = output.position();
            *slot = None;
        }
    }

    fn tend_all(&mut self, what: impl Fn(&mut Output) -> Progress) {
        for number in 0..self.outputs.len() {
            self.tend(number, &what);
        }
    }

    /// It was never started: nothing of it is of interest.
    pub(crate) fn give_up(&mut self) {
        self.ended = true;
        // They keep their places: this turn of the loop may still have news of them.
        self.outputs.iter_mut().for_each(|output| *output = None);
    }

    /// Gives up what was taken since by those it was kept for.
    pub(crate) fn look_at_tails(&mut self) {
        if self.ended {
            self.tend_all(Output::look_at_tail);
        }
    }

    /// Bytes of it that are kept after its end.
    pub(crate) fn held(&self) -> usize {
        self.outputs.iter().flatten().map(Output::held).sum()
    }

    /// Gives up what is kept of it.
    pub(crate) fn let_go(&mut self) {
        self.tend_all(Output::let_go);
    }

    /// The engine has gone, and its readers with it.
    pub(crate) fn engine_left(&mut self) {
        self.tend_all(Output::engine_left);
    }

    /// There is an engine again.
    pub(crate) fn engine_came(&mut self) {
        self.tend_all(Output::engine_came);
    }

    /// Whether nothing of it is left to be held.
    pub(crate) fn is_over(&self) -> bool {
        self.ended
            && self.starting.is_none()
            && self.client.is_none()
            && self.outputs.iter().all(Option::is_none)
    }
}

/// What becomes of output that nobody reads, and of output that a reader lost on its way.
pub(super) fn retention(run: &Run) -> Retention {
    let keep = usize::try_from(run.keep_output).unwrap_or(usize::MAX).min(MAX_KEPT);
    Retention { block: run.block_output, hold: run.hold_output, keep }
}

/// A copy of files in or out, done by a child.
pub(crate) struct Job {
    pub(crate) pid: u32,
    pub(crate) errors: OwnedFd,
    pub(crate) connection: u64,
    pub(crate) request: u64,
}

impl Job {
    /// Forks the child.
    pub(crate) fn start(
        container: &Container,
        transfer: &crate::protocol::Transfer,
        stream: OwnedFd,
        connection: u64,
        request: u64,
    ) -> Result<Self> {
        let (errors, child_errors) =
            pipe_nonblocking(true).during(FailureKind::Exhausted, || "make a pipe".into())?;
        // SAFETY: the keeper is single-threaded.
        #[allow(unsafe_code, reason = "forking is what the keeper is for")]
        let spawned = unsafe { container.spawn_inside(container.unified.as_ref().map(AsFd::as_fd)) }
            .during(FailureKind::Exhausted, || "start a copy".into())?;
        match spawned {
            Spawned::Parent { pid, .. } => Ok(Job { pid, errors, connection, request }),
            Spawned::Child => system::exit_now(copy(container, transfer, &stream, &child_errors)),
        }
    }
}

/// The child's side of a copy. Returns its exit status.
fn copy(
    container: &Container,
    transfer: &crate::protocol::Transfer,
    stream: &OwnedFd,
    errors: &OwnedFd,
) -> i32 {
    system::reset_signals();
    let prepared = system::ignore_broken_pipes()
        .during(FailureKind::Internal, || "prepare a copy".into())
        .and_then(|()| exec::visit(container));
    // Before any path of the container is followed: some lead to descriptors (CVE-2024-21626).
    let Ok((stream, errors)) = keep_only(stream, errors) else { return 1 };
    let prepared =
        prepared.and_then(|()| exec::visit_as(transfer.uid, transfer.gid, &transfer.groups, &transfer.home));
    match prepared.and_then(|()| super::transfer::run(transfer, stream)) {
        Ok(()) => 0,
        Err(failure) => {
            // Shorter than the pipe; if the keeper is gone, nobody wants to know.
            let _ = rustix::io::write(&errors, &encoded(failure));
            1
        }
    }
}

/// Closes everything the keeper holds but two descriptors: a copy of another process's pipe would keep its reader waiting
/// for as long as this child lives.
fn keep_only(first: &OwnedFd, second: &OwnedFd) -> std::io::Result<(OwnedFd, OwnedFd)> {
    let lifted = (rustix::io::fcntl_dupfd_cloexec(first, 10)?, rustix::io::fcntl_dupfd_cloexec(second, 10)?);
    system::place(lifted.0, 3)?;
    system::place(lifted.1, 4)?;
    system::close_from(5)?;
    Ok((system::placed(3), system::placed(4)))
}
