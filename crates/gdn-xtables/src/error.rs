//! What can go wrong.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::Family;

/// A failed operation on a table of iptables-legacy.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// An interface name or comment that cannot be. Nothing was changed.
    #[error("invalid {what} {text:?}")]
    Text {
        /// What it was to be.
        what: &'static str,
        /// As given.
        text: String,
    },
    /// The kernel refused a call on the table.
    #[error("{op} the filter table of {family}: {errno}")]
    Kernel {
        /// What was being done.
        op: &'static str,
        /// Whose table.
        family: Family,
        /// Why it was refused.
        errno: Errno,
    },
    /// A file could not be read or opened.
    #[error("{op} {path}: {errno}")]
    File {
        /// What was being done.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        errno: Errno,
    },
    /// The kernel gave a table that is not understood. Nothing was changed.
    #[error("the filter table of {family} at byte {at}: {fault}")]
    Malformed {
        /// Whose table.
        family: Family,
        /// Where in its entries.
        at: usize,
        /// What is wrong.
        fault: &'static str,
    },
    /// Others had the lock, or changed the table again and again. Nothing was changed.
    #[error("the filter table of {family} is in use by others: waited {waited_ms} ms")]
    Busy {
        /// Whose table.
        family: Family,
        /// How long was waited, in milliseconds.
        waited_ms: u128,
    },
}

/// The result of an operation on a table of iptables-legacy.
pub type Result<T> = std::result::Result<T, Error>;
