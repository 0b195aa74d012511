//! Waiting for a condition.

use std::time::{Duration, Instant};

/// For how long anything is waited for: far more than it takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until the condition holds.
///
/// # Panics
/// When it does not within [`PATIENCE`], naming what was waited for.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(()));
}

/// Waits until there is something.
///
/// # Panics
/// As [`until`].
pub fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    eventually(PATIENCE, &mut look).unwrap_or_else(|| panic!("waited {PATIENCE:?} for {what}"))
}

/// Waits until there is something, for at most this long.
pub fn eventually<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(PAUSE);
    }
}
