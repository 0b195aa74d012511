//! What can go wrong with a control group.

use rustix::io::Errno;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refused cgroup operation.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A directory or file of a hierarchy could not be used.
    #[error("{op} cgroup {path}: {errno}")]
    Path {
        /// What was being done.
        op: &'static str,
        /// Where, with the hierarchy's name first.
        path: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The kernel refused a value.
    #[error("write {value:?} to cgroup file {file}: {errno}")]
    Value {
        /// The file, with the hierarchy's name first.
        file: String,
        /// The value.
        value: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The host has no usable hierarchy.
    #[error("no cgroup hierarchy is mounted below /sys/fs/cgroup")]
    NoHierarchy,
}

impl Error {
    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Path { errno, .. } | Error::Value { errno, .. } => Some(*errno),
            Error::NoHierarchy => None,
        }
    }
}
