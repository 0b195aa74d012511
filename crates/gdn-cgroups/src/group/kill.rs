//! Who is in a group, and how to end them all.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Cgroup;
use crate::error::{Error, Result};
use crate::layout::Controller;
use crate::tree::Hierarchy;

/// Rounds of finding and killing before a group that keeps forking is given up; one is enough when it can be frozen.
const KILL_ROUNDS: usize = 64;

impl Cgroup {
    /// The processes of the group and of all groups below it, sorted; zombies may be among them on v1. Read from the cgroup2
    /// hierarchy where there is one.
    ///
    /// # Errors
    /// [`Error::Path`] when a list cannot be read.
    pub fn procs(&self) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        gather(self.tree.primary(), &self.name, &mut pids)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether no process is in the group or below it.
    ///
    /// # Errors
    /// [`Error::Path`] when a list cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.procs()?.is_empty())
    }

    /// A descriptor of the cgroup2 file `cgroup.events`; poll(2) answers `POLLPRI` when the last process has left or the first
    /// has come. `None` on a host with v1 only.
    ///
    /// # Errors
    /// [`Error::Path`] when it cannot be opened.
    pub fn events_fd(&self) -> Result<Option<OwnedFd>> {
        let open = |hierarchy: &Hierarchy| hierarchy.directory.open_for_reading(&self.file("cgroup.events"));
        self.tree.unified().map(open).transpose()
    }

    /// Sends SIGKILL to every process of the group and of all groups below it, those included that are being forked. Does not
    /// wait until they are gone.
    ///
    /// # Errors
    /// [`Error::Path`] or [`Error::Value`] when the kernel refuses; [`Error::Busy`] when new processes came faster than they
    /// could be killed (only possible without cgroup2 and without a freezer).
    pub fn kill(&self) -> Result<()> {
        if let Some(unified) = self.tree.unified() {
            match self.write(unified, "cgroup.kill", "1") {
                // Kernels before 5.14 have no such file.
                Err(Error::Path { errno: Errno::NOENT, .. }) if unified.directory.has(&self.name)? => {}
                Err(Error::Path { errno: Errno::NOENT, .. }) => return Ok(()),
                other => return other,
            }
        }
        self.set_frozen(true)?;
        let killed = self.kill_each();
        // A frozen process dies only when it is thawed.
        self.set_frozen(false)?;
        killed
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        if let Some(freezer) = self.tree.home(Controller::Freezer) {
            self.write(freezer, "freezer.state", if frozen { "FROZEN" } else { "THAWED" })
        } else if let Some(unified) = self.tree.unified() {
            self.write(unified, "cgroup.freeze", if frozen { "1" } else { "0" })
        } else {
            Ok(())
        }
    }

    fn kill_each(&self) -> Result<()> {
        let mut known: Vec<u32> = Vec::new();
        for _ in 0..KILL_ROUNDS {
            let pids = self.procs()?;
            if pids.iter().all(|pid| known.contains(pid)) {
                return Ok(());
            }
            for pid in &pids {
                self.kill_one(*pid)?;
            }
            known = pids;
        }
        Err(Error::Busy { path: self.tree.primary().directory.path.join(&self.name) })
    }

    fn kill_one(&self, number: u32) -> Result<()> {
        let failed = |op, errno| self.tree.primary().directory.failed(op, &self.name, errno);
        let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { return Ok(()) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Ok(()),
            Err(errno) => return Err(failed("open a process of", errno)),
        };
        // The number may have been given to a stranger between listing and opening; from here on it cannot change.
        if !self.procs()?.contains(&number) {
            return Ok(());
        }
        match pidfd_send_signal(&pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(failed("kill a process of", errno)),
        }
    }
}

/// Adds the processes of `group` and of all below it. A group that vanishes meanwhile has none.
fn gather(hierarchy: &Hierarchy, group: &str, pids: &mut Vec<u32>) -> Result<()> {
    let file = format!("{group}/cgroup.procs");
    let content = match hierarchy.directory.read_list(&file) {
        Ok(content) => content,
        Err(Error::Path { errno: Errno::NOENT | Errno::NODEV, .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    for line in content.lines() {
        pids.push(line.parse().map_err(|_| hierarchy.directory.unexpected(&file, line))?);
    }
    for below in hierarchy.directory.directories(group)? {
        gather(hierarchy, &format!("{group}/{below}"), pids)?;
    }
    Ok(())
}
