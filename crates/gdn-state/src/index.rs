//! The sled side: a second copy of the live pairs that is checked before it is believed.
//!
//! It lags: changes are gathered and given to it in large portions by a thread of its own, because each time sled writes
//! it takes processor and disk away from the commits that follow. A sled that cannot be opened, or whose content does not
//! add up, is removed and made anew from the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

use crate::damage::Quarantine;
use crate::error::{At, Result};
use crate::files;
use crate::store::{Counters, Map};
use crate::writer::Change;

mod lag;
mod tree;

use lag::Lag;
use tree::{Content, Failure, Tree};

/// Changes that are gathered before the index is given them: a few megabytes of typical records, and for sled some tens of
/// milliseconds of work.
const PORTION: usize = 4096;
/// Portions that may wait for the index. When more do, sled is stuck: it is given up until the next start.
const BACKLOG: usize = 64;

/// A verified content of the index.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) path: PathBuf,
    /// Everything up to this sequence number is in it, and nothing later.
    pub(crate) seq: u64,
    /// Whether the store was closed then, so that the journal ended at this number too.
    pub(crate) complete: bool,
    pub(crate) map: Map,
}

/// The sending end; without a thread when sled does not work here.
#[derive(Debug, Default)]
pub(crate) struct Index {
    lag: Lag,
    messages: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Apply(u64, Vec<Change>),
    Rebuild(u64, Map),
    /// The store is closed: nothing follows.
    Complete,
}

/// An index that was opened and read, and is not written to yet.
pub(crate) struct Opened {
    tree: Option<Tree>,
    pub(crate) witness: Option<Witness>,
}

impl Opened {
    /// Opens or makes the index. Never fails: without sled everything else works.
    pub(crate) fn open(path: &Path, engine: u64, quarantine: &Quarantine) -> Self {
        Self::try_open(path, engine, quarantine).unwrap_or_else(|error| {
            tracing::warn!(%error, "the index of the state store is not available");
            Opened { tree: None, witness: None }
        })
    }

    fn try_open(path: &Path, engine: u64, quarantine: &Quarantine) -> Result<Self> {
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            quarantine.move_aside(path)?;
        }
        files::ensure_dir(path)?;
        let (tree, content) = match Tree::open(path, engine) {
            Some((tree, content)) => (tree, content),
            None => (Tree::anew(path, engine)?, None),
        };
        let witness = content.map(|Content { seq, complete, map }| Witness {
            path: path.to_owned(),
            seq,
            complete,
            map,
        });
        Ok(Opened { tree: Some(tree), witness })
    }

    /// Brings the index up to what the store begins with, in the background.
    pub(crate) fn start(self, path: &Path, seq: u64, map: &Map, counters: &Arc<Counters>) -> Index {
        let Some(mut tree) = self.tree else { return Index::default() };
        // Before anything is appended to the journal: else after a kill the index would still claim to know its end.
        if self.witness.as_ref().is_some_and(|witness| witness.complete)
            && let Err(error) = tree.begin()
        {
            tracing::warn!(%error, "the index of the state store cannot be written; it is removed");
            drop(tree);
            if let Err(error) = std::fs::remove_dir_all(path).at("remove", path) {
                tracing::warn!(%error, "the index of the state store cannot be removed");
            }
            return Index::default();
        }
        match Index::serve(tree, path, Arc::clone(counters)) {
            Ok(mut index) => {
                index.settle(seq, map, self.witness);
                index
            }
            Err(error) => {
                tracing::warn!(%error, "the index of the state store is not available");
                Index::default()
            }
        }
    }
}

impl Index {
    fn serve(tree: Tree, path: &Path, counters: Arc<Counters>) -> Result<Index> {
        let (sender, messages) = mpsc::sync_channel(BACKLOG);
        let body = move || serve(tree, &messages, &counters);
        let thread =
            thread::Builder::new().name("state-index".into()).spawn(body).at("start a thread for", path)?;
        Ok(Index { lag: Lag::default(), messages: Some(sender), thread: Some(thread) })
    }

    fn settle(&mut self, seq: u64, map: &Map, witness: Option<Witness>) {
        match witness {
            Some(witness) => {
                let changes = difference(&witness.map, map);
                if seq != witness.seq || !changes.is_empty() {
                    self.send(Message::Apply(seq, changes));
                }
            }
            None => self.send(Message::Rebuild(seq, map.clone())),
        }
    }

    /// Remembers changes for the next portion.
    pub(crate) fn note(&mut self, changes: Vec<Change>) {
        if self.messages.is_some() {
            self.lag.note(changes);
        }
    }

    /// Whether there is anything that the index has not been given.
    pub(crate) fn lags(&self) -> bool {
        self.lag.noted() > 0
    }

    /// Whether enough has gathered to be worth sled's work.
    pub(crate) fn lags_much(&self) -> bool {
        self.lag.noted() >= PORTION
    }

    /// Gives the index everything that was noted, which goes up to this sequence number and is durable.
    pub(crate) fn catch_up(&mut self, seq: u64) {
        if self.lags() {
            let changes = self.lag.take();
            self.send(Message::Apply(seq, changes));
        }
    }

    /// When sled does not follow it is given up: the next start brings it up.
    fn send(&mut self, message: Message) {
        let Some(messages) = &self.messages else { return };
        match messages.try_send(message) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => {
                tracing::warn!("the index of the state store does not keep up; the next start brings it up");
            }
            // The thread has logged why it ended.
            Err(TrySendError::Disconnected(_)) => {}
        }
        self.messages = None;
        self.lag.take();
    }

    /// Waits until the index has taken in what it was given. `complete`: that is all there is, and all of it is durable.
    pub(crate) fn close(mut self, complete: bool) {
        if let Some(messages) = self.messages.take()
            && complete
        {
            // Fails only when the thread has ended and logged why.
            let _ = messages.send(Message::Complete);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the index of the state store panicked; it is made anew at the next start");
        }
    }
}

/// The changes that make the one map the other.
fn difference(from: &Map, to: &Map) -> Vec<Change> {
    let put = to.iter().filter(|(key, value)| from.get(*key) != Some(value));
    let gone = from.keys().filter(|key| !to.contains_key(*key));
    put.map(|(key, value)| (Arc::clone(key), Some(Arc::clone(value))))
        .chain(gone.map(|key| (Arc::clone(key), None)))
        .collect()
}

fn serve(mut tree: Tree, messages: &mpsc::Receiver<Message>, counters: &Counters) {
    for message in messages {
        if let Err(error) = take_in(&mut tree, message, counters) {
            tracing::warn!(%error, "the index of the state store failed; the next start repairs it");
            return;
        }
    }
    tree.close();
}

fn take_in(tree: &mut Tree, message: Message, counters: &Counters) -> Result<(), Failure> {
    use std::sync::atomic::Ordering::Relaxed;
    match message {
        Message::Apply(seq, changes) => tree.apply(seq, &changes),
        Message::Rebuild(seq, map) => {
            counters.index_rebuilds.fetch_add(1, Relaxed);
            tree.rebuild(seq, &map)
        }
        Message::Complete => tree.complete(),
    }
}
