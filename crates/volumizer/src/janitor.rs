//! The thread that deletes what was thrown away.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use gdn_types::{Error, ErrorKind, Result};

use crate::volumes::Volumes;

/// Wakes the thread that empties the trash. The thread ends when this is closed or dropped.
#[derive(Debug)]
pub(crate) struct Janitor(Mutex<Option<Thread>>);

#[derive(Debug)]
struct Thread {
    wake: SyncSender<()>,
    ended: JoinHandle<()>,
}

impl Janitor {
    pub(crate) fn start(volumes: Arc<Volumes>) -> Result<Self> {
        // One waiting call is enough: the trash is emptied wholly each time.
        let (wake, woken) = sync_channel(1);
        let ended = std::thread::Builder::new()
            .name("gdn-trash".to_owned())
            .spawn(move || run(&volumes, &woken))
            .map_err(|error| {
                Error::caused(ErrorKind::Internal, "start the thread that empties the trash", error)
            })?;
        Ok(Janitor(Mutex::new(Some(Thread { wake, ended }))))
    }

    pub(crate) fn wake(&self) {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.as_ref() else { return };
        match thread.wake.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                tracing::error!("the thread that empties the trash is gone")
            }
        }
    }

    /// Waits until everything thrown away so far is deleted. What is thrown away later waits for the next engine.
    pub(crate) fn close(&self) {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Thread { wake, ended }) = thread else { return };
        drop(wake);
        if ended.join().is_err() {
            tracing::error!("the thread that empties the trash panicked");
        }
    }
}

fn run(volumes: &Volumes, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        if let Err(error) = volumes.empty_trash() {
            tracing::warn!(%error, "empty the trash; the next removal tries again");
        }
    }
}
