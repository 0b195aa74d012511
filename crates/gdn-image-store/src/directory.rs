//! Directories of the store and of layouts, by descriptor.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::file_error;
use crate::{Error, Result};

/// Longest document that is read, in bytes: manifests and configurations of real images stay below 100 KB.
const DOCUMENT_LIMIT: u64 = 4 << 20;

/// An open directory and the name it was opened by.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    pub(crate) path: String,
    resolve: ResolveFlags,
}

impl Directory {
    /// Opens a directory by its path on the host. No link inside is ever followed.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let text = path.display().to_string();
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT => Error::NotFound { path: text.clone() },
            errno => file_error("open", text.clone())(errno),
        })?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(Directory { fd, path: text, resolve })
    }

    /// Follows links inside, none of which leads out: archives of old `docker save` name equal layers by links.
    pub(crate) fn following_links(mut self) -> Self {
        self.resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        self
    }

    /// Follows every link: the host's operator may mean it.
    pub(crate) fn following_host_links(mut self) -> Self {
        self.resolve = ResolveFlags::NO_MAGICLINKS;
        self
    }

    /// Opens a subdirectory, made with mode 0700 when it is missing.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<Self> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.error("make", name, errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())
            .map_err(|errno| self.error("open", name, errno))?;
        Ok(Directory { fd, path: format!("{}/{name}", self.path), resolve: self.resolve })
    }

    /// Opens a regular file inside, without waiting for a fifo's writer and without following links out.
    pub(crate) fn file(&self, name: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let not_regular = || Error::NotRegular { path: format!("{}/{name}", self.path) };
        let fd =
            rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), self.resolve).map_err(|errno| {
                match errno {
                    Errno::NOENT | Errno::NOTDIR => Error::NotFound { path: format!("{}/{name}", self.path) },
                    Errno::LOOP | Errno::XDEV | Errno::NXIO => not_regular(),
                    errno => self.error("open", name, errno),
                }
            })?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.error("look at", name, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_regular());
        }
        Ok(File::from(fd))
    }

    /// Reads a document inside.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let io = |error: std::io::Error| {
            self.error("read", name, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        self.file(name)?.take(DOCUMENT_LIMIT + 1).read_to_end(&mut content).map_err(io)?;
        if content.len() as u64 > DOCUMENT_LIMIT {
            let reason = format!("it is longer than {DOCUMENT_LIMIT} bytes");
            return Err(Error::Document { document: format!("{}/{name}", self.path), reason });
        }
        Ok(content)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.file(name).is_ok()
    }

    /// Writes a file so that after a crash it is there wholly or not at all.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let temporary = format!(".{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, temporary.as_str(), flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| self.error("create", name, errno))?;
        let mut file = File::from(fd);
        let io = |error: std::io::Error| {
            self.error("write", name, Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        file.write_all(content).and_then(|()| file.sync_all()).map_err(io)?;
        self.rename(&temporary, self, name)?;
        self.sync()
    }

    pub(crate) fn rename(&self, name: &str, to: &Directory, new: &str) -> Result<()> {
        rustix::fs::renameat(&self.fd, name, &to.fd, new).map_err(|errno| self.error("rename", name, errno))
    }

    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.fd).map_err(|errno| self.error("sync", "", errno))
    }

    /// Names of everything inside.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(|errno| self.error("list", "", errno))? {
            let entry = entry.map_err(|errno| self.error("list", "", errno))?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    fn error(&self, op: &'static str, name: &str, errno: Errno) -> Error {
        file_error(op, format!("{}/{name}", self.path))(errno)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
