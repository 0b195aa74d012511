//! Extended attributes of files and directories, by descriptor alone.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// A name and a value, as the kernel has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// Most attributes of one file that come out, as of an image's.
pub(super) const MAX_COUNT: usize = 128;

/// Most bytes of all names and values of one file's attributes that come out, as of an image's.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Most bytes of a value, and of all names of one file together. xattr(7).
const MAX_BUFFER: usize = 64 * 1024;

/// What attributes and lists of names nearly always fit: the kernel allocates as much as it is offered.
const USUAL_BUFFER: usize = 1024;

/// Users' own attributes and capabilities: labels, lists of rights and what file systems note are their host's.
fn comes_out(name: &[u8]) -> bool {
    name.starts_with(b"user.") || name == b"security.capability"
}

/// The attributes that this user may read of an open file or directory.
pub(super) fn read(file: impl AsFd) -> io::Result<Vec<Attribute>> {
    let names = match whole(|buffer| rustix::fs::flistxattr(&file, buffer)) {
        Err(errno) if may_be_missing(errno) => return Ok(Vec::new()),
        Err(Errno::TOOBIG) => return Err(too_many()),
        names => names?,
    };
    let mut attributes = Vec::new();
    let mut bytes = 0;
    for name in names.split(|byte| *byte == 0).filter(|name| comes_out(name)) {
        let value = match whole(|buffer| rustix::fs::fgetxattr(&file, name, buffer)) {
            Err(errno) if may_be_missing(errno) => continue,
            value => value?,
        };
        bytes += name.len() + value.len();
        if attributes.len() == MAX_COUNT || bytes > MAX_BYTES {
            return Err(too_many());
        }
        attributes.push(Attribute { name: name.to_vec(), value });
    }
    Ok(attributes)
}

fn too_many() -> io::Error {
    io::Error::other(format!(
        "it has more than {MAX_COUNT} extended attributes, or more than {MAX_BYTES} bytes of them"
    ))
}

/// The file system has none, the user may not read it, somebody removed it meanwhile, or it means nothing here: capabilities
/// of another user namespace do not. A copy is worth having without it.
fn may_be_missing(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::NODATA | Errno::OVERFLOW
    )
}

/// Calls with a buffer that holds the answer.
fn whole(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; USUAL_BUFFER];
    let length = match call(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(MAX_BUFFER, 0);
            call(&mut buffer)?
        }
        length => length?,
    };
    buffer.truncate(length);
    Ok(buffer)
}

/// Sets attributes of a file that was just made.
pub(super) fn set(file: impl AsFd, attributes: &[Attribute]) -> io::Result<()> {
    for Attribute { name, value } in attributes {
        match rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
            // As GNU tar does for names that the file system or the user may not have.
            Err(Errno::OPNOTSUPP | Errno::PERM) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Sets attributes of a directory, but for lists of rights: what is extracted into it later would inherit those.
pub(super) fn set_of_directory(directory: impl AsFd, attributes: Vec<Attribute>) -> io::Result<()> {
    let own: Vec<_> =
        attributes.into_iter().filter(|attribute| !attribute.name.starts_with(b"system.")).collect();
    set(directory, &own)
}
