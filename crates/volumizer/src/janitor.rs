//! The thread that deletes what was thrown away.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use gdn_types::{Error, ErrorKind, Result};

use crate::volumes::Volumes;

/// Wakes the thread that empties the trash. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Janitor {
    wake: SyncSender<()>,
}

impl Janitor {
    pub(crate) fn start(volumes: Arc<Volumes>) -> Result<Self> {
        // One waiting call is enough: the trash is emptied wholly each time.
        let (wake, woken) = sync_channel(1);
        std::thread::Builder::new()
            .name("gdn-trash".to_owned())
            .spawn(move || run(&volumes, &woken))
            .map_err(|error| {
                Error::caused(ErrorKind::Internal, "start the thread that empties the trash", error)
            })?;
        Ok(Janitor { wake })
    }

    pub(crate) fn wake(&self) {
        match self.wake.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                tracing::error!("the thread that empties the trash is gone")
            }
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
