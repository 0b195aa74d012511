//! How long readers wait for slower ones.

use std::time::{Duration, Instant};

/// For how long a reader may hold others back without keeping the pace: far longer than a busy host keeps a reader waiting
/// that wants to read.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// How many bytes a reader has to take within [`PATIENCE`] for the others to go on waiting for it.
const KEPT: u64 = 256 * 1024;

/// A measurement of the pace at which the slowest reader lets the others go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When it is judged.
    pub(super) until: Instant,
    /// The number of the next byte when it began.
    position: u64,
}

impl Pace {
    pub(super) fn from(now: Instant, position: u64) -> Self {
        Pace { until: now + PATIENCE, position }
    }

    /// Whether too little was moved since, if the next byte is this one now.
    pub(super) fn is_missed(self, position: u64) -> bool {
        position - self.position < KEPT
    }
}
