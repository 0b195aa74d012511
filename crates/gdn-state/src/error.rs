//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// It can be cloned, because one failed disk write answers every caller whose batch was in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed. The batch of a failed commit is not in the store.
    #[error("{op} {path}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        errno: Errno,
    },
    /// Something else is where a file or directory of the store belongs: a directory, a link, a device.
    #[error("{path} is {found}, expected {expected}")]
    WrongType {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// A file belongs to a user other than the one this process runs as, who could change it at any time.
    #[error("{path} belongs to uid {owner}, expected uid {expected}")]
    WrongOwner {
        /// The path.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// This process's effective user.
        expected: u32,
    },
    /// Another process has the store open.
    #[error("{path} is held by {}", .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that wrote its id into the lock file, if that is readable.
        pid: Option<u32>,
    },
    /// A segment was written by a later version of this crate. Nothing was touched.
    #[error("{path} has format version {version}, at most {supported} is understood")]
    UnknownFormat {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The latest version this build reads.
        supported: u32,
    },
    /// A key, a value or a batch is empty where it may not be, or too large.
    #[error("{what} has {len} bytes, allowed are {min} to {max}")]
    Size {
        /// `key`, `value` or `batch`.
        what: &'static str,
        /// Its size in bytes.
        len: usize,
        /// The least allowed.
        min: usize,
        /// The most allowed.
        max: usize,
    },
    /// The store is closed, or its writer ended.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(op: &'static str, path: &Path, error: &io::Error) -> Self {
        // An error without a number is std's own "wrote less than asked": for the caller an input/output error.
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        Error::Io { op, path: path.to_owned(), errno }
    }

    /// The error number, when a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Io { errno, .. } => Some(*errno),
            _ => None,
        }
    }
}

/// Attaches what was being done, and to which file.
pub(crate) trait At<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::io(op, path, &error))
    }
}
