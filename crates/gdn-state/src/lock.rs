//! One owner process at a time.

use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{At, Error, Result};
use crate::files;

/// The longest decimal process id and a newline; Linux pids have at most 7 digits.
const PID_TEXT: usize = 16;

/// The held lock; dropping it, or the end of the process however it comes, frees the store.
///
/// The lock is `flock(2)` on the file, so a stale lock file means nothing; the process id in it is for people.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: File,
}

impl StoreLock {
    pub(crate) fn acquire(path: &Path) -> Result<Self> {
        let file = files::open_or_create(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { path: path.to_owned(), pid: read_pid(&file) });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, &error)),
        }
        let text = format!("{:<width$}\n", std::process::id(), width = PID_TEXT - 1);
        match file.write_all_at(text.as_bytes(), 0) {
            // The lock is what counts: a full disk must not keep the store from being read.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
            other => other.at("write", path)?,
        }
        Ok(StoreLock { _file: file })
    }
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = [0; PID_TEXT];
    let len = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..len]).ok()?.trim().parse().ok()
}
