//! Making one entry at its place.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::path::{EntryPath, Whiteout};
use super::{RootAttributes, Unpacking, attributes, open_directory, times, write_error};
use crate::archive::{Entry, Kind};
use crate::error::printable;
use crate::{Error, Result, remove_tree};

/// A name in an open directory.
pub(super) struct Place<'a> {
    pub(super) parent: &'a OwnedFd,
    pub(super) name: &'a [u8],
}

impl Place<'_> {
    fn stat(&self) -> rustix::io::Result<Stat> {
        rustix::fs::statat(self.parent, self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn open_directory(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.parent, self.name, flags, Mode::empty())
    }

    fn make_directory(&self) -> rustix::io::Result<()> {
        rustix::fs::mkdirat(self.parent, self.name, Mode::from_raw_mode(0o755))
    }
}

impl Unpacking<'_, '_> {
    /// The archive's entry for the root directory itself.
    pub(super) fn apply_root(&mut self, entry: &Entry) -> Result<()> {
        if !matches!(entry.kind, Kind::Directory) {
            return Err(Error::Malformed { entry: entry.name(), reason: "the root is not a directory" });
        }
        self.counts.dropped_xattrs += attributes::set(entry, self.root)?;
        self.counts.root = Some(RootAttributes { uid: entry.uid, gid: entry.gid, mode: entry.mode });
        self.times.insert(Vec::new(), entry.mtime);
        Ok(())
    }

    /// Whiteouts are for lower layers: what this layer has itself stays, whichever came first.
    pub(super) fn apply_whiteout(
        &mut self,
        entry: &Entry,
        path: &EntryPath,
        whiteout: &Whiteout,
    ) -> Result<()> {
        let removed = match whiteout {
            Whiteout::Ignored => return Ok(()),
            Whiteout::Opaque => None,
            Whiteout::Name(name) => Some(name),
        };
        let parent = self.parent(entry, path.parent())?;
        match removed {
            None => {
                self.counts.opaque_root |= path.parent().is_empty();
                attributes::set_opaque(entry, parent.as_fd())?;
            }
            Some(name) => self.make_whiteout(entry, &Place { parent: &parent, name })?,
        }
        self.remember(path.parent(), parent);
        Ok(())
    }

    fn make_whiteout(&mut self, entry: &Entry, place: &Place<'_>) -> Result<()> {
        match place.stat() {
            Err(Errno::NOENT) => {
                self.counts.inodes += 1;
                rustix::fs::mknodat(place.parent, place.name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(|errno| write_error(entry, "make a whiteout", errno))
            }
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let directory = place.open_directory().map_err(|errno| write_error(entry, "open", errno))?;
                attributes::set_opaque(entry, directory.as_fd())
            }
            Ok(_) => Ok(()),
            Err(errno) => Err(write_error(entry, "look at", errno)),
        }
    }

    pub(super) fn make_directory(
        &mut self,
        entry: &Entry,
        place: &Place<'_>,
        path: &EntryPath,
    ) -> Result<()> {
        let made = |errno| write_error(entry, "make the directory", errno);
        match place.make_directory() {
            Ok(()) => self.counts.inodes += 1,
            Err(Errno::EXIST) => {
                let stat = place.stat().map_err(made)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    self.remove(place)?;
                    place.make_directory().map_err(made)?;
                    self.counts.inodes += 1;
                }
                if is_whiteout(&stat) {
                    let directory = place.open_directory().map_err(made)?;
                    attributes::set_opaque(entry, directory.as_fd())?;
                }
            }
            Err(errno) => return Err(made(errno)),
        }
        let directory = place.open_directory().map_err(made)?;
        self.counts.dropped_xattrs += attributes::set(entry, directory.as_fd())?;
        self.times.insert(path.joined().to_vec(), entry.mtime);
        Ok(())
    }

    /// A directory that an entry needs and the archive has not given (yet).
    pub(super) fn make_missing(&mut self, entry: &Entry, parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
        let made = |errno| write_error(entry, "make a parent directory", errno);
        let place = Place { parent, name };
        let opaque = match place.stat() {
            Err(Errno::NOENT) => false,
            Ok(stat) if is_whiteout(&stat) => {
                self.remove(&place)?;
                true
            }
            Ok(_) => return Err(made(Errno::NOTDIR)),
            Err(errno) => return Err(made(errno)),
        };
        place.make_directory().map_err(made)?;
        self.counts.inodes += 1;
        let directory = place.open_directory().map_err(made)?;
        // mkdir(2) subtracts the umask.
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o755)).map_err(made)?;
        if opaque {
            attributes::set_opaque(entry, directory.as_fd())?;
        }
        Ok(directory)
    }

    pub(super) fn make_file(&mut self, entry: &Entry, place: &Place<'_>) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let file = self.replacing(entry, place, "create", || {
            rustix::fs::openat(place.parent, place.name, flags, mode)
        })?;
        loop {
            let read = self.archive.read(&mut self.buffer)?;
            if read == 0 {
                break;
            }
            let mut rest = &self.buffer[..read];
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))
                    .map_err(|errno| write_error(entry, "write", errno))?;
                rest = &rest[written..];
            }
            self.counts.content_bytes += read as u64;
        }
        self.counts.dropped_xattrs += attributes::set(entry, file.as_fd())?;
        rustix::fs::futimens(&file, &times(entry.mtime))
            .map_err(|errno| write_error(entry, "set the time", errno))
    }

    pub(super) fn make_symlink(&mut self, entry: &Entry, place: &Place<'_>, target: &[u8]) -> Result<()> {
        if target.contains(&0) {
            return Err(Error::UnsafePath { entry: entry.name(), path: printable(target) });
        }
        if target.len() > self.limits.path {
            return Err(Error::Limit {
                entry: entry.name(),
                what: "bytes of a path",
                limit: self.limits.path as u64,
            });
        }
        self.replacing(entry, place, "link", || rustix::fs::symlinkat(target, place.parent, place.name))?;
        self.counts.dropped_xattrs += entry.xattrs.len() as u64;
        self.set_owner_and_time(entry, place)
    }

    pub(super) fn make_fifo(&mut self, entry: &Entry, place: &Place<'_>) -> Result<()> {
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.replacing(entry, place, "make a fifo", || {
            rustix::fs::mknodat(place.parent, place.name, FileType::Fifo, mode, 0)
        })?;
        self.counts.dropped_xattrs += entry.xattrs.len() as u64;
        self.set_owner_and_time(entry, place)?;
        // It is not a link: it was made just now in a directory that nobody else can reach.
        rustix::fs::chmodat(place.parent, place.name, mode, AtFlags::empty())
            .map_err(|errno| write_error(entry, "set the mode", errno))
    }

    /// The target is looked up below the root as an entry's own path is, and is never followed.
    pub(super) fn make_hard_link(&mut self, entry: &Entry, place: &Place<'_>, target: &[u8]) -> Result<()> {
        let missing = || Error::LinkTarget { entry: entry.name(), target: printable(target) };
        let path = EntryPath::parse(entry, target, self.limits)?.ok_or_else(missing)?;
        let directory = open_directory(self.root, path.parent()).map_err(|_| missing())?;
        let source = Place { parent: &directory, name: path.name() };
        let stat = source.stat().map_err(|_| missing())?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Symlink | FileType::Fifo => {}
            _ => return Err(missing()),
        }
        if place.stat().is_ok_and(|existing| existing.st_ino == stat.st_ino) {
            return Ok(());
        }
        self.replacing(entry, place, "make a hard link", || {
            rustix::fs::linkat(&directory, source.name, place.parent, place.name, AtFlags::empty())
        })
    }

    fn set_owner_and_time(&self, entry: &Entry, place: &Place<'_>) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::chownat(place.parent, place.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| write_error(entry, "set the owner", errno))?;
        rustix::fs::utimensat(place.parent, place.name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| write_error(entry, "set the time", errno))
    }

    /// Makes something, in place of what an earlier entry of the same name made.
    fn replacing<T>(
        &mut self,
        entry: &Entry,
        place: &Place<'_>,
        op: &'static str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<T> {
        let made = match make() {
            Err(Errno::EXIST) => {
                self.remove(place)?;
                make()
            }
            made => made,
        };
        self.counts.inodes += 1;
        made.map_err(|errno| write_error(entry, op, errno))
    }

    fn remove(&mut self, place: &Place<'_>) -> Result<()> {
        self.removed = true;
        remove_tree(place.parent.as_fd(), OsStr::from_bytes(place.name))
    }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
