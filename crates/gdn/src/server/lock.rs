//! One engine per root directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

use super::layout;

/// The lock's name below the root. It is `flock(2)`: a file that a killed engine left means nothing.
const NAME: &str = "engine.lock";

/// The right to be the engine of a root directory, for as long as this lives.
#[derive(Debug)]
pub(crate) struct EngineLock {
    _file: File,
}

impl EngineLock {
    /// Takes the lock, making the root directory if need be; `None` when another engine has it.
    pub(crate) fn take(root: &Path) -> anyhow::Result<Option<Self>> {
        layout::make_private(root)?;
        let path = root.join(NAME);
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut file = options.open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        // For people only, see holder().
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(EngineLock { _file: file }))
    }

    /// The process that is the engine of a root; `None` when there is none, or it cannot be told.
    pub(crate) fn holder(root: &Path) -> Option<u32> {
        let mut file = File::open(root.join(NAME)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            _ => return None,
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_one_engine_at_a_time_and_it_can_be_named() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(EngineLock::holder(root.path()), None);
        let lock = EngineLock::take(root.path()).unwrap().unwrap();
        assert!(EngineLock::take(root.path()).unwrap().is_none());
        assert_eq!(EngineLock::holder(root.path()), Some(std::process::id()));
        drop(lock);
        assert_eq!(EngineLock::holder(root.path()), None);
        assert!(EngineLock::take(root.path()).unwrap().is_some());
    }
}
