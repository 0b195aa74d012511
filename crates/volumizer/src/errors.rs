//! Which kind each tool's error has for a caller of the engine.

use gdn_image_store::Error as StoreError;
use gdn_types::{Error, ErrorKind};
use rustix::io::Errno;

/// An error of the store, about an image.
pub(crate) fn image_error(uri: &str, error: StoreError) -> Error {
    let kind = match &error {
        StoreError::NotFound { .. } | StoreError::NoSuchTag { .. } => ErrorKind::ImageNotFound,
        StoreError::Changed { .. } => ErrorKind::Unavailable,
        _ => match error.errno() {
            Some(errno) => errno_kind(errno),
            None => ErrorKind::ImageInvalid,
        },
    };
    // The cause is part of the message: it is what the client can act on.
    Error::new(kind, format!("image {uri:?}: {error}"))
}

/// An error of a mount call.
pub(crate) fn mount_error(what: &str, error: gdn_mounts::Error) -> Error {
    Error::caused(error.errno().map_or(ErrorKind::Internal, errno_kind), format!("{what}: {error}"), error)
}

/// A failed call on a file of a volume.
pub(crate) fn file_error(op: &str, path: &str, errno: Errno) -> Error {
    Error::caused(errno_kind(errno), format!("{op} {path}: {errno}"), errno)
}

fn errno_kind(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::MLINK => {
            ErrorKind::ResourceExhausted
        }
        Errno::INVAL | Errno::NAMETOOLONG | Errno::ILSEQ | Errno::TOOBIG => ErrorKind::ImageInvalid,
        _ => ErrorKind::Internal,
    }
}
