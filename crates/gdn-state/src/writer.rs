//! The one thread that writes: group commit.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, PoisonError};

use crate::batch::{Batch, Op};
use crate::commit::Completion;
use crate::index::Index;
use crate::journal::Journal;
use crate::record;
use crate::store::Live;

/// A group stops growing at this many bytes, so that one large write does not make small ones wait long.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// A batch and whoever waits for it.
pub(crate) struct Job {
    pub(crate) batch: Batch,
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
        while let Ok(first) = self.jobs.recv() {
            let group = self.gather(first);
            self.write(group);
        }
        self.index.close();
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

    /// Durable first, then visible, then acknowledged; the index comes after and holds up nobody.
    fn write(&mut self, group: Vec<Job>) {
        let batches: Vec<&Batch> = group.iter().map(|job| &job.batch).collect();
        let outcome = {
            let live = self.live.map.read().unwrap_or_else(PoisonError::into_inner);
            self.journal.append(&batches, &live)
        };
        let counters = &self.journal.counters;
        match &outcome {
            Ok(()) => {
                counters.commits.fetch_add(group.len() as u64, Relaxed);
                let changes = self.apply(&batches);
                self.index.apply(self.journal.next_seq - 1, changes);
            }
            Err(error) => tracing::warn!(%error, batches = group.len(), "a group could not be written"),
        }
        for job in group {
            job.completion.answer(outcome.clone());
        }
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
