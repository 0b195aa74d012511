//! What can be wrong with a layer, or with the directory it is unpacked into.

use rustix::io::Errno;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refused layer, or a refused system call.
///
/// `entry` is the path as the archive gives it, and empty where no entry was begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The compressed stream could not be read or decompressed.
    #[error("read the layer near entry {entry:?}: {source}")]
    Read {
        /// The entry being read.
        entry: String,
        /// What the source or the decompressor said.
        source: std::io::Error,
    },
    /// The archive ends too early.
    #[error("the layer is truncated after entry {entry:?}")]
    Truncated {
        /// The last entry begun.
        entry: String,
    },
    /// Something follows the end of the archive.
    #[error("the layer has data after its end, behind entry {entry:?}")]
    TrailingData {
        /// The last entry.
        entry: String,
    },
    /// The archive is not a well-formed tar.
    #[error("entry {entry:?} is malformed: {reason}")]
    Malformed {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The archive uses a form of tar, or of compression, that is not read.
    #[error("entry {entry:?}: {what} not supported")]
    Unsupported {
        /// The entry.
        entry: String,
        /// The form.
        what: &'static str,
    },
    /// A [`Limits`](crate::Limits) value was exceeded.
    #[error("entry {entry:?} exceeds the limit of {limit} {what}")]
    Limit {
        /// The entry.
        entry: String,
        /// What is limited, with its unit.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A path leads out of the layer, or cannot be a path.
    #[error("entry {entry:?} has the unsafe path {path:?}")]
    UnsafePath {
        /// The entry.
        entry: String,
        /// Its path, or the path it links to.
        path: String,
    },
    /// A hard link names nothing in this layer that can be linked to.
    #[error("entry {entry:?} is a hard link to {target:?}, which this layer does not have")]
    LinkTarget {
        /// The entry.
        entry: String,
        /// The path it links to.
        target: String,
    },
    /// Writing an entry failed.
    #[error("{op} for entry {entry:?}: {errno}")]
    Write {
        /// The entry.
        entry: String,
        /// What was being done.
        op: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A tree could not be removed.
    #[error("{op} {path:?}: {errno}")]
    Remove {
        /// Name of the file or directory, without its parents.
        path: String,
        /// What was being done.
        op: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A digest is not of the form `sha256:` and 64 lower-case hexadecimal digits.
    #[error("{text:?} is not a sha256 digest")]
    InvalidDigest {
        /// The text.
        text: String,
    },
}

/// Why the metered stream stopped; travels through `std::io::Error`.
#[derive(Debug, thiserror::Error)]
#[error("limit of {limit} {what}")]
pub(crate) struct LimitReached {
    pub(crate) what: &'static str,
    pub(crate) limit: u64,
}

impl Error {
    /// The error number where the kernel refused something.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Write { errno, .. } | Error::Remove { errno, .. } => Some(*errno),
            Error::Read { source, .. } => Errno::from_io_error(source),
            _ => None,
        }
    }

    /// A failed read, with a limit that was reached in the stream turned back into [`Error::Limit`].
    pub(crate) fn read(entry: String, source: std::io::Error) -> Self {
        if let Some(reached) = source.get_ref().and_then(|inner| inner.downcast_ref::<LimitReached>()) {
            return Error::Limit { entry, what: reached.what, limit: reached.limit };
        }
        if source.kind() == std::io::ErrorKind::UnexpectedEof {
            return Error::Truncated { entry };
        }
        Error::Read { entry, source }
    }
}

/// An archive's bytes as text for a message: at most 256 bytes of it.
pub(crate) fn printable(path: &[u8]) -> String {
    String::from_utf8_lossy(&path[..path.len().min(256)]).into_owned()
}
