//! Applying a layer to a directory.

mod attributes;
mod entries;
mod path;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::archive::{Archive, Entry, Kind};
use crate::stream::LayerReader;
use crate::{Digest, Error, Limits, Result};
use path::EntryPath;

/// What is known of a layer that was unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Digest of the stream as it came.
    pub digest: Digest,
    /// Length of the stream as it came.
    pub compressed_bytes: u64,
    /// Length of the uncompressed archive.
    pub archive_bytes: u64,
    /// Digest of the uncompressed archive; an image's configuration names its layers by it.
    pub diff_id: Digest,
    /// Whether the archive has its end mark. Some writers leave it out, so that a cut between two entries cannot be seen:
    /// without it the layer is whole only if a digest is what it should be.
    pub end_mark: bool,
    /// Bytes of all files.
    pub content_bytes: u64,
    /// Files, directories, links and whiteouts made.
    pub inodes: u64,
    /// Device nodes left out.
    pub skipped_devices: u64,
    /// Extended attributes left out.
    pub dropped_xattrs: u64,
    /// Owner and mode that the archive gives to the root directory itself; absent when it has no entry for it.
    pub root: Option<RootAttributes>,
    /// Whether the layer hides everything of the layers below it.
    pub opaque_root: bool,
}

/// Owner and mode of a layer's root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootAttributes {
    /// User id as the image means it.
    pub uid: u32,
    /// Group id as the image means it.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Unpacks a layer below a directory, in the form that overlayfs reads as a lower layer.
///
/// The directory should be new and its path unreachable for others; `root` must be open for reading (not `O_PATH`).
/// After an error the directory holds an unspecified part of the layer, and nothing outside of it was touched.
///
/// # Errors
/// [`Error`] names the entry. A digest is not compared with anything here: that is the caller's to do, before the directory
/// is used.
pub fn unpack(source: impl Read, root: BorrowedFd<'_>, limits: &Limits) -> Result<Unpacked> {
    let reader = LayerReader::new(source, limits)?;
    let mut unpacking = Unpacking {
        archive: Archive::new(reader, *limits),
        root,
        limits,
        parent: None,
        removed: false,
        times: BTreeMap::new(),
        counts: Counts::default(),
        buffer: vec![0; COPY_BUFFER],
    };
    while let Some(entry) = unpacking.archive.next_entry()? {
        unpacking.apply(&entry)?;
    }
    unpacking.set_directory_times()?;
    let end_mark = unpacking.archive.has_end_mark();
    let measured = unpacking.archive.reader().measured();
    let counts = unpacking.counts;
    Ok(Unpacked {
        digest: measured.digest,
        compressed_bytes: measured.compressed_bytes,
        diff_id: measured.diff_id,
        archive_bytes: measured.bytes,
        end_mark,
        content_bytes: counts.content_bytes,
        inodes: counts.inodes,
        skipped_devices: counts.skipped_devices,
        dropped_xattrs: counts.dropped_xattrs,
        root: counts.root,
        opaque_root: counts.opaque_root,
    })
}

/// Bytes moved from the archive to a file at once.
const COPY_BUFFER: usize = 128 * 1024;

#[derive(Default)]
struct Counts {
    content_bytes: u64,
    inodes: u64,
    skipped_devices: u64,
    dropped_xattrs: u64,
    root: Option<RootAttributes>,
    opaque_root: bool,
}

/// A layer being applied.
struct Unpacking<'a, 'r> {
    archive: Archive<LayerReader<'r>>,
    root: BorrowedFd<'a>,
    limits: &'a Limits,
    /// The directory of the last entry: most entries have the same as the one before.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Whether the current entry removed something.
    removed: bool,
    /// Times of directories, set when nothing is made in them any more.
    times: BTreeMap<Vec<u8>, (i64, u32)>,
    counts: Counts,
    buffer: Vec<u8>,
}

impl Unpacking<'_, '_> {
    fn apply(&mut self, entry: &Entry) -> Result<()> {
        let Some(path) = EntryPath::parse(entry, &entry.path, self.limits)? else {
            return self.apply_root(entry);
        };
        if let Some(whiteout) = path.whiteout(entry)? {
            return self.apply_whiteout(entry, &path, &whiteout);
        }
        let parent = self.parent(entry, path.parent())?;
        let place = entries::Place { parent: &parent, name: path.name() };
        match &entry.kind {
            Kind::Directory => self.make_directory(entry, &place, &path)?,
            Kind::File { .. } => self.make_file(entry, &place)?,
            Kind::Symlink { target } => self.make_symlink(entry, &place, target)?,
            Kind::HardLink { target } => self.make_hard_link(entry, &place, target)?,
            Kind::Fifo => self.make_fifo(entry, &place)?,
            Kind::Device => self.counts.skipped_devices += 1,
        }
        self.remember(path.parent(), parent);
        Ok(())
    }

    /// Keeps a directory for the next entry, unless something was removed meanwhile: the path may mean another one now.
    fn remember(&mut self, path: &[u8], directory: OwnedFd) {
        if !std::mem::take(&mut self.removed) {
            self.parent = Some((path.to_vec(), directory));
        }
    }

    /// The directory at a path, made as far as it is missing.
    fn parent(&mut self, entry: &Entry, path: &[u8]) -> Result<OwnedFd> {
        if let Some((known, directory)) = self.parent.take()
            && known == path
        {
            return Ok(directory);
        }
        match open_directory(self.root, path) {
            Ok(directory) => Ok(directory),
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_parents(entry, path),
            Err(errno) => Err(write_error(entry, "open the parent directory", errno)),
        }
    }

    fn make_parents(&mut self, entry: &Entry, path: &[u8]) -> Result<OwnedFd> {
        let mut directory =
            open_directory(self.root, b"").map_err(|errno| write_error(entry, "open the root", errno))?;
        let mut end = 0;
        for name in path.split(|byte| *byte == b'/') {
            end += name.len();
            let here = &path[..end];
            end += 1;
            directory = match open_directory(self.root, here) {
                Ok(found) => found,
                Err(Errno::NOENT | Errno::NOTDIR) => self.make_missing(entry, &directory, name)?,
                Err(errno) => return Err(write_error(entry, "open a parent directory", errno)),
            };
        }
        Ok(directory)
    }

    fn set_directory_times(&mut self) -> Result<()> {
        for (path, time) in std::mem::take(&mut self.times) {
            let set = open_directory(self.root, &path)
                .and_then(|directory| rustix::fs::futimens(&directory, &times(time)));
            match set {
                // A later entry replaced the directory.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => {
                    let entry = crate::error::printable(&path);
                    return Err(Error::Write { entry, op: "set the time", errno });
                }
            }
        }
        Ok(())
    }
}

/// Opens a directory below the root; links inside are followed, and none of them leads out.
fn open_directory(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat2(
            root,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        ) {
            // The kernel could not rule out a rename during the walk; it asks to try again.
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    }
}

fn write_error(entry: &Entry, op: &'static str, errno: Errno) -> Error {
    Error::Write { entry: entry.name(), op, errno }
}
