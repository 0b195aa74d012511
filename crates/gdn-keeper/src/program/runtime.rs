//! External runtimes: programs that start processes in a container and leave them to the keeper.
//!
//! A client is executed for each step, and ends when the step is done. What it has started is an orphan then, which the kernel
//! gives to the keeper: a child like any other. So nothing of a runtime stays while a process runs.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gdn_namespaces::{Namespaces, Spawned, pidfd_signal, spawn};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::container::Container;
use super::exec::{Stdio, place_streams};
use super::failure::{During, Result, encoded, failure};
use super::plan::Strings;
use super::pump::pipe_nonblocking;
use super::system;
use crate::protocol::{self, Failure, FailureKind};

mod orphan;
mod sandbox;
mod stage;
mod start;
mod terminal;

pub(crate) use orphan::Orphan;
use orphan::adopted;
pub(crate) use sandbox::sandbox;
pub(crate) use start::Pending;
pub(crate) use terminal::Console;

/// The whole environment of a client: nothing of the engine's.
const ENVIRONMENT: [&std::ffi::CStr; 1] =
    [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
/// How often it is looked whether the runtime's own child has become the program, and how long after one another.
const LOOKS: usize = 100;
const BETWEEN_LOOKS: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// Most bytes that are read of a number's file.
const MAX_NUMBER: u64 = 32;

/// A client that runs.
pub(crate) struct Client {
    pub(crate) pid: u32,
    pidfd: OwnedFd,
    /// Where the child says why the program could not be executed.
    errors: OwnedFd,
    pid_file: String,
    program: String,
}

impl Client {
    /// Executes a client, born in that node of the cgroup v2 tree, with mounts of its own if there are any.
    pub(crate) fn start(
        client: &protocol::Client,
        cgroup: Option<BorrowedFd<'_>>,
        mounts: &[OwnedFd],
        stdio: &Stdio,
        container: Option<&Container>,
    ) -> Result<Self> {
        if mounts.len() != client.mounts.len() {
            return Err(failure(FailureKind::BadRequest, "as many mounts as targets are needed"));
        }
        let (errors, child_errors) =
            pipe_nonblocking(true).during(FailureKind::Exhausted, || "make a pipe".into())?;
        // SAFETY: the keeper is single-threaded.
        #[allow(unsafe_code, reason = "forking is what the keeper is for")]
        let spawned = unsafe { spawn(Namespaces::NONE, cgroup) }
            .during(FailureKind::Exhausted, || "start the runtime".into())?;
        match spawned {
            Spawned::Child => {
                let failure = match execute(client, mounts, stdio, container) {
                    Ok(failure) | Err(failure) => failure,
                };
                // Shorter than the pipe; if the keeper is gone, nobody wants to know.
                let _ = rustix::io::write(&child_errors, &encoded(failure));
                system::exit_now(127)
            }
            Spawned::Parent { pid, pidfd } => {
                let program = client.args.first().cloned().unwrap_or_default();
                Ok(Client { pid, pidfd, errors, pid_file: client.pid_file.clone(), program })
            }
        }
    }

    /// Waits until what it has left is the program that was asked for. Runtimes tell of a start just before that, and a signal
    /// that came in between would meet the runtime's own code, which makes of it what it likes.
    pub(crate) fn executed(&self, orphan: &Orphan) {
        for _ in 0..LOOKS {
            if !self.is_runtime(orphan.pid) {
                return;
            }
            // One that ends meanwhile is not looked at any more.
            let mut fds = [PollFd::new(&orphan.pidfd, PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, Some(&BETWEEN_LOOKS));
        }
    }

    /// Whether a process executes the runtime's program, or the copy in memory that runtimes make of it.
    fn is_runtime(&self, pid: u32) -> bool {
        let link = format!("/proc/{pid}/exe");
        // There is none of one that has ended.
        let Ok(name) = rustix::fs::readlink(&link, Vec::new()) else { return false };
        let file = |path: &str| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
        name.as_bytes().starts_with(b"/memfd:") || file(&link).is_ok_and(|it| file(&self.program) == Ok(it))
    }

    /// Ends it; what it was about to start may still come to life, in the container's cgroup.
    pub(crate) fn kill(&self) {
        // It fails only for one that has ended.
        let _ = pidfd_signal(self.pidfd.as_fd(), libc::SIGKILL);
    }

    /// Whether it did what it was asked for.
    pub(crate) fn outcome(&self, wait_status: i32) -> Result<()> {
        let mut said = vec![0; 8192];
        if let Ok(length @ 1..) = rustix::io::read(&self.errors, &mut said) {
            return Err(<Failure as prost::Message>::decode(&said[..length]).unwrap_or_else(|_| {
                failure(FailureKind::Internal, "the runtime's child did not say why it failed")
            }));
        }
        let why = match (libc::WIFSIGNALED(wait_status), libc::WTERMSIG(wait_status)) {
            (true, signal) => format!("signal {signal}"),
            (false, _) => format!("exit status {}", libc::WEXITSTATUS(wait_status)),
        };
        if wait_status == 0 { Ok(()) } else { Err(failure(FailureKind::Runtime, why)) }
    }

    /// What it has left to the keeper. `early` tells whether a number is of a child that was reaped already.
    pub(crate) fn orphan(&self, early: impl Fn(u32) -> bool) -> Result<Orphan> {
        let wrong = |why: String| failure(FailureKind::Runtime, format!("the runtime's pid file {why}"));
        let mut text = String::new();
        std::fs::File::open(&self.pid_file)
            .and_then(|file| file.take(MAX_NUMBER).read_to_string(&mut text))
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let pid = text.trim().parse().ok().filter(|pid| *pid > 1);
        let pid: u32 = pid.ok_or_else(|| wrong(format!("holds no number of a process: {text:?}")))?;
        if early(pid) {
            let pidfd =
                self.pidfd.try_clone().during(FailureKind::Exhausted, || "copy a descriptor".into())?;
            return Ok(Orphan { pid, pidfd });
        }
        match adopted(pid)? {
            Some(pidfd) => Ok(Orphan { pid, pidfd }),
            None => Err(wrong(format!("names process {pid}, which the runtime has not left"))),
        }
    }
}

/// The child's side. Returns only when the program could not be executed.
fn execute(
    client: &protocol::Client,
    mounts: &[OwnedFd],
    stdio: &Stdio,
    container: Option<&Container>,
) -> Result<Failure> {
    system::reset_signals();
    rustix::process::setsid().during(FailureKind::Internal, || "start a session".into())?;
    if !client.hidden.is_empty() || !client.stage.is_empty() {
        stage::set(client, mounts, container)?;
    }
    rustix::process::chdir(&client.dir).during(FailureKind::Internal, || format!("enter {}", client.dir))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    place_streams(stdio).during(FailureKind::Exhausted, || "place the standard streams".into())?;
    system::restore_file_limit()
        .during(FailureKind::Internal, || "restore the limit of open files".into())?;
    let bytes: Vec<_> = client.args.iter().map(|text| text.as_bytes().to_vec()).collect();
    let args = Strings::new(&bytes)?;
    let Some(program) = args.first() else {
        return Err(failure(FailureKind::BadRequest, "no runtime to execute"));
    };
    let environment = Strings::new(&ENVIRONMENT.map(|variable| variable.to_bytes().to_vec()))?;
    let errno = system::execute(program, &args, &environment);
    let what = format!("execute the runtime {}", client.args[0]);
    Ok(Failure { kind: FailureKind::Internal.into(), what, errno })
}
