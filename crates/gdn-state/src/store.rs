//! The store: opening it, reading from memory, handing batches to the writer.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::{self, JoinHandle};

use crate::batch::Batch;
use crate::commit::{Commit, Completion, Done};
use crate::damage::{Damage, Quarantine};
use crate::error::{At, Result};
use crate::files;
use crate::identity;
use crate::index::{Index, Opened};
use crate::journal::Journal;
use crate::lock::StoreLock;
use crate::record::Record;
use crate::recovery::{self, Recovered};
use crate::repair;
use crate::writer::{Job, Promise, Writer, change};

/// File of the engine id, below the store's directory.
pub(crate) const IDENTITY: &str = "engine-id";
const LOCK: &str = "lock";
const INDEX: &str = "index";
const QUARANTINE: &str = "quarantine";
/// A new segment: thousands of typical records, and written and synced in a few milliseconds.
const SEGMENT_BYTES: u64 = 4 << 20;
/// The least a segment can be asked to be.
const MIN_SEGMENT_BYTES: u64 = 16 << 10;

/// Everything that is live, by key.
pub(crate) type Map = BTreeMap<Arc<[u8]>, Arc<[u8]>>;

/// A key and its value.
pub type Pair = (Arc<[u8]>, Arc<[u8]>);

/// The part that readers and the writer share.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) map: RwLock<Map>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) rewrites: AtomicU64,
    pub(crate) index_rebuilds: AtomicU64,
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches that were acknowledged.
    pub commits: u64,
    /// How often `fdatasync` made batches durable: once for all that waited at that moment.
    pub syncs: u64,
    /// Segments that were made.
    pub segments: u64,
    /// How often the live records were written anew and the older segments removed.
    pub rewrites: u64,
    /// How often the index was made anew from the journal.
    pub index_rebuilds: u64,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { segment_bytes: SEGMENT_BYTES }
    }
}

impl Options {
    /// Size of a new segment in bytes: 4 MiB unless set, 16 KiB at least.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.max(MIN_SEGMENT_BYTES);
        self
    }

    /// As [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(&self, dir: &Path) -> Result<Store> {
        files::ensure_dir(dir)?;
        let lock = StoreLock::acquire(&dir.join(LOCK))?;
        let quarantine = Quarantine::new(dir.join(QUARANTINE));
        let mut recovered = recovery::recover(dir, &quarantine)?;
        let counters = Arc::new(Counters::default());
        let index = Opened::open(&dir.join(INDEX), recovered.engine, &quarantine);
        let map = repair::settle(&mut recovered, index.witness.as_ref());
        for damage in &recovered.damages {
            tracing::warn!(?damage, "the state store was damaged");
        }
        let damages = std::mem::take(&mut recovered.damages);
        let (minted, unwritten) = (recovered.minted, recovered.identity_unwritten);
        let mut journal = self.journal(dir, recovered, &counters);
        journal.heal |= !damages.is_empty();
        prepare(&mut journal, &map, minted)?;
        if unwritten {
            write_identity(dir, journal.engine, minted)?;
        }
        let index = index.start(&dir.join(INDEX), journal.next_seq - 1, &map, &counters);
        self.start(dir, lock, journal, index, map, damages)
    }

    fn journal(&self, dir: &Path, recovered: Recovered, counters: &Arc<Counters>) -> Journal {
        Journal {
            dir: dir.to_owned(),
            engine: recovered.engine,
            segment_bytes: self.segment_bytes,
            next_seq: recovered.next_seq,
            next_number: recovered.next_number,
            full_bytes: recovered.full_bytes,
            heal: recovered.current.is_none(),
            current: recovered.current,
            unsynced: None,
            counters: Arc::clone(counters),
        }
    }

    fn start(
        &self,
        dir: &Path,
        lock: StoreLock,
        journal: Journal,
        index: Index,
        map: Map,
        damages: Vec<Damage>,
    ) -> Result<Store> {
        let live = Arc::new(Live { map: RwLock::new(map) });
        let (engine, counters) = (journal.engine, Arc::clone(&journal.counters));
        let (sender, jobs) = mpsc::channel();
        let writer = Writer { jobs, journal, live: Arc::clone(&live), index };
        let thread = thread::Builder::new()
            .name("state-writer".into())
            .spawn(|| writer.run())
            .at("start a thread for", dir)?;
        Ok(Store {
            dir: dir.to_owned(),
            engine,
            live,
            counters,
            damages,
            jobs: Some(sender),
            writer: Some(thread),
            _lock: lock,
        })
    }
}

pub(crate) fn replay_onto(map: &mut Map, records: &[Record]) {
    for (key, value) in records.iter().flat_map(|record| record.batch.ops()).map(change) {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

/// Makes the journal writable. On a full or failing disk the store still opens, to be read, unless its id is not on disk yet.
fn prepare(journal: &mut Journal, map: &Map, minted: bool) -> Result<()> {
    if !journal.heal {
        return Ok(());
    }
    match journal.rewrite(0, map) {
        Err(error) if error.errno().is_some() && !minted => {
            tracing::warn!(%error, "the journal cannot be written now; every commit tries again");
            Ok(())
        }
        other => other,
    }
}

/// Writes the second copy of the id. Only after the first segment: where there is an id file, there was a journal.
fn write_identity(dir: &Path, engine: u64, minted: bool) -> Result<()> {
    match identity::write(&dir.join(IDENTITY), engine) {
        Err(error) if !minted => {
            tracing::warn!(%error, "the file of the engine id cannot be written now; the segments hold the id too");
            Ok(())
        }
        other => other,
    }
}

/// A durable map from keys to values, owned by one process.
///
/// Reading is from memory. Writing goes through [`commit`](Store::commit). Dropping the store waits for the batches that were
/// handed over.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    engine: u64,
    live: Arc<Live>,
    counters: Arc<Counters>,
    damages: Vec<Damage>,
    /// Dropping it ends the writer after the batches that were handed over.
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    _lock: StoreLock,
}

impl Store {
    /// Opens the store in a directory, making it at the first start.
    ///
    /// Damage does not fail: what is readable is served, see [`Store::damages`].
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked) when another process has it open,
    /// [`Error::WrongType`](crate::Error::WrongType) and [`Error::WrongOwner`](crate::Error::WrongOwner) for paths that are
    /// not what they should be, [`Error::UnknownFormat`](crate::Error::UnknownFormat) for a later format,
    /// [`Error::Io`](crate::Error::Io) when a file cannot be read. Nothing is lost by any of them.
    pub fn open(dir: &Path) -> Result<Store> {
        Options::default().open(dir)
    }

    /// The random bits that name this store, minted at its first start.
    pub fn engine(&self) -> u64 {
        self.engine
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was found wrong when the store was opened.
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// The value of a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Arc<[u8]>> {
        self.map().get(key.as_ref()).cloned()
    }

    /// The pairs whose keys begin with `prefix`, in the order of their keys.
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Vec<Pair> {
        let prefix = prefix.as_ref();
        self.map()
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (Arc::clone(key), Arc::clone(value)))
            .collect()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.map().len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.map().is_empty()
    }

    /// Hands over a batch. It is durable, visible and acknowledged in this order, and batches are applied in the order in
    /// which they were handed over.
    pub fn commit(&self, batch: Batch) -> Commit {
        self.submit(batch, Promise::Synced, None)
    }

    /// As [`Store::commit`], and calls `done` with the outcome on the writer's thread, before the commit answers; `done` is
    /// called even if the commit is dropped. It must be quick and must not wait for another commit.
    pub fn commit_then(&self, batch: Batch, done: impl FnOnce(&Result<()>) + Send + 'static) -> Commit {
        self.submit(batch, Promise::Synced, Some(Box::new(done)))
    }

    /// As [`Store::commit`], but answers when the batch is written and not yet synced: it survives the end of the process
    /// however it comes, but perhaps not a loss of power.
    ///
    /// The order of batches stays: when a batch that was handed over later is durable, so is this one. Without a later one
    /// it is made durable some seconds after the last commit, and when the store is dropped.
    pub fn commit_written(&self, batch: Batch) -> Commit {
        self.submit(batch, Promise::Written, None)
    }

    /// [`Store::commit_written`] with the `done` of [`Store::commit_then`].
    pub fn commit_written_then(
        &self,
        batch: Batch,
        done: impl FnOnce(&Result<()>) + Send + 'static,
    ) -> Commit {
        self.submit(batch, Promise::Written, Some(Box::new(done)))
    }

    fn submit(&self, batch: Batch, promise: Promise, done: Option<Done>) -> Commit {
        let (completion, commit) = Completion::new(done);
        if batch.is_empty() {
            completion.answer(Ok(()));
        } else if let Some(jobs) = &self.jobs {
            // If the writer is gone the job comes back and its completion answers `Closed`.
            drop(jobs.send(Job { batch, promise, completion }));
        }
        commit
    }

    /// What has been done since the store was opened.
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            commits: counters.commits.load(Relaxed),
            syncs: counters.syncs.load(Relaxed),
            segments: counters.segments.load(Relaxed),
            rewrites: counters.rewrites.load(Relaxed),
            index_rebuilds: counters.index_rebuilds.load(Relaxed),
        }
    }

    fn map(&self) -> RwLockReadGuard<'_, Map> {
        // The writer changes the map by single inserts and removes; a panic leaves no half change.
        self.live.map.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the state store panicked");
        }
    }
}
