//! Copies files into and out of a container, as a user, from inside.
//!
//! The work is done by a child that has joined the container's namespaces and become the user: no link, no mount and no
//! race inside can make it touch anything that the user could not touch himself. Nothing of the image is executed.

mod archive;
mod attributes;
mod pax;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::failure::Result;
use crate::protocol::{Failure, FailureKind, Transfer};

/// Size of a tar block, in bytes.
const BLOCK: usize = 512;

/// Does the copy; the caller has already become the user and gone to his home.
pub(crate) fn run(transfer: &Transfer, stream: OwnedFd) -> Result<()> {
    let path = Path::new(std::ffi::OsStr::from_bytes(&transfer.path));
    if transfer.out {
        send::stream_out(path, &transfer.path, File::from(stream))
    } else {
        receive::stream_in(path, transfer.uid, transfer.gid, File::from(stream))
    }
}

/// The errors that clients tell apart.
fn named_by_errno(mut failure: Failure) -> Failure {
    let kind = match failure.errno {
        libc::EACCES | libc::EPERM | libc::EROFS => FailureKind::Permission,
        libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG => FailureKind::NoPath,
        libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE => FailureKind::Exhausted,
        _ => return failure,
    };
    failure.kind = kind.into();
    failure
}
