//! Output that no reader has taken when the last one goes.
//!
//! A reader is the engine, on behalf of a client. Where one goes because its client has, the process goes on without a reader.
//! Where it goes because the engine has, its client will come back to the next engine, and what is written meanwhile is for
//! it. The kernel closes a dead engine's descriptors one by one, so the keeper may see the reader go a moment before it sees
//! the engine go.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// How long an output waits to learn whether the engine has gone with its last reader. The descriptors of a process that was
/// killed are closed within far less.
pub(super) const VERDICT: Duration = Duration::from_secs(2);

/// The most that is remembered of an output for a reader to come: what two large pipes and a slow reader's share hold.
pub(super) const MOST: usize = 4 * 1024 * 1024;

/// From which byte on nobody has read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread {
    /// The number of the first byte that nobody has read.
    pub(super) from: u64,
    /// When it is given up unless the engine is found gone as well. Without a time it waits for the next reader.
    pub(super) until: Option<Instant>,
}

impl Unread {
    /// Unread from this byte on, for a reader to come; or else until it is known whether the engine has gone.
    pub(super) fn new(from: u64, waits: bool) -> Self {
        Unread { from, until: (!waits).then(|| Instant::now() + VERDICT) }
    }
}

/// What is in a pipe that has no read end any more.
///
/// Bytes stay in a pipe as long as one of its ends is open. A new read end is made by opening the write end once more.
pub(super) fn take_back(write_end: BorrowedFd<'_>) -> Vec<u8> {
    // Nothing is taken back where that fails; the output then goes on with the next byte, as it does without the attempt.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", write_end.as_raw_fd());
    let Ok(read_end) = rustix::fs::open(path, flags, Mode::empty()) else { return Vec::new() };
    let held = rustix::io::ioctl_fionread(&read_end).ok().and_then(|held| usize::try_from(held).ok());
    let mut taken = vec![0; held.unwrap_or(0)];
    let mut length = 0;
    while length < taken.len() {
        match rustix::io::read(read_end.as_fd(), &mut taken[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    taken.truncate(length);
    taken
}
