//! The one thread that writes: group commit.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::batch::{Batch, Op};
use crate::commit::Completion;
use crate::index::Index;
use crate::journal::Journal;
use crate::record;
use crate::store::Live;

/// A group stops growing at this many bytes, so that one large write does not make small ones wait long.
const MAX_GROUP_BYTES: usize = 1 << 20;
/// After this long without a commit, the disk and the index are brought up to date; then nothing happens until the next
/// commit. Long enough not to fall between the steps of one container's life.
const QUIET: Duration = Duration::from_secs(5);

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// The batch survives the end of the process.
    Written,
    /// And a loss of power.
    Synced,
}

/// A batch and whoever waits for it.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) promise: Promise,
    pub(crate) completion: Completion,
}

pub(crate) struct Writer {
    pub(crate) jobs: Receiver<Job>,
    pub(crate) journal: Journal,
    pub(crate) live: Arc<Live>,
    pub(crate) index: Index,
}

impl Writer {
    /// Writes whatever has come in meanwhile as one group, until the store is dropped.
    pub(crate) fn run(mut self) {
        loop {
            match self.next() {
                Ok(first) => {
                    let group = self.gather(first);
                    self.write(group);
                }
                Err(RecvTimeoutError::Timeout) => self.catch_up(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.close();
    }

    /// Waits for a job: for ever when nothing is left to be done, so that an idle store never wakes up.
    fn next(&self) -> Result<Job, RecvTimeoutError> {
        if self.index.lags() || self.journal.unsynced.is_some() {
            self.jobs.recv_timeout(QUIET)
        } else {
            self.jobs.recv().map_err(RecvTimeoutError::from)
        }
    }

    fn gather(&self, first: Job) -> Vec<Job> {
        let mut bytes = record::space(&first.batch);
        let mut group = vec![first];
        while bytes < MAX_GROUP_BYTES {
            match self.jobs.try_recv() {
                Ok(job) => {
                    bytes += record::space(&job.batch);
                    group.push(job);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        group
    }

    /// Whoever need not wait for a sync, and has nobody before it who must, does not.
    fn write(&mut self, mut group: Vec<Job>) {
        let unsynced = group.iter().take_while(|job| job.promise == Promise::Written).count();
        let synced = group.split_off(unsynced);
        let segments = self.journal.next_number;
        self.write_as(group, Promise::Written);
        self.write_as(synced, Promise::Synced);
        if self.index.lags_much() || self.journal.next_number != segments {
            self.catch_up();
        }
    }

    /// On disk first, then visible, then acknowledged; the index comes later and holds up nobody.
    fn write_as(&mut self, group: Vec<Job>, promise: Promise) {
        if group.is_empty() {
            return;
        }
        let batches: Vec<&Batch> = group.iter().map(|job| &job.batch).collect();
        let outcome = {
            let live = self.live.map.read().unwrap_or_else(PoisonError::into_inner);
            self.journal.append(&batches, promise, &live)
        };
        let mut changes = Vec::new();
        match &outcome {
            Ok(()) => {
                self.journal.counters.commits.fetch_add(group.len() as u64, Relaxed);
                changes = self.apply(&batches);
            }
            Err(error) => tracing::warn!(%error, batches = group.len(), "a group could not be written"),
        }
        for job in group {
            job.completion.answer(outcome.clone());
        }
        self.index.note(changes);
    }

    /// Makes durable what was only written, and gives the index what it lacks: never anything that is not durable.
    fn catch_up(&mut self) {
        let secured = {
            let live = self.live.map.read().unwrap_or_else(PoisonError::into_inner);
            self.journal.secure(&live)
        };
        match secured {
            Ok(()) => self.index.catch_up(self.journal.next_seq - 1),
            Err(error) => {
                tracing::warn!(%error, "what was written could not be made durable; it is written anew");
            }
        }
    }

    fn close(mut self) {
        self.catch_up();
        let complete = self.journal.unsynced.is_none() && !self.index.lags();
        self.index.close(complete);
    }

    fn apply(&self, batches: &[&Batch]) -> Vec<Change> {
        let changes: Vec<Change> = batches.iter().flat_map(|batch| batch.ops()).map(change).collect();
        let mut live = self.live.map.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes.iter().cloned() {
            match value {
                Some(value) => live.insert(key, value),
                None => live.remove(&key),
            };
        }
        changes
    }
}

/// A key and what it has become.
pub(crate) type Change = (Arc<[u8]>, Option<Arc<[u8]>>);

pub(crate) fn change(op: Op<'_>) -> Change {
    match op {
        Op::Put(key, value) => (key.into(), Some(value.into())),
        Op::Delete(key) => (key.into(), None),
    }
}
