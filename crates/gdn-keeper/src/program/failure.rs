//! Failures on their way to the engine.

use std::io;

use gdn_mounts::Error as MountError;
use rustix::io::Errno;

use crate::protocol::{Failure, FailureKind};

/// The result of a step that the engine is told about.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failure without a kernel error.
pub(crate) fn failure(kind: FailureKind, what: impl Into<String>) -> Failure {
    Failure { kind: kind.into(), what: what.into(), errno: 0 }
}

/// Most bytes of a failure's text: with its frame less than a reader takes at once, and far less than a pipe holds.
const MAX_TEXT: usize = 4096;

/// A failure as a child writes it into its pipe. Its text may quote what the container or the client chose, however long.
pub(crate) fn encoded(mut failure: Failure) -> Vec<u8> {
    failure.what.truncate(failure.what.floor_char_boundary(MAX_TEXT));
    prost::Message::encode_to_vec(&failure)
}

/// Says what was being done when a call failed.
pub(crate) trait During<T> {
    /// Turns the error into a failure of this kind.
    fn during(self, kind: FailureKind, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, kind: FailureKind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Failure { kind: kind.into(), what: what(), errno },
            None => failure(kind, format!("{}: {error}", what())),
        })
    }
}

impl<T> During<T> for std::result::Result<T, Errno> {
    fn during(self, kind: FailureKind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Failure { kind: kind.into(), what: what(), errno: errno.raw_os_error() })
    }
}

impl<T> During<T> for gdn_mounts::Result<T> {
    fn during(self, kind: FailureKind, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| {
            let errno = error.errno().map_or(0, Errno::raw_os_error);
            let detail = match error {
                MountError::Mount { op, what, .. } => format!("{op} {what}"),
                MountError::Path { op, path, .. } => format!("{op} {path}"),
                other => other.to_string(),
            };
            Failure { kind: kind.into(), what: format!("{}: {detail}", what()), errno }
        })
    }
}
