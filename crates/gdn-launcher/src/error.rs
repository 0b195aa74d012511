//! What can go wrong between the engine and its keepers.

use gdn_keeper::protocol::{Failure, FailureKind};

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call to a launcher or keeper that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The other side did the call and refused it, or failed at it.
    #[error("{what}{}", Os(*errno))]
    Failed {
        /// What kind of failure.
        kind: FailureKind,
        /// What was being done, with the value that was wrong.
        what: String,
        /// The kernel's error number; 0 when it was not asked.
        errno: i32,
    },
    /// The process on the other side is gone.
    #[error("the {peer} is gone")]
    Gone {
        /// Launcher or keeper.
        peer: &'static str,
    },
    /// The other side speaks a version that this engine does not.
    #[error("the keeper speaks protocol version {theirs}, this engine {ours}")]
    Version {
        /// The keeper's version.
        theirs: u32,
        /// The newest version this engine speaks.
        ours: u32,
    },
    /// A system call of the engine's side failed.
    #[error("{op}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// An error number as text, after a colon; nothing for 0.
struct Os(i32);

impl std::fmt::Display for Os {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ": {}", std::io::Error::from_raw_os_error(self.0)) }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Failed { kind: failure.kind(), what: failure.what, errno: failure.errno }
    }
}

impl Error {
    /// The kind of failure, where the other side told one.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Error::Failed { kind, .. } => Some(*kind),
            _ => None,
        }
    }

    pub(crate) fn io(op: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { op, source }
    }
}
