//! Control files, reached from a directory descriptor. Every path that is only for messages is built on failure alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Room for one read: most control files fit, `memory.stat` with its 60 lines included.
const READ_CHUNK_BYTES: usize = 8 * 1024;

/// One engine's directory in one hierarchy: where relative paths start, and what to call it in messages.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Directory {
    /// Opens `path`, which must be a directory.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::Path { op: "open", path: path.to_owned(), errno })?;
        Ok(Directory { fd, path: path.to_owned() })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory `name` below this one; `None` if there is none.
    pub(crate) fn open_below(&self, name: &str) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("open", name, errno)),
        }
    }

    /// Opens the directory `name` below this one.
    pub(crate) fn open_existing(&self, name: &str) -> Result<OwnedFd> {
        self.open_below(name)?.ok_or_else(|| self.failed("open", name, Errno::NOENT))
    }

    /// Makes the directory `name`; one that is there already is as good.
    pub(crate) fn make(&self, name: &str) -> Result<()> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(self.failed("create", name, errno)),
        }
    }

    /// Removes the directory `name`; one that is gone already is as good.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // A real control group answers EBUSY; ENOTEMPTY is what a plain file system says in the same case.
            Err(Errno::BUSY | Errno::NOTEMPTY) => Err(Error::Busy { path: self.path.join(name) }),
            Err(errno) => Err(self.failed("remove", name, errno)),
        }
    }

    /// Whether something of this name is here.
    pub(crate) fn has(&self, name: &str) -> Result<bool> {
        match rustix::fs::accessat(&self.fd, name, rustix::fs::Access::EXISTS, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(self.failed("look up", name, errno)),
        }
    }

    /// The names of the directories directly below `name`; none if it is gone.
    pub(crate) fn directories(&self, name: &str) -> Result<Vec<String>> {
        let Some(fd) = self.open_below(name)? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in Dir::new(fd).map_err(|errno| self.failed("list", name, errno))? {
            match entry {
                Ok(entry) if entry.file_type() == FileType::Directory => {
                    let entry = entry.file_name().to_string_lossy().into_owned();
                    if entry != "." && entry != ".." {
                        names.push(entry);
                    }
                }
                Ok(_) => {}
                // The directory was removed under our hands: then nothing is below it.
                Err(Errno::NOENT) => return Ok(Vec::new()),
                Err(errno) => return Err(self.failed("list", name, errno)),
            }
        }
        Ok(names)
    }

    /// Opens the control file `file` for writing, to be handed to another process.
    pub(crate) fn open_for_writing(&self, file: &str) -> Result<OwnedFd> {
        rustix::fs::openat(&self.fd, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| self.failed("open", file, errno))
    }

    /// Opens the control file `file` for reading.
    pub(crate) fn open_for_reading(&self, file: &str) -> Result<OwnedFd> {
        rustix::fs::openat(&self.fd, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| self.failed("open", file, errno))
    }

    /// Writes `value` to the control file `file` by one write.
    pub(crate) fn write(&self, file: &str, value: &str) -> Result<()> {
        let fd = self.open_for_writing(file)?;
        self.write_to(fd.as_fd(), file, value)
    }

    /// Writes `value` to a control file that is open; `file` is its name for the message.
    pub(crate) fn write_to(&self, fd: BorrowedFd<'_>, file: &str, value: &str) -> Result<()> {
        match rustix::io::retry_on_intr(|| rustix::io::write(fd, value.as_bytes())) {
            Ok(_) => Ok(()),
            Err(errno) => Err(Error::Value { path: self.path.join(file), value: value.to_owned(), errno }),
        }
    }

    /// The whole text of the control file `file`, which the kernel makes in one piece: all but lists of processes.
    pub(crate) fn read(&self, file: &str) -> Result<String> {
        self.read_until(file, |count| count < READ_CHUNK_BYTES)
    }

    /// The whole text of the control file `file`, which the kernel makes line by line: a list of processes.
    pub(crate) fn read_list(&self, file: &str) -> Result<String> {
        self.read_until(file, |count| count == 0)
    }

    /// As [`Directory::read`], of a file that is open.
    pub(crate) fn read_open(&self, fd: BorrowedFd<'_>, file: &str) -> Result<String> {
        self.read_open_until(fd, file, |count| count < READ_CHUNK_BYTES)
    }

    fn read_until(&self, file: &str, is_end: impl Fn(usize) -> bool) -> Result<String> {
        let fd = self.open_for_reading(file)?;
        self.read_open_until(fd.as_fd(), file, is_end)
    }

    fn read_open_until(
        &self,
        fd: BorrowedFd<'_>,
        file: &str,
        is_end: impl Fn(usize) -> bool,
    ) -> Result<String> {
        // On the stack: most files are a few bytes, and a chunk of this size is none that an allocator has at hand.
        let mut chunk = [0; READ_CHUNK_BYTES];
        let mut content = Vec::new();
        loop {
            // From its beginning: others may have read it before.
            let count = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut chunk, content.len() as u64))
                .map_err(|errno| self.failed("read", file, errno))?;
            content.extend_from_slice(&chunk[..count]);
            if is_end(count) {
                break;
            }
        }
        String::from_utf8(content).map_err(|error| Error::Unexpected {
            path: self.path.join(file),
            content: String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// The control file `file`, which holds one number.
    pub(crate) fn read_number(&self, file: &str) -> Result<u64> {
        self.number(file, &self.read(file)?)
    }

    /// The number that is the content of `file`.
    pub(crate) fn number(&self, file: &str, content: &str) -> Result<u64> {
        content.trim().parse().map_err(|_| self.unexpected(file, content))
    }

    /// The control file `file`, which holds one number, or `max` or a negative number for "no limit".
    pub(crate) fn read_limit(&self, file: &str) -> Result<Option<u64>> {
        self.limit(file, &self.read(file)?)
    }

    /// The limit that is the content of `file`.
    pub(crate) fn limit(&self, file: &str, content: &str) -> Result<Option<u64>> {
        let value = content.trim();
        if value == "max" || value.starts_with('-') {
            return Ok(None);
        }
        value.parse().map(Some).map_err(|_| self.unexpected(file, content))
    }

    /// An error about the content of `file`.
    pub(crate) fn unexpected(&self, file: &str, content: &str) -> Error {
        Error::Unexpected { path: self.path.join(file), content: content.trim().to_owned() }
    }

    /// An error about a system call on `name`.
    pub(crate) fn failed(&self, op: &'static str, name: &str, errno: Errno) -> Error {
        Error::Path { op, path: self.path.join(name), errno }
    }
}

/// The `name value` lines of a flat keyed control file; others are passed over.
pub(crate) fn keyed_lines(content: &str) -> impl Iterator<Item = (&str, u64)> {
    content.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name, value.trim().parse().ok()?))
    })
}

/// The value of one line of a flat keyed control file.
pub(crate) fn keyed_value(content: &str, name: &str) -> Option<u64> {
    keyed_lines(content).find(|(known, _)| *known == name).map(|(_, value)| value)
}
