//! A keeper before it knows its container.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::program::system;

/// A process that is set up as a keeper and does not know yet for whom: what that takes is done ahead of the asking.
pub(crate) struct Readiness {
    pub(super) init_program: OwnedFd,
    pub(super) children: OwnedFd,
    pub(super) null: OwnedFd,
}

impl Readiness {
    /// Makes the calling process what every keeper is.
    pub(crate) fn reach(init_program: OwnedFd) -> std::io::Result<Self> {
        // Out of the launcher's session, and off its connection to the engine.
        rustix::process::setsid()?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        for number in 0..3 {
            system::place(rustix::io::fcntl_dupfd_cloexec(&null, 3)?, number)?;
        }
        system::new_session_keyring()?;
        system::ignore_broken_pipes()?;
        system::raise_file_limit()?;
        Ok(Readiness { init_program, children: system::child_signals()?, null })
    }
}
