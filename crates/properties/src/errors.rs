//! From the store's errors to the engine's.

use gdn_types::{Error, ErrorKind};

/// Picks the kind by what a retry would do.
pub(crate) fn translate(doing: String, error: gdn_state::Error) -> Error {
    use gdn_state::Error as Cause;
    // ENOSPC and EDQUOT: room can be made. EIO and EROFS: the engine serves reads, and a later write may succeed.
    const NO_ROOM: [i32; 2] = [28, 122];
    let kind = match &error {
        Cause::Io { errno, .. } if NO_ROOM.contains(&errno.raw_os_error()) => ErrorKind::ResourceExhausted,
        Cause::Io { .. } | Cause::Closed => ErrorKind::Unavailable,
        Cause::Locked { .. } | Cause::UnknownFormat { .. } | Cause::WrongType { .. } => {
            ErrorKind::FailedPrecondition
        }
        Cause::WrongOwner { .. } => ErrorKind::PermissionDenied,
        Cause::Size { .. } => ErrorKind::InvalidArgument,
        _ => ErrorKind::Internal,
    };
    Error::caused(kind, doing, error)
}
