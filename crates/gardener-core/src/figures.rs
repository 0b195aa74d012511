//! What the orchestrator counts of itself, for operators: containers by state, and how long its operations take.
//!
//! Nothing here waits: counts are atomics, and a reader sees each of them as it is at that moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gdn_types::{LifeState, PoolUsage, Result};

use crate::Gardener;
use crate::container::Phase;

/// Upper bounds of the classes of durations, in microseconds: from what a run takes to what a large image takes.
const BOUNDS_US: [u64; 15] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_000_000,
    4_000_000, 16_000_000,
];

/// How many containers there are, by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Being made; no client sees them.
    pub creating: u64,
    /// In use.
    pub active: u64,
    /// Stopped by a client.
    pub stopped: u64,
    /// Without kernel objects.
    pub lost: u64,
    /// Being destroyed, or waiting for the next attempt.
    pub destroying: u64,
}

impl Census {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.creating + self.active + self.stopped + self.lost + self.destroying
    }
}

/// How often something was done, and how long it took, whatever came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationFigures {
    /// Its name: `create`, `run` or `destroy`.
    pub operation: &'static str,
    /// How often it succeeded.
    pub succeeded: u64,
    /// How often it failed, or its caller went away before it was answered.
    pub failed: u64,
    /// How long all of them took together.
    pub sum: Duration,
    /// For each bound, how many took no longer than that; in ascending order, each counting those before it.
    pub within: Vec<(Duration, u64)>,
}

/// The operations that are timed.
pub(crate) struct Timings {
    pub(crate) create: Timing,
    pub(crate) run: Timing,
    pub(crate) destroy: Timing,
}

impl Default for Timings {
    fn default() -> Self {
        Timings { create: Timing::new("create"), run: Timing::new("run"), destroy: Timing::new("destroy") }
    }
}

/// Counts of one operation.
pub(crate) struct Timing {
    operation: &'static str,
    succeeded: AtomicU64,
    failed: AtomicU64,
    sum_us: AtomicU64,
    /// One for each bound; what took longer is in none.
    classes: [AtomicU64; BOUNDS_US.len()],
}

/// One call under way; counted when it ends, as failed unless it is told otherwise.
#[must_use = "it ends when it is dropped"]
pub(crate) struct Call<'a> {
    timing: &'a Timing,
    begin: Instant,
    succeeded: bool,
}

impl Timing {
    fn new(operation: &'static str) -> Self {
        Timing {
            operation,
            succeeded: AtomicU64::default(),
            failed: AtomicU64::default(),
            sum_us: AtomicU64::default(),
            classes: Default::default(),
        }
    }

    /// Begins one.
    pub(crate) fn begin(&self) -> Call<'_> {
        Call { timing: self, begin: Instant::now(), succeeded: false }
    }

    fn figures(&self) -> OperationFigures {
        let mut so_far = 0;
        let bounds = BOUNDS_US.iter().zip(&self.classes);
        let within = bounds
            .map(|(bound, count)| {
                so_far += count.load(Ordering::Relaxed);
                (Duration::from_micros(*bound), so_far)
            })
            .collect();
        OperationFigures {
            operation: self.operation,
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            sum: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)),
            within,
        }
    }
}

impl Call<'_> {
    /// Ends with this outcome.
    pub(crate) fn with<T>(mut self, outcome: Result<T>) -> Result<T> {
        self.succeeded = outcome.is_ok();
        outcome
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let took = u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let outcome = if self.succeeded { &self.timing.succeeded } else { &self.timing.failed };
        outcome.fetch_add(1, Ordering::Relaxed);
        self.timing.sum_us.fetch_add(took, Ordering::Relaxed);
        let class = BOUNDS_US.partition_point(|bound| *bound < took);
        if let Some(class) = self.timing.classes.get(class) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Gardener {
    /// How many containers there are, by state. Answered from memory, also before the start is done.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for container in self.containers.all() {
            let status = container.status();
            let class = match (status.phase, status.life()) {
                (Phase::Creating, _) => &mut census.creating,
                (_, LifeState::Active) => &mut census.active,
                (_, LifeState::Stopped) => &mut census.stopped,
                (_, LifeState::Lost) => &mut census.lost,
                (_, LifeState::Destroying) => &mut census.destroying,
            };
            *class += 1;
        }
        census
    }

    /// The pools of the network; none without one.
    pub fn pools(&self) -> Vec<PoolUsage> {
        self.components.networker.pools()
    }

    /// What clients asked for since the engine started, and how long it took.
    pub fn operations(&self) -> Vec<OperationFigures> {
        let Timings { create, run, destroy } = &self.timings;
        [create, run, destroy].map(Timing::figures).into()
    }
}

#[cfg(test)]
mod tests {
    use gdn_types::Error;

    use super::*;

    #[test]
    fn what_succeeds_what_fails_and_what_is_given_up_is_counted() {
        let timing = Timing::new("run");
        timing.begin().with(Ok(())).unwrap();
        timing.begin().with(Err::<(), _>(Error::internal("x"))).unwrap_err();
        let slow = timing.begin();
        let begin = slow.begin;
        while begin.elapsed() < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        drop(slow);
        let figures = timing.figures();
        assert_eq!((figures.operation, figures.succeeded, figures.failed), ("run", 1, 2));
        assert!(figures.sum >= Duration::from_millis(3), "{figures:?}");
        assert!(figures.within.is_sorted() && figures.within.last().unwrap().1 == 3, "{figures:?}");
        let within_2_ms =
            figures.within.iter().find(|(bound, _)| *bound == Duration::from_millis(2)).unwrap();
        assert!(within_2_ms.1 <= 2, "{figures:?}");
    }
}
