//! How much a tree holds.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Deepest level that is counted: each level holds a descriptor.
const DEPTH: usize = 128;

/// Most entries that are looked at: a walk of this many takes about two seconds.
const ENTRIES: u64 = 2_000_000;

/// Size of the unit of `st_blocks`, whatever the file system's own block size is (stat(2)).
const BLOCK: u64 = 512;

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) inodes: u64,
}

/// Counts blocks and inodes below a directory, which may change meanwhile. A file with several links counts once.
///
/// What lies deeper than [`DEPTH`] levels or comes after [`ENTRIES`] entries is not counted.
pub(crate) fn measure(directory: BorrowedFd<'_>) -> rustix::io::Result<Usage> {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    let mut levels = vec![level(directory, c".")?];
    loop {
        let depth = levels.len();
        let Some(entries) = levels.last_mut() else { break };
        let Some(entry) = entries.next() else {
            levels.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let parent = entries.fd()?;
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        if usage.inodes >= ENTRIES {
            break;
        }
        let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
        if !is_directory && stat.st_nlink > 1 && !linked.insert(stat.st_ino) {
            continue;
        }
        usage.inodes += 1;
        usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        if is_directory && depth < DEPTH {
            match level(parent, name) {
                Ok(below) => levels.push(below),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(usage)
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directory `name`, to be listed.
fn level(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Dir> {
    Dir::new(rustix::fs::openat(parent, name, FLAGS, Mode::empty())?)
}
