//! What can be wrong with an image or with the store.

use gdn_layers::Digest;
use rustix::io::Errno;

/// The result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refused image, or a store that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image, or a part of it, is not there.
    #[error("image {path:?} does not exist")]
    NotFound {
        /// The missing file, directory or built-in name.
        path: String,
    },
    /// A layout or archive has no image of this name.
    #[error("{path:?} has no image {tag:?}, only {tags:?}")]
    NoSuchTag {
        /// The layout or archive.
        path: String,
        /// The name that was asked for; empty for the only one.
        tag: String,
        /// The names that are there.
        tags: Vec<String>,
    },
    /// A document of an image cannot be accepted.
    #[error("{document}: {reason}")]
    Document {
        /// Which document: its path or digest.
        document: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is not a regular file.
    #[error("{path:?} is not a regular file")]
    NotRegular {
        /// Its path.
        path: String,
    },
    /// Content does not have the digest it is stored under.
    #[error("{what} has digest {found}, expected {expected}")]
    DigestMismatch {
        /// Which content.
        what: String,
        /// The digest that was promised.
        expected: Digest,
        /// The digest it has.
        found: Digest,
    },
    /// Content does not have the size that its descriptor says.
    #[error("{what} has {found} bytes, expected {expected}")]
    SizeMismatch {
        /// Which content.
        what: String,
        /// The size that was promised.
        expected: u64,
        /// The size it has.
        found: u64,
    },
    /// The source changed while it was read.
    #[error("{path:?} changed while it was imported")]
    Changed {
        /// The source.
        path: String,
    },
    /// A layer cannot be unpacked.
    #[error("layer {layer}: {source}")]
    Layer {
        /// Digest or file of the layer.
        layer: String,
        /// What is wrong with it.
        source: gdn_layers::Error,
    },
    /// A call on a file of the source or the store failed.
    #[error("{op} {path:?}: {errno}")]
    File {
        /// What was being done.
        op: &'static str,
        /// The file.
        path: String,
        /// The kernel's answer.
        errno: Errno,
    },
}

impl Error {
    /// The error number where the kernel refused something.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::File { errno, .. } => Some(*errno),
            Error::Layer { source, .. } => source.errno(),
            _ => None,
        }
    }
}

/// Makes an error out of a failed call on a file; a file that is not there is [`Error::NotFound`] only for sources.
pub(crate) fn file_error(op: &'static str, path: impl Into<String>) -> impl FnOnce(Errno) -> Error {
    let path = path.into();
    move |errno| Error::File { op, path, errno }
}

pub(crate) fn document_error(document: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Document { document: document.into(), reason: reason.into() }
}
