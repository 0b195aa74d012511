//! Work that goes on when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A future that is carried out by whoever awaits it, with no task of its own to wake; only when it is dropped before its end
/// does a task take it over. The tracker counts it from the first moment to the last.
pub(crate) struct Finished<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    tracker: TaskTracker,
    token: Option<TaskTrackerToken>,
}

impl<T: Send + 'static> Finished<T> {
    pub(crate) fn new(tracker: &TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        Finished { work: Some(Box::pin(work)), tracker: tracker.clone(), token: Some(tracker.token()) }
    }
}

impl<T: Send + 'static> Future for Finished<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let work = self.work.as_mut().expect("a future is not polled after its end");
        let outcome = work.as_mut().poll(context);
        if outcome.is_ready() {
            self.work = None;
            self.token = None;
        }
        outcome
    }
}

impl<T: Send + 'static> Drop for Finished<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // Without a runtime the engine itself is over.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let _finishing = runtime.spawn(self.tracker.track_future(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_outcome_is_that_of_the_work() {
        let tracker = TaskTracker::new();
        assert_eq!(Finished::new(&tracker, async { 7 }).await, 7);
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn work_that_was_dropped_goes_on_and_is_counted() {
        let tracker = TaskTracker::new();
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let mut work = Finished::new(&tracker, async move {
            gone.await.unwrap();
            tell.send(7).unwrap();
        });
        assert!(futures::poll!(&mut work).is_pending());
        drop(work);
        assert_eq!(tracker.len(), 1);
        go.send(()).unwrap();
        assert_eq!(told.await.unwrap(), 7);
        tracker.close();
        tracker.wait().await;
    }
}
