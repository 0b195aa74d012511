//! What was found wrong with a store, for a person and for a program.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::error::{At, Result};
use crate::files;

/// The most files kept in the quarantine; the oldest make room.
const MAX_QUARANTINED: usize = 64;

/// One thing that was found wrong when a store was opened. The store works on without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: DamageKind,
    /// Where in the file, in bytes; the whole file when it could not be read at all.
    pub bytes: RangeInclusive<u64>,
    /// Sequence numbers of batches that are missing, if that is known.
    pub lost: Option<RangeInclusive<u64>>,
    /// Keys that are, or by the remains may be, affected; sorted. Empty when nothing is known.
    pub keys: Vec<Vec<u8>>,
    /// Whether the index held everything that the journal lost, so that nothing is missing.
    pub repaired: bool,
    /// Where the bytes are kept for a person to look at.
    pub quarantined: Option<PathBuf>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DamageKind {
    /// The last disk write is incomplete: nobody was told that it was done, unless the disk damaged it later.
    TornTail,
    /// One copy of a segment's header is bad; no record is affected.
    HeaderCopy,
    /// A segment cannot be read at all.
    Segment,
    /// A segment is not the one its name says, or belongs to another store.
    Misplaced,
    /// Records in the middle of a segment cannot be read.
    Records,
    /// Batches that were acknowledged are in no segment.
    Missing,
    /// The file with the store's id was bad; it was written again.
    Identity,
}

impl Damage {
    pub(crate) fn new(path: &Path, kind: DamageKind, bytes: RangeInclusive<u64>) -> Self {
        Damage {
            path: path.to_owned(),
            kind,
            bytes,
            lost: None,
            keys: Vec::new(),
            repaired: false,
            quarantined: None,
        }
    }

    /// Whether acknowledged batches are, or may be, missing.
    pub fn loses_data(&self) -> bool {
        !self.repaired
            && !matches!(self.kind, DamageKind::TornTail | DamageKind::HeaderCopy | DamageKind::Identity)
    }
}

/// The directory in which damaged bytes are kept.
#[derive(Debug)]
pub(crate) struct Quarantine {
    dir: PathBuf,
}

impl Quarantine {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Quarantine { dir }
    }

    /// Keeps a copy of some bytes of a file.
    pub(crate) fn keep_bytes(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.free_path(name)?;
        fs::write(&path, bytes).at("write", &path)?;
        Ok(path)
    }

    /// Moves a whole file, or whatever it is, out of the way.
    pub(crate) fn move_aside(&self, path: &Path) -> Result<PathBuf> {
        let name = path.file_name().expect("every file of a store has a name").to_string_lossy();
        let target = self.free_path(&name)?;
        fs::rename(path, &target).at("rename", path)?;
        files::sync_dir(path.parent().expect("every file of a store is in its directory"))?;
        Ok(target)
    }

    /// A path that is not in use yet, after making room for it.
    fn free_path(&self, name: &str) -> Result<PathBuf> {
        files::ensure_dir(&self.dir)?;
        let mut kept: Vec<PathBuf> = fs::read_dir(&self.dir)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .at("list", &self.dir)?;
        // Names begin with a running number, so the order of names is the order of time.
        kept.sort_unstable();
        let next = kept.last().and_then(|path| running_number(path)).map_or(1, |last| last + 1);
        let surplus = (kept.len() + 1).saturating_sub(MAX_QUARANTINED);
        for oldest in kept.iter().filter(|path| path.is_file()).take(surplus) {
            files::remove_if_there(oldest)?;
        }
        Ok(self.dir.join(format!("{next:08}-{name}")))
    }
}

fn running_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}
