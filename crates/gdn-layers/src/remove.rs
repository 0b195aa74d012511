//! Removing trees that resist.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Levels that are descended into before a deeper tree is moved up first: each level holds a descriptor.
const MAX_LEVELS: usize = 32;

/// How often a directory is emptied again when something was added to it meanwhile.
const ROUNDS: usize = 4;

/// Makes the names of trees that were moved up unique within this process.
static MOVED: AtomicU64 = AtomicU64::new(0);

/// Removes a file, or a directory with everything below it, whatever its depth, modes and immutable flags.
///
/// No link is followed and no path is walked by name. It succeeds when there is nothing. It goes on after a failure and
/// returns the first. Parts of trees deeper than 32 levels appear in `parent` for a moment, under names that begin with
/// `.deep-`.
///
/// # Errors
/// [`Error::Remove`] with the first thing that could not be removed, for example `EBUSY` for a mount point.
pub fn remove_tree(parent: BorrowedFd<'_>, name: impl AsRef<OsStr>) -> Result<()> {
    let name = name.as_ref();
    let name = CString::new(name.as_bytes()).map_err(|_| Error::Remove {
        path: name.to_string_lossy().into_owned(),
        op: "remove",
        errno: Errno::INVAL,
    })?;
    let mut removal = Removal { top: parent, moved: vec![name], failure: None };
    while let Some(name) = removal.moved.pop() {
        removal.remove(parent, &name, 0);
    }
    removal.failure.map_or(Ok(()), Err)
}

struct Removal<'a> {
    /// Where trees that are too deep are moved.
    top: BorrowedFd<'a>,
    /// Names in `top` still to be removed.
    moved: Vec<CString>,
    failure: Option<Error>,
}

impl Removal<'_> {
    fn remove(&mut self, parent: BorrowedFd<'_>, name: &CStr, level: usize) {
        let unlinked = persist(parent, name, || rustix::fs::unlinkat(parent, name, AtFlags::empty()));
        match unlinked {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) if level >= MAX_LEVELS => self.move_up(parent, name),
            Err(Errno::ISDIR) => self.remove_directory(parent, name, level),
            Err(errno) => self.fail("unlink", name, errno),
        }
    }

    fn remove_directory(&mut self, parent: BorrowedFd<'_>, name: &CStr, level: usize) {
        for _ in 0..ROUNDS {
            match open_directory(parent, name) {
                Ok(directory) => self.empty(&directory, name, level),
                Err(Errno::NOENT) => return,
                Err(errno) => return self.fail("open", name, errno),
            }
            match persist(parent, name, || rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)) {
                Ok(()) | Err(Errno::NOENT) => return,
                // Something inside failed and is noted already, or something was added meanwhile.
                Err(Errno::NOTEMPTY) if self.failure.is_none() => {}
                Err(errno) => return self.fail("remove", name, errno),
            }
        }
        self.fail("remove", name, Errno::NOTEMPTY);
    }

    fn empty(&mut self, directory: &OwnedFd, name: &CStr, level: usize) {
        let entries = match Dir::read_from(directory) {
            Ok(entries) => entries,
            Err(errno) => return self.fail("list", name, errno),
        };
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_name() == c"." || entry.file_name() == c".." => {}
                Ok(entry) => self.remove(directory.as_fd(), entry.file_name(), level + 1),
                Err(errno) => return self.fail("list", name, errno),
            }
        }
    }

    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &CStr) {
        let number = MOVED.fetch_add(1, Ordering::Relaxed);
        let target =
            CString::new(format!(".deep-{}-{number}", std::process::id())).expect("digits hold no NUL");
        match persist(parent, name, || rustix::fs::renameat(parent, name, self.top, target.as_c_str())) {
            Ok(()) => self.moved.push(target),
            Err(errno) => self.fail("rename", name, errno),
        }
    }

    fn fail(&mut self, op: &'static str, name: &CStr, errno: Errno) {
        let error = Error::Remove { path: name.to_string_lossy().into_owned(), op, errno };
        self.failure.get_or_insert(error);
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Does something, and once more after clearing the immutable and append-only flags when they may be what refused it.
fn persist(
    parent: BorrowedFd<'_>,
    name: &CStr,
    action: impl Fn() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    match action() {
        Err(Errno::PERM) => {
            thaw(parent);
            if let Ok(file) = open_for_flags(parent, name) {
                thaw(file.as_fd());
            }
            action()
        }
        result => result,
    }
}

/// Opens a file or directory for `ioctl`, never a device or a fifo, whose opening has effects.
fn open_for_flags(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::openat(parent, name, flags, Mode::empty())
        }
        _ => Err(Errno::PERM),
    }
}

/// Clears the flags as far as the file system lets it. Whether it helped, the repeated action tells, and its error is the one
/// to report.
fn thaw(file: BorrowedFd<'_>) {
    let _ = rustix::fs::ioctl_getflags(file)
        .and_then(|flags| rustix::fs::ioctl_setflags(file, flags - (IFlags::IMMUTABLE | IFlags::APPEND)));
}
