//! Paths as an archive gives them.

use crate::archive::Entry;
use crate::error::printable;
use crate::{Error, Limits, Result};

/// Prefix of names that stand for something removed (OCI image layer specification, "whiteouts").
const WHITEOUT: &[u8] = b".wh.";

/// A path below the layer's root: no empty, `.` or `..` component, at least one component.
pub(super) struct EntryPath {
    joined: Vec<u8>,
    /// Where the last component begins.
    name_at: usize,
}

/// What a whiteout name asks for.
pub(super) enum Whiteout {
    /// Everything that lower layers have in this directory is gone.
    Opaque,
    /// This name of the lower layers is gone.
    Name(Vec<u8>),
    /// Bookkeeping of aufs, which no image means.
    Ignored,
}

impl EntryPath {
    /// Checks and normalises a path; `None` for the root itself. Leading slashes are dropped, as every tar does.
    pub(super) fn parse(entry: &Entry, path: &[u8], limits: &Limits) -> Result<Option<Self>> {
        let unsafe_path = || Error::UnsafePath { entry: entry.name(), path: printable(path) };
        let limit = |what, limit: usize| Error::Limit { entry: entry.name(), what, limit: limit as u64 };
        if path.is_empty() || path.contains(&0) {
            return Err(unsafe_path());
        }
        if path.len() > limits.path {
            return Err(limit("bytes of a path", limits.path));
        }
        let mut joined = Vec::with_capacity(path.len());
        let (mut name_at, mut depth) = (0, 0);
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return Err(unsafe_path()),
                _ if name.len() > limits.name => return Err(limit("bytes of a name", limits.name)),
                _ => {}
            }
            depth += 1;
            if depth > 1 {
                joined.push(b'/');
            }
            name_at = joined.len();
            joined.extend_from_slice(name);
        }
        if depth > limits.depth {
            return Err(limit("levels of directories", limits.depth));
        }
        Ok((depth > 0).then_some(EntryPath { joined, name_at }))
    }

    pub(super) fn joined(&self) -> &[u8] {
        &self.joined
    }

    /// The directory's path; empty for the root.
    pub(super) fn parent(&self) -> &[u8] {
        &self.joined[..self.name_at.saturating_sub(1)]
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.joined[self.name_at..]
    }

    /// What the name removes, if it is a whiteout.
    pub(super) fn whiteout(&self, entry: &Entry) -> Result<Option<Whiteout>> {
        let mut parents = self.parent().split(|byte| *byte == b'/');
        if parents.clone().any(|name| name.starts_with(b".wh..wh.")) {
            return Ok(Some(Whiteout::Ignored));
        }
        if parents.any(|name| name.starts_with(WHITEOUT)) {
            return Err(Error::Malformed { entry: entry.name(), reason: "it is below a whiteout" });
        }
        let Some(removed) = self.name().strip_prefix(WHITEOUT) else {
            return Ok(None);
        };
        match removed {
            b".wh..opq" => Ok(Some(Whiteout::Opaque)),
            b"" | b"." | b".." => {
                Err(Error::Malformed { entry: entry.name(), reason: "its whiteout names nothing" })
            }
            _ if removed.starts_with(WHITEOUT) => Ok(Some(Whiteout::Ignored)),
            _ => Ok(Some(Whiteout::Name(removed.to_vec()))),
        }
    }
}
