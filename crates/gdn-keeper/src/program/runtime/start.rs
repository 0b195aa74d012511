//! A process that an external runtime starts.

use std::os::fd::{AsFd, OwnedFd};

use super::{Client, Console};
use crate::program::container::Container;
use crate::program::exec::Stdio;
use crate::program::failure::{During, Result, failure};
use crate::program::process::{MAX_KEPT, Process, retention};
use crate::program::pump::{Output, Retention, pipe_nonblocking};
use crate::program::terminal;
use crate::protocol::{self, FailureKind, Run, Streams, Window};

/// A start that a runtime is at.
pub(crate) struct Pending {
    pub(crate) client: Client,
    pub(crate) connection: u64,
    pub(crate) request: u64,
    console: Option<(Console, Window)>,
    retention: Retention,
}

/// A process to be, the streams of its client, and where its terminal is going to come from.
type Wired = (Process, Stdio, Option<(Console, Window)>);

/// While a runtime starts a process, its own complaints go into the process's standard error, however long they are: nobody
/// reads yet, so they must not block it. What the process itself has written by then is not more than this, or told as lost.
const COMPLAINTS: Retention = Retention { block: false, hold: false, keep: MAX_KEPT };
/// Standard output is the process's alone: it waits for its reader.
const WAITING: Retention = Retention { block: true, hold: false, keep: 0 };

impl Process {
    /// Executes the runtime's client. What came of it is known when it has ended: [`Process::take_over`].
    pub(crate) fn start_by_runtime(
        container: &Container,
        run: &Run,
        client: &protocol::Client,
        mut descriptors: Vec<OwnedFd>,
        (connection, request): (u64, u64),
    ) -> Result<Self> {
        let own = run.sidecar.as_ref().is_some_and(|sidecar| sidecar.unified) && !descriptors.is_empty();
        let own = if own { Some(descriptors.remove(0)) } else { None };
        let cgroup = own.as_ref().or(container.unified.as_ref()).filter(|_| client.inside);
        let (mut process, stdio, console) = match run.tty {
            Some(window) => Self::with_console(run, client, window)?,
            None => {
                let host = |id: u32| container.ids.to_host(id);
                let no_id = || failure(FailureKind::BadRequest, "the user is not mapped in the container");
                let (uid, gid) = host(run.uid).zip(host(run.gid)).ok_or_else(no_id)?;
                let (mut process, stdio) = Self::with_pipes(run, uid, gid)?;
                for (output, retention) in process.outputs.iter_mut().flatten().zip([WAITING, COMPLAINTS]) {
                    output.retain(retention);
                }
                (process, stdio, None)
            }
        };
        let client = Client::start(client, cgroup.map(AsFd::as_fd), &descriptors, &stdio, Some(container))?;
        let retention = retention(run);
        process.client = Some(Pending { client, connection, request, console, retention });
        Ok(process)
    }

    /// With a terminal the client has nothing to read and nobody to write to; the terminal comes through a socket.
    fn with_console(run: &Run, client: &protocol::Client, window: Window) -> Result<Wired> {
        let during = || "make the process's terminal".to_owned();
        let console = Console::listen(&client.dir, &client.console)?;
        let (relay, our_stdin) = pipe_nonblocking(true).during(FailureKind::Exhausted, during)?;
        let stdio = Stdio::null().during(FailureKind::Exhausted, during)?;
        let placeholder = our_stdin.try_clone().during(FailureKind::Exhausted, during)?;
        let mut process = Process::new(run, placeholder, our_stdin, Vec::new());
        process.relay = Some(relay);
        Ok((process, stdio, Some((console, window))))
    }

    /// The client has ended: takes over what it started, and attaches the one who asked for it. A process that cannot be
    /// attached to is ended: nobody would hold it.
    pub(crate) fn take_over(
        &mut self,
        pending: &Pending,
        wait_status: i32,
        early: impl Fn(u32) -> bool,
    ) -> Result<(Streams, Vec<OwnedFd>)> {
        pending.client.outcome(wait_status)?;
        let orphan = pending.client.orphan(early)?;
        pending.client.executed(&orphan);
        (self.pid, self.pidfd) = (orphan.pid, orphan.pidfd);
        self.wire(pending).inspect_err(|_| {
            // It fails only for one that has ended by itself.
            let _ = self.signal(libc::SIGKILL);
        })
    }

    /// Its outputs and its first attachment.
    fn wire(&mut self, pending: &Pending) -> Result<(Streams, Vec<OwnedFd>)> {
        if let Some((console, window)) = &pending.console {
            let during = || "take over the process's terminal".to_owned();
            let master = console.received()?;
            terminal::resize(master.as_fd(), *window).during(FailureKind::Internal, during)?;
            let source = master.try_clone().during(FailureKind::Exhausted, during)?;
            self.outputs = vec![Some(Output::new(source, pending.retention, true))];
            self.terminal = Some(master);
        }
        let attached = self.attach([Some(0), Some(0)])?;
        for output in self.outputs.iter_mut().flatten() {
            output.retain(pending.retention);
        }
        Ok(attached)
    }
}
