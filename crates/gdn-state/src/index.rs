//! The sled side: a second copy of the live pairs that is checked before it is believed.
//!
//! It is written by a thread of its own, behind the acknowledgements, and flushed twice a second. A sled that cannot be
//! opened, or whose content does not add up, is removed and made anew from the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

use crate::damage::Quarantine;
use crate::error::{At, Result};
use crate::files;
use crate::store::{Counters, Map};
use crate::writer::Change;

mod tree;

use tree::Tree;

/// Groups that may wait for the index. When more do, sled is stuck: it is given up until the next start.
const BACKLOG: usize = 4096;

/// A verified content of the index.
#[derive(Debug)]
pub(crate) struct Witness {
    pub(crate) path: PathBuf,
    /// Everything up to this sequence number is in it, and nothing later.
    pub(crate) seq: u64,
    pub(crate) map: Map,
}

/// The sending end; without a thread when sled does not work here.
#[derive(Debug)]
pub(crate) struct Index {
    messages: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Apply(u64, Vec<Change>),
    Rebuild(u64, Map),
}

impl Index {
    /// Opens or makes the index. Never fails: without sled everything else works.
    pub(crate) fn open(
        path: &Path,
        engine: u64,
        quarantine: &Quarantine,
        counters: Arc<Counters>,
    ) -> (Self, Option<Witness>) {
        match Self::try_open(path, engine, quarantine, counters) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%error, "the index of the state store is not available");
                (Index { messages: None, thread: None }, None)
            }
        }
    }

    fn try_open(
        path: &Path,
        engine: u64,
        quarantine: &Quarantine,
        counters: Arc<Counters>,
    ) -> Result<(Self, Option<Witness>)> {
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            quarantine.move_aside(path)?;
        }
        files::ensure_dir(path)?;
        let (tree, content) = match Tree::open(path, engine) {
            Some((tree, content)) => (tree, content),
            None => (Tree::anew(path, engine)?, None),
        };
        let (sender, messages) = mpsc::sync_channel(BACKLOG);
        let body = move || serve(tree, &messages, &counters);
        let thread =
            thread::Builder::new().name("state-index".into()).spawn(body).at("start a thread for", path)?;
        let witness = content.map(|(seq, map)| Witness { path: path.to_owned(), seq, map });
        Ok((Index { messages: Some(sender), thread: Some(thread) }, witness))
    }

    /// Has the index made anew unless it says what the journal says.
    pub(crate) fn settle(&self, seq: u64, map: &Map, witness: Option<Witness>) {
        let Some(messages) = &self.messages else { return };
        let message = match witness {
            Some(witness) if witness.map == *map => Message::Apply(seq, Vec::new()),
            _ => Message::Rebuild(seq, map.clone()),
        };
        // The backlog is empty, and a thread that ended has logged why.
        let _ = messages.try_send(message);
    }

    /// Takes a group in, later. When sled does not follow it is given up: the next start makes it anew.
    pub(crate) fn apply(&mut self, seq: u64, changes: Vec<Change>) {
        let Some(messages) = &self.messages else { return };
        match messages.try_send(Message::Apply(seq, changes)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!(
                    "the index of the state store does not keep up; it is made anew at the next start"
                );
                self.messages = None;
            }
            Err(TrySendError::Disconnected(_)) => self.messages = None,
        }
    }

    /// Lets the index take in what is waiting, and flushes it.
    pub(crate) fn close(mut self) {
        self.messages = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the index of the state store panicked; it is made anew at the next start");
        }
    }
}

fn serve(mut tree: Tree, messages: &mpsc::Receiver<Message>, counters: &Counters) {
    use std::sync::atomic::Ordering::Relaxed;
    for message in messages {
        let done = match message {
            Message::Apply(seq, changes) => tree.apply(seq, &changes),
            Message::Rebuild(seq, map) => {
                counters.index_rebuilds.fetch_add(1, Relaxed);
                tree.rebuild(seq, &map)
            }
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the index of the state store failed; it is made anew at the next start");
            return;
        }
    }
    tree.flush();
}
