//! Panics of components become errors and are counted.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use gdn_types::{Error, Result};

/// The count of panics that were caught.
#[derive(Default)]
pub(crate) struct Faults(AtomicU64);

impl Faults {
    /// Runs one component call; a panic in it is the error `Internal`.
    pub(crate) async fn caught<T>(&self, call: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        // Unwind safety: what the call shares with us is behind locks of its own component, which its destroy re-reads.
        AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
            self.0.fetch_add(1, Ordering::Relaxed);
            let text = panic_text(panic.as_ref());
            tracing::error!(call, panic = text, "component call panicked");
            Err(Error::internal(format!("{call} panicked: {text}")))
        })
    }

    /// How many panics there were.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
