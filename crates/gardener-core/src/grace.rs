//! Grace time: a container that no request names for that long is destroyed.
//!
//! Each container has a countdown, paused while any [`Hold`] on it lives and started from its full value when the last
//! one goes. One task waits for the earliest of all; a countdown that was restarted meanwhile is only looked at then, so
//! that a request costs two locks and no timer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gdn_types::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::container::{Container, Phase, Status};

/// A container's countdown.
#[derive(Debug, Default)]
pub(crate) struct Countdown {
    /// The full value; zero = for ever.
    pub(crate) grace_time: Duration,
    holds: usize,
    /// When it ends; absent while paused or for ever.
    deadline: Option<Instant>,
    /// The earliest look the clock has promised.
    look: Option<Instant>,
}

/// Pauses the countdown of a container's grace time while it lives.
#[must_use = "the countdown runs on as soon as the hold is dropped"]
pub struct Hold {
    container: Arc<Container>,
    clock: Arc<GraceClock>,
}

impl Hold {
    pub(crate) fn new(container: Arc<Container>, clock: Arc<GraceClock>) -> Self {
        let mut status = container.status();
        status.countdown.holds += 1;
        status.countdown.deadline = None;
        drop(status);
        Hold { container, clock }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut status = self.container.status();
        status.countdown.holds -= 1;
        self.clock.wind(&self.container.handle, &mut status);
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hold").field(&self.container.handle).finish()
    }
}

/// The queue of looks, earliest first.
#[derive(Default)]
pub(crate) struct GraceClock {
    looks: Mutex<BinaryHeap<Reverse<(Instant, Handle)>>>,
    sooner: Notify,
}

impl GraceClock {
    /// Starts the countdown from its full value, unless it is paused, for ever, or the container not there to stay.
    pub(crate) fn wind(&self, handle: &Handle, status: &mut Status) {
        let runs = status.phase == Phase::Created;
        let countdown = &mut status.countdown;
        countdown.deadline = None;
        if !runs || countdown.holds > 0 || countdown.grace_time.is_zero() {
            return;
        }
        // A grace time beyond the clock's reach is for ever.
        let Some(deadline) = Instant::now().checked_add(countdown.grace_time) else { return };
        countdown.deadline = Some(deadline);
        if countdown.look.is_none_or(|look| deadline < look) {
            countdown.look = Some(deadline);
            self.promise(deadline, handle);
        }
    }

    /// Whether a look at this moment finds the countdown at its end; the destroy is then already taken.
    pub(crate) fn expires(&self, container: &Container, look: Instant) -> bool {
        let mut status = container.status();
        if status.countdown.look != Some(look) {
            return false;
        }
        status.countdown.look = None;
        let Some(deadline) = status.countdown.deadline else { return false };
        if status.phase != Phase::Created {
            return false;
        }
        if deadline > Instant::now() {
            status.countdown.look = Some(deadline);
            self.promise(deadline, &container.handle);
            return false;
        }
        status.doom("its grace time is over");
        true
    }

    /// Waits for the next look that is due.
    pub(crate) async fn due(&self) -> (Instant, Handle) {
        loop {
            let sooner = self.sooner.notified();
            let next = self.looks().peek().map(|Reverse((look, _))| *look);
            match next {
                Some(look) if look <= Instant::now() => {
                    if let Some(Reverse(due)) = self.looks().pop() {
                        return due;
                    }
                }
                Some(look) => {
                    // Whichever comes first: both lead to looking again.
                    let _ = tokio::time::timeout_at(look, sooner).await;
                }
                None => sooner.await,
            }
        }
    }

    fn promise(&self, look: Instant, handle: &Handle) {
        self.looks().push(Reverse((look, handle.clone())));
        self.sooner.notify_one();
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, BinaryHeap<Reverse<(Instant, Handle)>>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
