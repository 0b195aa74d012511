//! Every call into sled, each behind `catch_unwind`: a damaged sled panics.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{At, Error, Result};
use crate::files;
use crate::store::Map;
use crate::writer::Change;

/// Memory sled may use for pages, in bytes: the live pairs are in memory anyway.
const CACHE: u64 = 4 << 20;
/// sled's file of data, on which it also holds its lock.
const DATA: &str = "db";
/// How long sled's threads may take to let go of its files after its handle is gone; a millisecond is usual.
const LET_GO: Duration = Duration::from_secs(2);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const META: &[u8] = b"m";
const ENTRY: u8 = b'e';

/// What the entries must add up to. Stored beside them in the same atomic batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Meta {
    engine: u64,
    seq: u64,
    count: u64,
    /// Sum of the entries' hashes, so that it does not depend on their order and follows each change at once.
    sum: u64,
    /// 1 when the store was closed and nothing follows `seq`, else 0.
    complete: u64,
}

pub(super) struct Tree {
    path: PathBuf,
    db: sled::Db,
    meta: Meta,
}

/// What an index that adds up says.
pub(super) struct Content {
    pub(super) seq: u64,
    pub(super) complete: bool,
    pub(super) map: Map,
}

/// A failure of sled, or a panic in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("sled panicked")]
    Panicked,
    #[error(transparent)]
    Sync(#[from] Error),
}

fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Failure::Panicked)?.map_err(Failure::from)
}

impl Tree {
    /// Opens what is there and tells its content, if that adds up; `None` when it has to be made anew.
    pub(super) fn open(path: &Path, engine: u64) -> Option<(Tree, Option<Content>)> {
        let opened = guarded(|| {
            let db = config(path).open()?;
            let content = verified(&db, engine)?;
            Ok((db, content))
        });
        match opened {
            Ok((db, Some((meta, map)))) => {
                let content = Content { seq: meta.seq, complete: meta.complete == 1, map };
                Some((Tree { path: path.to_owned(), db, meta }, Some(content)))
            }
            Ok((db, None)) if db.is_empty() => Some((Tree::empty(path, db, engine), None)),
            Ok((_, None)) => None,
            Err(error) => {
                tracing::warn!(%error, "the index of the state store is damaged; it is made anew");
                None
            }
        }
    }

    /// Removes what is there and makes an empty one.
    pub(super) fn anew(path: &Path, engine: u64) -> Result<Tree> {
        fs::remove_dir_all(path).at("remove", path)?;
        files::ensure_dir(path)?;
        match guarded(|| config(path).open()) {
            Ok(db) => Ok(Tree::empty(path, db, engine)),
            Err(error) => {
                tracing::warn!(%error, "sled does not open an empty directory");
                Err(Error::Io { op: "open sled in", path: path.to_owned(), errno: rustix::io::Errno::IO })
            }
        }
    }

    fn empty(path: &Path, db: sled::Db, engine: u64) -> Tree {
        Tree { path: path.to_owned(), db, meta: Meta { engine, ..Meta::default() } }
    }

    /// Takes changes in and has sled write them. A kill or a loss of power after that may still cost them.
    pub(super) fn apply(&mut self, seq: u64, changes: &[Change]) -> Result<(), Failure> {
        let mut meta = Meta { seq, complete: 0, ..self.meta };
        let db = &self.db;
        guarded(|| {
            // One key may occur more than once: each change is counted against the one before.
            let mut latest: std::collections::BTreeMap<&[u8], Option<&Arc<[u8]>>> = Default::default();
            for (key, value) in changes {
                let value = value.as_ref();
                latest.insert(key, value);
            }
            let mut batch = sled::Batch::default();
            for (key, value) in latest {
                let name = entry_name(key);
                if let Some(old) = db.get(&name)? {
                    meta.remove(key, &old);
                }
                match value {
                    Some(value) => {
                        meta.add(key, value);
                        batch.insert(name, &value[..]);
                    }
                    None => batch.remove(name),
                }
            }
            batch.insert(META, meta.encode());
            db.apply_batch(batch)?;
            db.flush()
        })?;
        self.meta = meta;
        Ok(())
    }

    pub(super) fn rebuild(&mut self, seq: u64, map: &Map) -> Result<(), Failure> {
        let db = &self.db;
        guarded(|| db.clear())?;
        self.meta = Meta { engine: self.meta.engine, ..Meta::default() };
        let changes: Vec<Change> =
            map.iter().map(|(key, value)| (Arc::clone(key), Some(Arc::clone(value)))).collect();
        self.apply(seq, &changes)
    }

    /// Notes, durably, that from now on the journal may be ahead.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        self.note(0)
    }

    /// Notes, durably, that the journal ends where this index does.
    pub(super) fn complete(&mut self) -> Result<(), Failure> {
        self.note(1)
    }

    fn note(&mut self, complete: u64) -> Result<(), Failure> {
        self.meta.complete = complete;
        let (db, meta) = (&self.db, self.meta.encode());
        guarded(|| {
            db.insert(META, meta)?;
            db.flush()
        })?;
        // sled's own flush does not make the length of its file durable.
        let data = self.path.join(DATA);
        File::open(&data).and_then(|file| file.sync_data()).at("fdatasync", &data)?;
        Ok(())
    }

    /// Closes sled, and waits until its threads have let go of its files: whoever closed a store may unmount its disk.
    pub(super) fn close(self) {
        let data = self.path.join(DATA);
        drop(self.db);
        let deadline = Instant::now() + LET_GO;
        // sled locks the file as long as it has it open.
        while File::open(&data).is_ok_and(|file| file.try_lock().is_err()) {
            if Instant::now() > deadline {
                tracing::warn!(path = %data.display(), "sled does not let go of its file");
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// Without sled's own clock: it is flushed when it was given something, and nothing wakes up when nothing happens.
fn config(path: &Path) -> sled::Config {
    sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None)
}

/// Reads everything and compares it with what is written about it.
fn verified(db: &sled::Db, engine: u64) -> sled::Result<Option<(Meta, Map)>> {
    let Some(meta) = db.get(META)?.and_then(|bytes| Meta::decode(&bytes)) else { return Ok(None) };
    let mut found = Meta { engine, count: 0, sum: 0, ..meta };
    let mut map = Map::new();
    for pair in db.scan_prefix([ENTRY]) {
        let (name, value) = pair?;
        found.add(&name[1..], &value);
        map.insert(name[1..].into(), value[..].into());
    }
    Ok((found == meta).then_some((meta, map)))
}

fn entry_name(key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(1 + key.len());
    name.push(ENTRY);
    name.extend_from_slice(key);
    name
}

impl Meta {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key, value));
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key, value));
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.engine, self.seq, self.count, self.sum, self.complete] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Meta> {
        let (body, crc) = bytes.split_at_checked(40)?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| body[at + i]));
        (crc == crc32fast::hash(body).to_le_bytes()).then(|| Meta {
            engine: number(0),
            seq: number(8),
            count: number(16),
            sum: number(24),
            complete: number(32),
        })
    }
}

/// 64 bits of a pair: two checksums with different starts and the length of the key.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let half = |start: u32| {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&start.to_le_bytes());
        crc.update(&(key.len() as u32).to_le_bytes());
        crc.update(key);
        crc.update(value);
        u64::from(crc.finalize())
    };
    half(0) << 32 | half(0x9e37_79b9).wrapping_mul(0x9e37_79b9) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> Change {
        (key.as_bytes().into(), Some(value.as_bytes().into()))
    }

    #[test]
    fn what_was_applied_adds_up_after_reopening_and_a_foreign_engine_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tree, content) = Tree::open(dir.path(), 7).unwrap();
        assert!(content.is_none());
        tree.apply(3, &[pair("a", "1"), pair("b", "2"), pair("a", "3"), (b"b"[..].into(), None)]).unwrap();
        tree.close();
        let (tree, content) = Tree::open(dir.path(), 7).unwrap();
        let Content { seq, complete, map } = content.unwrap();
        assert_eq!((seq, complete, map.len(), &*map[&b"a"[..]]), (3, false, 1, &b"3"[..]));
        tree.close();
        assert!(Tree::open(dir.path(), 8).is_none());
    }

    #[test]
    fn a_pair_that_is_not_counted_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tree, _) = Tree::open(dir.path(), 7).unwrap();
        tree.apply(1, &[pair("a", "1")]).unwrap();
        tree.db.insert(b"ea", &b"2"[..]).unwrap();
        tree.close();
        assert!(Tree::open(dir.path(), 7).is_none());
    }

    #[test]
    fn only_a_closed_index_that_was_not_begun_again_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let reopened = |steps: fn(&mut Tree)| {
            let (mut tree, _) = Tree::open(dir.path(), 7).unwrap();
            steps(&mut tree);
            tree.close();
            let (tree, content) = Tree::open(dir.path(), 7).unwrap();
            tree.close();
            content.unwrap().complete
        };
        assert!(!reopened(|tree| tree.apply(1, &[pair("a", "1")]).unwrap()));
        assert!(reopened(|tree| tree.complete().unwrap()));
        assert!(!reopened(|tree| tree.begin().unwrap()));
        assert!(reopened(|tree| tree.complete().unwrap()));
        assert!(!reopened(|tree| tree.apply(2, &[pair("a", "2")]).unwrap()));
    }
}
