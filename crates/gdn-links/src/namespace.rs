//! Doing one thing in another network namespace.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Result;
use crate::error::call;

/// The namespace of the calling thread, which may be another one than the process's first thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// Calls `work` in another namespace, and returns when the calling thread is back in its own.
///
/// A thread that stayed there would do the next caller's work in a wrong namespace, so the process ends when there is no way
/// back. Whether the thread may return is tried before it leaves.
pub(crate) fn inside<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T) -> Result<T> {
    let own = openat(CWD, OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(call("open own namespace"))?;
    enter(own.as_fd()).map_err(call("enter own network namespace"))?;
    enter(netns).map_err(call("enter network namespace"))?;
    let back = Back(own.as_fd());
    let result = work();
    drop(back);
    Ok(result)
}

fn enter(netns: BorrowedFd<'_>) -> rustix::io::Result<()> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
}

/// Brings the thread back, also when the work panics.
struct Back<'a>(BorrowedFd<'a>);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if enter(self.0).is_err() {
            std::process::abort();
        }
    }
}
