//! Processes of the in-memory world, with real pipes.

use std::os::fd::OwnedFd;

use gdn_traits::Attachment;
use gdn_types::{Error, ExitStatus, ProcessSpec, ProcessState, Result};
use tokio::sync::watch;

/// One process. `/bin/true`, `/bin/false` and `/bin/echo` end at once; anything else runs until it is ended.
pub(crate) struct FakeProcess {
    state: watch::Sender<Option<ExitStatus>>,
    tty: bool,
    /// Whether another may have its name.
    name_is_free: bool,
    /// Our ends of the attachments' pipes; dropped at the exit.
    ends: Vec<OwnedFd>,
}

impl FakeProcess {
    pub(crate) fn start(spec: &ProcessSpec) -> Result<(Self, Attachment)> {
        let (state, tty) = (watch::Sender::new(None), spec.tty.is_some());
        let mut process = FakeProcess { state, tty, name_is_free: false, ends: Vec::new() };
        let attachment = process.attach()?;
        if spec.path == "/bin/echo" {
            let line = format!("{}\n", spec.args.join(" "));
            let stdout = &process.ends[0];
            rustix::io::write(stdout, line.as_bytes()).map_err(failed)?;
        }
        Ok((process, attachment))
    }

    /// How a process of this kind ends by itself, if it does at once.
    pub(crate) fn ends_at_once(spec: &ProcessSpec) -> Option<ExitStatus> {
        match spec.path.as_str() {
            "/bin/true" | "/bin/echo" => Some(ExitStatus::Code(0)),
            "/bin/false" => Some(ExitStatus::Code(1)),
            _ => None,
        }
    }

    pub(crate) fn attach(&mut self) -> Result<Attachment> {
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        let (stdin_end, stdin) = pipe()?;
        if self.state.borrow().is_none() {
            self.ends.extend([stdout_end, stderr_end, stdin_end]);
        }
        let stderr = (!self.tty).then_some(stderr);
        Ok(Attachment { stdin: Some(stdin), stdout, stderr, stdout_first: 0, stderr_first: 0 })
    }

    /// Ends it; false when it had ended before.
    pub(crate) fn end(&mut self, status: ExitStatus) -> bool {
        let ended = self.state.send_if_modified(|state| state.replace(status).is_none());
        self.ends.clear();
        ended
    }

    pub(crate) fn state(&self) -> ProcessState {
        self.state.borrow().map_or(ProcessState::Running, ProcessState::Exited)
    }

    pub(crate) fn release_name(&mut self) {
        self.name_is_free = self.state() != ProcessState::Running;
    }

    pub(crate) fn is_replaceable(&self) -> bool {
        self.name_is_free
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.state.subscribe()
    }

    pub(crate) fn has_tty(&self) -> bool {
        self.tty
    }
}

/// A pipe as read end and write end.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)
}

fn failed(error: rustix::io::Errno) -> Error {
    Error::internal(format!("pipe of a fake process: {error}"))
}
