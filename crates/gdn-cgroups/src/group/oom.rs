//! Being told that a group ran out of memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::Cgroup;
use crate::error::{Error, Result};
use crate::layout::Controller;
use crate::tree::Version;

/// A descriptor that becomes ready when its group runs out of memory. Being ready means "look": on v2 other memory events make
/// it ready too, and so does the group's removal; [`Cgroup::oom_kills`] counts the processes that were killed.
#[derive(Debug)]
pub struct OomWatch {
    /// v1: an eventfd (`POLLIN`). v2: `memory.events` (`POLLPRI`).
    fd: OwnedFd,
    version: Version,
}

impl OomWatch {
    /// What to poll the descriptor for.
    pub fn interest(&self) -> PollFlags {
        match self.version {
            Version::V1 => PollFlags::IN,
            Version::V2 => PollFlags::PRI,
        }
    }

    /// Whether the descriptor was ready, without waiting; makes it not ready.
    ///
    /// # Errors
    /// The error number of poll(2) or read(2).
    pub fn fired(&self) -> std::result::Result<bool, Errno> {
        let mut descriptors = [PollFd::new(&self.fd, self.interest())];
        rustix::event::poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        if !descriptors[0].revents().intersects(self.interest()) {
            return Ok(false);
        }
        // Reading takes the event: 8 bytes of an eventfd; from the start in the case of the control file.
        let mut content = [0u8; 256];
        match self.version {
            Version::V1 => rustix::io::read(&self.fd, &mut content)?,
            Version::V2 => rustix::io::pread(&self.fd, &mut content, 0)?,
        };
        Ok(true)
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cgroup {
    /// Asks to be told when the group runs out of memory.
    ///
    /// # Errors
    /// [`Error::NoController`] without a memory controller; [`Error::Path`] or [`Error::Value`] when the kernel refuses.
    pub fn oom_watch(&self) -> Result<OomWatch> {
        let home = self.home(Controller::Memory)?;
        let (directory, version) = (&home.directory, home.version);
        if version == Version::V2 {
            let file = self.file("memory.events");
            let fd = directory.open_for_reading(&file)?;
            // The first read sets the mark from which on changes make it ready.
            rustix::io::pread(&fd, &mut [0u8; 256], 0)
                .map_err(|errno| directory.failed("read", &file, errno))?;
            return Ok(OomWatch { fd, version });
        }
        let control = directory.open_for_reading(&self.file("memory.oom_control"))?;
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| Error::Path {
            op: "make an eventfd for",
            path: directory.path.join(&self.name),
            errno,
        })?;
        self.write(home, "cgroup.event_control", &format!("{} {}", fd.as_raw_fd(), control.as_raw_fd()))?;
        Ok(OomWatch { fd, version })
    }
}
