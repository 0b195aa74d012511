//! Every call into sled, each behind `catch_unwind`: a damaged sled panics.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crate::error::{At, Error, Result};
use crate::files;
use crate::store::Map;
use crate::writer::Change;

/// Memory sled may use for pages, in bytes: the live pairs are in memory anyway.
const CACHE: u64 = 4 << 20;
/// How often sled writes by itself, in milliseconds.
const FLUSH_EVERY: u64 = 500;
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
}

pub(super) struct Tree {
    db: sled::Db,
    meta: Meta,
}

/// A failure of sled, or a panic in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("sled panicked")]
    Panicked,
}

fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Failure::Panicked)?.map_err(Failure::from)
}

impl Tree {
    /// Opens what is there and tells its content, if that adds up; `None` when it has to be made anew.
    #[allow(
        clippy::type_complexity,
        reason = "a content is a sequence number and a map; a name would say no more"
    )]
    pub(super) fn open(path: &Path, engine: u64) -> Option<(Tree, Option<(u64, Map)>)> {
        let opened = guarded(|| {
            let db = config(path).open()?;
            let content = verified(&db, engine)?;
            Ok((db, content))
        });
        match opened {
            Ok((db, Some((meta, map)))) => Some((Tree { db, meta }, Some((meta.seq, map)))),
            Ok((db, None)) if db.is_empty() => {
                Some((Tree { db, meta: Meta { engine, ..Meta::default() } }, None))
            }
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
            Ok(db) => Ok(Tree { db, meta: Meta { engine, ..Meta::default() } }),
            Err(error) => {
                tracing::warn!(%error, "sled does not open an empty directory");
                Err(Error::Io { op: "open sled in", path: path.to_owned(), errno: rustix::io::Errno::IO })
            }
        }
    }

    pub(super) fn apply(&mut self, seq: u64, changes: &[Change]) -> Result<(), Failure> {
        let mut meta = Meta { seq, ..self.meta };
        let db = &self.db;
        guarded(|| {
            // One key may occur more than once in a group: each change is counted against the one before.
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
            db.apply_batch(batch)
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
        self.apply(seq, &changes)?;
        self.flush();
        Ok(())
    }

    pub(super) fn flush(&self) {
        if let Err(error) = guarded(|| self.db.flush()) {
            tracing::warn!(%error, "could not flush the index of the state store");
        }
    }
}

fn config(path: &Path) -> sled::Config {
    sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(Some(FLUSH_EVERY))
}

/// Reads everything and compares it with what is written about it.
fn verified(db: &sled::Db, engine: u64) -> sled::Result<Option<(Meta, Map)>> {
    let Some(meta) = db.get(META)?.and_then(|bytes| Meta::decode(&bytes)) else { return Ok(None) };
    let mut found = Meta { engine, seq: meta.seq, ..Meta::default() };
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
        for number in [self.engine, self.seq, self.count, self.sum] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Meta> {
        let (body, crc) = bytes.split_at_checked(32)?;
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| body[at + i]));
        (crc == crc32fast::hash(body).to_le_bytes()).then(|| Meta {
            engine: number(0),
            seq: number(8),
            count: number(16),
            sum: number(24),
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
        tree.flush();
        drop(tree);
        let (tree, content) = Tree::open(dir.path(), 7).unwrap();
        let (seq, map) = content.unwrap();
        assert_eq!((seq, map.len(), &*map[&b"a"[..]]), (3, 1, &b"3"[..]));
        drop(tree);
        assert!(Tree::open(dir.path(), 8).is_none());
    }

    #[test]
    fn a_pair_that_is_not_counted_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tree, _) = Tree::open(dir.path(), 7).unwrap();
        tree.apply(1, &[pair("a", "1")]).unwrap();
        tree.db.insert(b"ea", &b"2"[..]).unwrap();
        tree.flush();
        drop(tree);
        assert!(Tree::open(dir.path(), 7).is_none());
    }
}
