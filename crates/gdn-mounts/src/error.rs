//! What can go wrong with a mount or a path.

use rustix::io::Errno;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refused mount call or path.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A mount call failed.
    #[error("{op} {what}: {errno}")]
    Mount {
        /// The system call.
        op: &'static str,
        /// The file system, option or path it was about.
        what: String,
        /// The kernel's answer, and for a file system call its own words where it gave some.
        errno: Errno,
    },
    /// A path below a root could not be resolved or made.
    #[error("{op} {path:?} below the root: {errno}")]
    Path {
        /// What was being done.
        op: &'static str,
        /// The path as it was given.
        path: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A path below a root is not what it has to be.
    #[error("{path:?} is {found}, expected {expected}")]
    WrongKind {
        /// The path as it was given.
        path: String,
        /// What is there.
        found: &'static str,
        /// What has to be there.
        expected: &'static str,
    },
}

impl Error {
    /// The kernel's error number, where the kernel was asked.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Mount { errno, .. } | Error::Path { errno, .. } => Some(*errno),
            Error::WrongKind { .. } => None,
        }
    }
}
