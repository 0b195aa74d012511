//! What is in memory of each handle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gdn_traits::ContainerRecord;
use gdn_types::Handle;
use tokio::sync::OwnedMutexGuard;

/// A handle that is taken.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) content: Content,
    /// Held from reading a record until its changed form is durable: one change at a time. The guard travels with the
    /// write, so a caller that goes away does not let the next one in too early.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// The claim is on its way to the disk: the handle is taken, but nobody sees a record.
    Pending,
    /// The record as it is on disk.
    Record(Arc<ContainerRecord>),
    /// There is something on disk that cannot be read; the reason.
    Unreadable(String),
}

impl Entry {
    pub(crate) fn new(content: Content) -> Self {
        Entry { content, turn: Arc::default() }
    }

    pub(crate) fn record(&self) -> Option<&Arc<ContainerRecord>> {
        match &self.content {
            Content::Record(record) => Some(record),
            Content::Pending | Content::Unreadable(_) => None,
        }
    }
}

/// The right to change one entry, until it is dropped.
pub(crate) struct Turn {
    pub(crate) _guard: OwnedMutexGuard<()>,
}

/// All handles that are taken.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: Mutex<HashMap<Handle, Entry>>,
}

impl Table {
    /// The lock is held for a look-up or a clone of pointers, never across a disk write.
    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<Handle, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one's turn to change an entry; `None` when the handle is free.
    pub(crate) async fn turn(&self, handle: &Handle) -> Option<(Turn, Content)> {
        loop {
            let turn = Arc::clone(&self.lock().get(handle)?.turn);
            let guard = Arc::clone(&turn).lock_owned().await;
            let entries = self.lock();
            let entry = entries.get(handle)?;
            // Meanwhile the handle may have been forgotten and claimed anew: then this is another container's turn.
            if Arc::ptr_eq(&entry.turn, &turn) {
                return Some((Turn { _guard: guard }, entry.content.clone()));
            }
        }
    }

    /// Replaces what an entry holds. The caller has the turn, so the entry is the one it read.
    pub(crate) fn put(&self, handle: &Handle, content: Content) {
        if let Some(entry) = self.lock().get_mut(handle) {
            entry.content = content;
        }
    }

    pub(crate) fn remove(&self, handle: &Handle) {
        self.lock().remove(handle);
    }
}
