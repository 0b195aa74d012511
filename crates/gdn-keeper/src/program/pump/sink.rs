//! One reader of an output, as the keeper sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;

use super::recent::Recent;
use crate::protocol::CUT_OFF;

/// The mode that pipes are made with.
const AS_MADE: Mode = Mode::from_raw_mode(0o600);

pub(super) struct Sink {
    pipe: OwnedFd,
    /// The number of the next byte it gets.
    next: u64,
    /// Nobody waits for it before it has caught up.
    behind: bool,
    /// Its reader was found gone.
    gone: bool,
    /// The first byte of what was held for it, if anything was.
    held_from: Option<u64>,
}

impl Sink {
    pub(super) fn new(pipe: OwnedFd, next: u64) -> Self {
        Sink { pipe, next, behind: false, gone: false, held_from: None }
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// How many bytes it lacks of those before number `position`.
    pub(super) fn lag(&self, position: u64) -> usize {
        usize::try_from(position - self.next).unwrap_or(usize::MAX)
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// It does not keep the pace: if its pipe ends from now on, that may not be the end of the output, and its mode says so.
    pub(super) fn fall_behind(&mut self) {
        // Who cannot be told has to be waited for.
        self.behind = fchmod(&self.pipe, Mode::from_raw_mode(CUT_OFF)).is_ok();
    }

    fn catch_up(&mut self) {
        self.behind = false;
        // Where this fails, the reader will ask in vain whether there is more.
        let _ = fchmod(&self.pipe, AS_MADE);
    }

    pub(super) fn took(&mut self, length: usize) {
        self.next += length as u64;
    }

    /// What comes first was held until it came.
    pub(super) fn gets_what_was_held(&mut self) {
        self.held_from = Some(self.next);
    }

    pub(super) fn held_from(&self) -> Option<u64> {
        self.held_from
    }

    pub(super) fn has_gone(&self) -> bool {
        self.gone
    }

    /// Gives it what it lacks of the bytes from number `first` to before `position`.
    pub(super) fn give(&mut self, recent: &Recent, first: u64, position: u64) {
        loop {
            let skipped = usize::try_from(self.next - first).unwrap_or(usize::MAX);
            let rest = recent.after(skipped);
            if rest.is_empty() {
                break;
            }
            match rustix::io::write(&self.pipe, rest) {
                Ok(written) => self.took(written),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        if self.behind && self.next == position {
            self.catch_up();
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
