//! The set of segments: appending, starting new ones, and throwing old ones away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::Errno;

use crate::batch::Batch;
use crate::error::{At, Error, Result};
use crate::files;
use crate::header::{DATA_START, Header};
use crate::record;
use crate::segment::{self, Segment};
use crate::store::{Counters, Map};
use crate::writer::Promise;

/// The append-only truth. One thread owns it.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) dir: PathBuf,
    pub(crate) engine: u64,
    /// Size of a new segment, in bytes.
    pub(crate) segment_bytes: u64,
    pub(crate) next_seq: u64,
    pub(crate) next_number: u64,
    /// Bytes in use in the segments before the current one.
    pub(crate) full_bytes: u64,
    pub(crate) current: Option<Segment>,
    /// Something is wrong with the segments that are there (a damage, a failed write): before anything is appended, the
    /// live records are written into a new base segment and the others are thrown away.
    pub(crate) heal: bool,
    /// The first record that was written and not synced, if there is one.
    pub(crate) unsynced: Option<u64>,
    pub(crate) counters: Arc<Counters>,
}

impl Journal {
    /// Writes the batches with one write, and makes them durable when that is promised. After an error none of them counts.
    ///
    /// `live` is the state before these batches; it is needed when the journal has to be rewritten.
    pub(crate) fn append(&mut self, batches: &[&Batch], promise: Promise, live: &Map) -> Result<()> {
        let space: usize = batches.iter().map(|batch| record::space(batch)).sum();
        self.make_room(space, live)?;
        let segment = self.current.as_mut().expect("make_room leaves a current segment");
        // What was not synced shares the fate of these: a loss of power may take any part of them.
        let group = self.unsynced.unwrap_or(self.next_seq);
        let mut bytes = Vec::with_capacity(space);
        for (seq, batch) in (self.next_seq..).zip(batches) {
            record::encode(&mut bytes, segment.header.salt, seq, group, batch);
        }
        if let Err(error) = segment.append(&bytes, promise) {
            self.heal = true;
            if let Err(second) = segment.cut(bytes.len()) {
                tracing::warn!(%second, "could not cut a failed write; it is superseded by the next segment");
            }
            return Err(error);
        }
        self.next_seq += batches.len() as u64;
        match promise {
            Promise::Written => self.unsynced = Some(group),
            Promise::Synced => self.synced(),
        }
        Ok(())
    }

    /// Makes durable what was only written; `live` holds it.
    pub(crate) fn secure(&mut self, live: &Map) -> Result<()> {
        match self.unsynced {
            None => Ok(()),
            // After a failed sync the kernel takes the pages for clean: asking again would succeed and mean nothing.
            Some(_) if self.heal => self.rewrite(0, live),
            Some(_) => self.sync(),
        }
    }

    fn sync(&mut self) -> Result<()> {
        let (Some(_), Some(segment)) = (self.unsynced, &self.current) else { return Ok(()) };
        if let Err(error) = segment.sync() {
            self.heal = true;
            return Err(error);
        }
        self.synced();
        Ok(())
    }

    fn synced(&mut self) {
        self.unsynced = None;
        self.counters.syncs.fetch_add(1, Relaxed);
    }

    fn make_room(&mut self, space: usize, live: &Map) -> Result<()> {
        if !self.heal && self.current.as_ref().is_some_and(|current| current.has_room(space)) {
            return Ok(());
        }
        let used: u64 = self.full_bytes + self.current.as_ref().map_or(0, Segment::used);
        // Twice the live bytes keeps the cost of rewriting below one extra byte per byte appended.
        if self.heal || used > 2 * live_bytes(live).max(self.segment_bytes / 4) {
            self.rewrite(space, live)
        } else {
            self.begin(space)
        }
    }

    /// Begins a further segment. The one before it is durable to its end: later records never outlive earlier ones.
    fn begin(&mut self, space: usize) -> Result<()> {
        self.sync()?;
        let least = (DATA_START + space) as u64;
        let segment = self.publish(false, |_| Vec::new(), [self.segment_bytes.max(least), least])?;
        let full = self.current.replace(segment);
        self.full_bytes += full.as_ref().map_or(0, Segment::used);
        Ok(())
    }

    /// Writes everything that is live into a new base segment, then throws the others away.
    pub(crate) fn rewrite(&mut self, space: usize, live: &Map) -> Result<()> {
        let first_seq = self.next_seq;
        let encode = |salt| {
            let mut bytes = Vec::with_capacity(live_bytes(live) as usize);
            for (seq, (key, value)) in (first_seq..).zip(live) {
                let mut batch = Batch::new();
                batch.put(key, value).expect("what is live came in through a batch");
                record::encode(&mut bytes, salt, seq, seq, &batch);
            }
            bytes
        };
        let (held, least) = (live_bytes(live), (DATA_START + space) as u64);
        let segment = self.publish(true, encode, [held + self.segment_bytes.max(least), held + least])?;
        self.next_seq += live.len() as u64;
        let number = segment.header.number;
        self.current = Some(segment);
        self.full_bytes = 0;
        self.heal = false;
        // What was only written is live, so it is in the new segment, which is synced.
        self.unsynced = None;
        self.counters.rewrites.fetch_add(1, Relaxed);
        // From here on the old segments do not count; what cannot be removed now is removed at the next start.
        if let Err(error) = remove_below(&self.dir, number) {
            tracing::warn!(%error, "could not remove a superseded segment");
        }
        Ok(())
    }

    /// Makes a segment of the first capacity, or of the second when the disk is too full for that: removing containers must
    /// be possible on a full disk.
    fn publish(
        &mut self,
        base: bool,
        records: impl FnOnce(u64) -> Vec<u8>,
        capacities: [u64; 2],
    ) -> Result<Segment> {
        let number = self.next_number;
        let salt = random_u64()?;
        let header = Header { engine: self.engine, number, first_seq: self.next_seq, salt, base };
        let records = records(salt);
        let segment = match Segment::publish(&self.dir, header, &records, capacities[0]) {
            Err(error) if error.errno() == Some(Errno::NOSPC) => {
                Segment::publish(&self.dir, header, &records, capacities[1])?
            }
            other => other?,
        };
        // The name is there but perhaps not durable: its number is used up, and when the sync fails the file may come back
        // after a loss of power. A base with a higher number then supersedes it.
        self.next_number += 1;
        if let Err(error) = files::sync_dir(&self.dir) {
            self.heal = true;
            return Err(error);
        }
        self.counters.segments.fetch_add(1, Relaxed);
        Ok(segment)
    }
}

/// What the live pairs take as records of their own, in bytes.
fn live_bytes(live: &Map) -> u64 {
    live.iter().map(|(key, value)| record::pair_space(key, value) as u64).sum()
}

/// Removes the segments with lower numbers.
pub(crate) fn remove_below(dir: &Path, number: u64) -> Result<()> {
    for (found, path) in list(dir)? {
        if found < number {
            files::remove_if_there(&path)?;
        }
    }
    Ok(())
}

/// The segments of a directory by number.
pub(crate) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).at("list", dir)? {
        let entry = entry.at("list", dir)?;
        if let Some(number) = entry.file_name().to_str().and_then(segment::number_of) {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Random bits of the kernel.
pub(crate) fn random_u64() -> Result<u64> {
    let mut bytes = [0; 8];
    // So few bytes come at once or not at all.
    rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()))
        .map_err(|errno| Error::Io { op: "getrandom", path: "/dev/urandom".into(), errno })?;
    Ok(u64::from_le_bytes(bytes))
}
