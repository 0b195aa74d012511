//! Places for mounts that an image lacks, made before the container is there to make them.
//!
//! A container makes what is missing itself, as its own root. But what it makes is charged to its memory group, and the
//! kernel caches the page of a new directory's entries long after the directory is gone: with the page it keeps the group,
//! 160 KB of the kernel's memory, until memory is scarce. With thousands of such groups every create and destroy takes half
//! as long again. So the engine makes these places first, for its own account, where that is simple. Whatever is not is left
//! to the container, and so is telling what is wrong with it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use gdn_mounts::Root;
use gdn_traits::ImageMount;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, mkdirat, openat, unlinkat,
};
use rustix::io::Errno;

/// So many directories one below the other are made here; paths of clients may name thousands.
const MOST_MISSING: usize = 16;
/// Where every container has file systems of its own.
const OWN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// The root file system of a container in which nobody runs yet.
pub(crate) struct Targets {
    root: Root,
    /// Host user and group of the container's root.
    owner: (u32, u32),
    /// What other mounts cover: what is made there would not be seen.
    covered: Vec<PathBuf>,
    /// Where mounts of the image go that have no place yet.
    of_image: Vec<PathBuf>,
}

impl Targets {
    /// Absent without an `owner` of what is made: a directory of the host is not the engine's to change or to wait for.
    pub(crate) fn of(
        rootfs: BorrowedFd<'_>,
        owner: Option<(u32, u32)>,
        of_image: &[ImageMount],
    ) -> Option<Self> {
        let root = Root::from_fd(rootfs.try_clone_to_owned().ok()?);
        let covered = OWN.map(PathBuf::from).into();
        let of_image = of_image.iter().map(|mount| mount.target.clone()).collect();
        owner.map(|owner| Targets { root, owner, covered, of_image })
    }

    /// Whether there is anything to make besides the places of bind mounts.
    pub(crate) fn has_any(&self) -> bool {
        !self.of_image.is_empty()
    }

    /// Makes the places for the mounts of the image, which are directories.
    pub(crate) fn make_all_of_image(&mut self) {
        for target in std::mem::take(&mut self.of_image) {
            self.make(&target, FileType::Directory);
        }
    }

    /// Makes the place for a mount of `source`.
    pub(crate) fn make_for(&mut self, target: &Path, source: BorrowedFd<'_>) {
        // What cannot be looked at cannot be mounted either.
        if let Ok(source) = fstat(source) {
            self.make(target, FileType::from_raw_mode(source.st_mode));
        }
    }

    /// Makes a place, unless something is there or it lies in another mount.
    fn make(&mut self, target: &Path, kind: FileType) {
        let covered = self.covered.iter().any(|other| target.starts_with(other));
        self.covered.push(target.to_owned());
        if covered {
            return;
        }
        if let Err(errno) = self.make_in(target, kind) {
            tracing::debug!(target = %target.display(), %errno, "the container makes the place for a mount itself");
        }
    }

    fn make_in(&self, target: &Path, kind: FileType) -> Result<(), Errno> {
        let mut missing: Vec<&OsStr> = Vec::new();
        let (mut there, mut directory) = (target, None);
        while directory.is_none() {
            if missing.len() == MOST_MISSING {
                return Err(Errno::LOOP);
            }
            missing.push(there.file_name().ok_or(Errno::INVAL)?);
            there = there.parent().ok_or(Errno::INVAL)?;
            directory = match self.root.open_dir(there) {
                Ok(found) => Some(found),
                Err(error) if error.errno() == Some(Errno::NOENT) => None,
                Err(error) => return Err(error.errno().unwrap_or(Errno::INVAL)),
            };
        }
        let mut directory = directory.ok_or(Errno::INVAL)?;
        while let Some(name) = missing.pop() {
            if missing.is_empty() && kind != FileType::Directory {
                return self.make_file(&directory, name);
            }
            directory = self.make_directory(&directory, name)?;
        }
        Ok(())
    }

    fn make_directory(&self, parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return openat(parent, name, flags | OFlags::PATH, Mode::empty()),
            Err(errno) => return Err(errno),
        }
        let made = openat(parent, name, flags, Mode::empty())
            .and_then(|made| self.hand_over(made.as_fd(), 0o755).map(|()| made));
        if made.is_err() {
            // One that is not the container's own would be worse than none.
            unlinkat(parent, name, AtFlags::REMOVEDIR)?;
        }
        made
    }

    fn make_file(&self, parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(parent, name, flags, Mode::from_raw_mode(0o644)) {
            Ok(made) => self.hand_over(made.as_fd(), 0o644).or_else(|errno| {
                unlinkat(parent, name, AtFlags::empty())?;
                Err(errno)
            }),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// As if the container's root had made it, with its usual mask.
    fn hand_over(&self, made: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
        let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        fchown(made, Some(user), Some(group))?;
        fchmod(made, Mode::from_raw_mode(mode))
    }
}
