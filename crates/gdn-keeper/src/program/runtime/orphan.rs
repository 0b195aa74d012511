//! What a runtime has left to the keeper.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gdn_namespaces::pidfd_open;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::program::failure::{During, Result};
use crate::protocol::FailureKind;

/// Most processes between a runtime and what it has started.
const MAX_PARENTS: usize = 4;
/// How long each of those may outlive the runtime. Nothing else of the container's keeper goes on meanwhile.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A process that a client has started: its number, and a descriptor for it unless it has ended already.
pub(crate) struct Orphan {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// The process of that number once it is a child of this one, or nothing if it does not become one.
pub(super) fn adopted(pid: u32) -> Result<Option<OwnedFd>> {
    let Ok(pidfd) = pidfd_open(pid) else { return Ok(None) };
    for _ in 0..=MAX_PARENTS {
        if is_child(pidfd.as_fd())? {
            return Ok(Some(pidfd));
        }
        // crun joins a pid namespace by a process in between, which may outlive crun for a moment.
        match parent(pid) {
            // It has ended since the look above.
            Some(between) if between == std::process::id() => {}
            Some(between) if outlived(between) => {}
            _ => break,
        }
    }
    Ok(None)
}

/// Whether it can be waited for: any number but a child's would be a stranger's.
fn is_child(pidfd: BorrowedFd<'_>) -> Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::PidFd(pidfd), options) {
        Ok(_) => Ok(true),
        Err(Errno::CHILD) => Ok(false),
        Err(errno) => Err(errno).during(FailureKind::Internal, || "look at the runtime's process".into()),
    }
}

/// The parent of a process, as the kernel tells it now.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the state and the parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Whether that process of the runtime's is gone within the patience there is: then its children have another parent.
fn outlived(between: u32) -> bool {
    // One that cannot be opened is gone.
    let Ok(pidfd) = pidfd_open(between) else { return true };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    matches!(rustix::event::poll(&mut fds, Some(&PATIENCE)), Ok(1))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use gdn_namespaces::pidfd_signal;

    use super::*;
    use crate::program::system;

    #[test]
    fn what_outlives_its_parent_is_adopted_whenever_that_ends() {
        system::adopt_orphans().unwrap();
        for _ in 0..300 {
            let script = "sleep 60 > /dev/null & echo $!";
            let mut shell = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let pidfd = adopted(line.trim().parse().unwrap()).unwrap().expect("the shell ends at once");
            pidfd_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
            shell.wait().unwrap();
        }
    }

    #[test]
    fn who_has_another_parent_or_is_nobody_is_not_adopted() {
        assert!(adopted(1).unwrap().is_none());
        let mut ended = Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        assert!(adopted(ended.id()).unwrap().is_none());
    }
}
