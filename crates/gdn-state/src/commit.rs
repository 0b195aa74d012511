//! Waiting for a batch to become durable, as a future or as a thread.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};

/// What is called on the writer's thread when the outcome is known, before anyone who waits is woken.
pub(crate) type Done = Box<dyn FnOnce(&Result<()>) + Send>;

/// A batch on its way to the disk.
///
/// Await it on any executor, or [`wait`](Commit::wait) on a thread. Dropping it changes nothing: the batch is written all the
/// same.
#[derive(Debug)]
#[must_use = "a batch is durable only when its commit has answered"]
pub struct Commit {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<()>>,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is two assignments; a panic elsewhere cannot have left it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commit {
    /// Blocks the thread until the batch is durable.
    ///
    /// # Errors
    /// [`Error::Io`] when it could not be written (it is then not in the store), [`Error::Closed`] when the store ended.
    pub fn wait(self) -> Result<()> {
        let state = self.shared.lock();
        let state = self.shared.changed.wait_while(state, |state| state.outcome.is_none());
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.outcome.take().unwrap_or(Err(Error::Closed))
    }
}

impl Future for Commit {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.shared.lock();
        match &state.outcome {
            Some(outcome) => Poll::Ready(outcome.clone()),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The writer's end: it answers exactly once, with [`Error::Closed`] when it is dropped unanswered.
pub(crate) struct Completion {
    shared: Arc<Shared>,
    done: Option<Done>,
    answered: bool,
}

impl Completion {
    pub(crate) fn new(done: Option<Done>) -> (Completion, Commit) {
        let shared = Arc::new(Shared::default());
        (Completion { shared: Arc::clone(&shared), done, answered: false }, Commit { shared })
    }

    pub(crate) fn answer(mut self, outcome: Result<()>) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Result<()>) {
        self.answered = true;
        if let Some(done) = self.done.take() {
            // A panic of one caller's code must not take the writer away from all others.
            if catch_unwind(AssertUnwindSafe(|| done(&outcome))).is_err() {
                tracing::error!("a callback of a commit panicked");
            }
        }
        let waker = {
            let mut state = self.shared.lock();
            state.outcome = Some(outcome);
            state.waker.take()
        };
        self.shared.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if !self.answered {
            self.finish(Err(Error::Closed));
        }
    }
}
