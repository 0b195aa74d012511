//! The lock that every `iptables` takes.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use crate::{Error, Family, Result};

/// As built into `iptables` (its `XT_LOCK_NAME`).
const PATH: &str = "/run/xtables.lock";
/// Between two attempts. Programs hold it for milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// The lock; it is let go when this is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "closing it lets go of the lock")] OwnedFd);

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// [`Error::Busy`] when others have it for longer than `patience`.
    #[allow(clippy::disallowed_methods, reason = "the kernel's only wait for a lock of a file has no end")]
    pub(crate) fn take(family: Family, patience: Duration) -> Result<Self> {
        let failed = |op| move |errno| Error::File { op, path: PATH.into(), errno };
        let file = open(PATH, OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
            .map_err(failed("open"))?;
        let deadline = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::Busy { family, waited_ms: patience.as_millis() });
                }
                Err(errno) => return Err(failed("lock")(errno)),
            }
        }
    }
}
