//! Owner, mode and extended attributes of a file or directory that was just made.

use std::os::fd::BorrowedFd;

use rustix::fs::{Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::write_error;
use crate::Result;
use crate::archive::Entry;

/// What makes overlayfs hide the lower layers' directory of the same name.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Sets owner, attributes and mode, in this order: a change of owner clears capabilities and the setuid bit.
///
/// Returns how many extended attributes were left out.
pub(super) fn set(entry: &Entry, file: BorrowedFd<'_>) -> Result<u64> {
    rustix::fs::fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
        .map_err(|errno| write_error(entry, "set the owner", errno))?;
    let mut dropped = 0;
    for (name, value) in &entry.xattrs {
        if !is_kept(name) {
            dropped += 1;
            continue;
        }
        match rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
            Ok(()) => {}
            // The file system has no user attributes. Programs have to live with that everywhere, so images do.
            Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => dropped += 1,
            Err(errno) => return Err(write_error(entry, "set an extended attribute", errno)),
        }
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))
        .map_err(|errno| write_error(entry, "set the mode", errno))?;
    Ok(dropped)
}

/// File capabilities and users' own attributes are the image's; the overlay's own, labels and lists of rights are not.
fn is_kept(name: &[u8]) -> bool {
    name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

pub(super) fn set_opaque(entry: &Entry, directory: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
        .map_err(|errno| write_error(entry, "make the directory opaque", errno))
}
