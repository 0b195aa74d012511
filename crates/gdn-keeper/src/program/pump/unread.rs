//! Output that no reader has taken when the last one goes, or the engine.
//!
//! A reader is the engine, on behalf of a client. Where one goes because its client has, the process goes on without a reader.
//! Where it goes because the engine has, its client will come back to the next engine, and what is written meanwhile is for
//! it. The kernel closes a dead engine's descriptors one by one, so the keeper may see the reader go a moment before it sees
//! the engine go.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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

/// The last bytes of an output whose process has ended, on their way to a reader: all of them are in its pipe, whose write end
/// is closed. With a read end of the keeper's own they outlive the reader.
pub(super) struct Tail(OwnedFd);

impl Tail {
    /// What is in the pipe of a reader that gets no more, if there is anything.
    pub(super) fn of(write_end: BorrowedFd<'_>) -> Option<Self> {
        if length(write_end) == 0 {
            return None;
        }
        read_end(write_end).map(Tail)
    }

    /// How much of it is still there.
    pub(super) fn len(&self) -> usize {
        length(self.0.as_fd())
    }

    /// Takes it.
    pub(super) fn take(&self) -> Vec<u8> {
        read_all(self.0.as_fd())
    }
}

/// What is in a pipe that has no read end any more. Nothing is taken back where that fails; the output then goes on with the
/// next byte, as it does without the attempt.
pub(super) fn take_back(write_end: BorrowedFd<'_>) -> Vec<u8> {
    read_end(write_end).map_or_else(Vec::new, |read_end| read_all(read_end.as_fd()))
}

/// A new read end of a pipe, made by opening the write end once more. Bytes stay in a pipe as long as one of its ends is open.
fn read_end(write_end: BorrowedFd<'_>) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/self/fd/{}", write_end.as_raw_fd()), flags, Mode::empty()).ok()
}

/// Bytes in a pipe.
fn length(pipe: BorrowedFd<'_>) -> usize {
    rustix::io::ioctl_fionread(pipe).ok().and_then(|held| usize::try_from(held).ok()).unwrap_or(0)
}

/// All that is in a pipe now.
fn read_all(read_end: BorrowedFd<'_>) -> Vec<u8> {
    let mut taken = vec![0; length(read_end)];
    let mut length = 0;
    while length < taken.len() {
        match rustix::io::read(read_end, &mut taken[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    taken.truncate(length);
    taken
}
