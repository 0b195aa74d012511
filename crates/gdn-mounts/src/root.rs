//! A directory below which everything is hostile.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat};
use rustix::io::Errno;

use crate::{Error, Result};

/// The most components a path may have: keeps a walk bounded however long its owner makes the tree.
const MAX_COMPONENTS: usize = 512;

/// An open directory that serves as `/` for every path given to it.
///
/// Links are followed, but inside: an absolute link starts at the root again, `..` stops at it, and the magic links of
/// procfs are refused.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens a trusted path of the host as a root.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`...
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let fd = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::Path { op: "open", path: path.display().to_string(), errno })?;
        Ok(Root(fd))
    }

    /// Takes an open directory as a root.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Root(fd)
    }

    /// Opens a path below the root, without creating anything.
    ///
    /// `O_CLOEXEC` is added. Unless `flags` has `O_PATH`, `O_NONBLOCK` is added too, so that a fifo in the way cannot block.
    ///
    /// # Errors
    /// The kernel's; `EXDEV` or `ELOOP` when a link tries to leave.
    pub fn open_at(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        let path = path.as_ref();
        let extra = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
        self.resolve(path, flags | extra, Mode::empty()).map_err(refused("open", path))
    }

    /// Opens a directory below the root as a place to mount on or walk from.
    ///
    /// # Errors
    /// `ENOTDIR` when it is something else.
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .map_err(refused("open directory", path))
    }

    /// Opens a directory whose own last component must not be a link.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when it is a link, or anything but a directory.
    pub fn open_dir_no_link(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        let path = path.as_ref();
        let fd = self
            .resolve(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
            .map_err(refused("open", path))?;
        let found = file_type(fd.as_fd()).map_err(refused("stat", path))?;
        if found != FileType::Directory {
            return Err(Error::WrongKind {
                path: path.display().to_string(),
                found: name_of(found),
                expected: "a directory",
            });
        }
        Ok(fd)
    }

    /// Opens a directory below the root, making what is missing of it with `mode`, component by component.
    ///
    /// # Errors
    /// `ENOTDIR` when something else is in the way, [`Error::Path`] otherwise.
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        match self.resolve(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(refused("open directory", path)),
        }
        let mut walked = std::path::PathBuf::from("/");
        for component in components(path)? {
            let parent = self
                .resolve(&walked, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
                .map_err(refused("open directory", path))?;
            match mkdirat(&parent, component, Mode::from_raw_mode(mode)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(refused("mkdir", path)(errno)),
            }
            walked.push(component);
        }
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
            .map_err(refused("open directory", path))
    }

    /// Opens something that is not a directory as a place to mount a file on, making an empty file when nothing is there.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when a directory is in the way.
    pub fn create_file(&self, path: impl AsRef<Path>, mode: u32) -> Result<OwnedFd> {
        let path = path.as_ref();
        let fd = match self.resolve(path, OFlags::PATH, Mode::empty()) {
            Err(Errno::NOENT) => self.make_file(path, mode)?,
            other => other.map_err(refused("open", path))?,
        };
        if file_type(fd.as_fd()).map_err(refused("stat", path))? == FileType::Directory {
            return Err(Error::WrongKind {
                path: path.display().to_string(),
                found: "a directory",
                expected: "a file",
            });
        }
        Ok(fd)
    }

    fn make_file(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        let name = components(path)?.pop().ok_or_else(|| refused("create", path)(Errno::ISDIR))?;
        let parent = self.create_dir(path.parent().unwrap_or(Path::new("/")), 0o755)?;
        // A dangling link in the last place would make O_CREAT follow it; inside the root that is harmless but would leave
        // the file elsewhere, so it is refused instead.
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made =
            openat(&parent, name, flags, Mode::from_raw_mode(mode)).map_err(refused("create", path))?;
        drop(made);
        openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map_err(refused("open", path))
    }

    /// Reads a regular file below the root, at most `limit` bytes of it.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when it is not a regular file, `EFBIG` when it is larger than `limit`.
    pub fn read(&self, path: impl AsRef<Path>, limit: usize) -> Result<Vec<u8>> {
        let path = path.as_ref();
        // Looked at before it is opened: opening a device can do something.
        let place = self.open_at(path, OFlags::PATH)?;
        let found = file_type(place.as_fd()).map_err(refused("stat", path))?;
        if found != FileType::RegularFile {
            return Err(Error::WrongKind {
                path: path.display().to_string(),
                found: name_of(found),
                expected: "a regular file",
            });
        }
        let again = format!("/proc/self/fd/{}", place.as_raw_fd());
        let fd = openat(CWD, again, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
            .map_err(refused("open", path))?;
        let mut content = Vec::new();
        let mut chunk = vec![0; 16 * 1024];
        loop {
            let length = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut chunk))
                .map_err(refused("read", path))?;
            if length == 0 {
                return Ok(content);
            }
            if content.len() + length > limit {
                return Err(refused("read", path)(Errno::FBIG));
            }
            content.extend_from_slice(&chunk[..length]);
        }
    }

    /// The root directory itself.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn resolve(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        // The kernel answers EAGAIN when a rename or mount elsewhere made it unsure whether `..` stayed inside.
        for _ in 0..64 {
            match openat2(
                &self.0,
                path,
                flags | OFlags::CLOEXEC,
                mode,
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            ) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The normal components of a path; `..` is refused: nobody who creates something means it.
fn components(path: &Path) -> Result<Vec<&OsStr>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => names.push(name),
            std::path::Component::ParentDir => return Err(refused("create", path)(Errno::INVAL)),
            _ => {}
        }
    }
    if names.len() > MAX_COMPONENTS || names.iter().any(|name| name.as_bytes().contains(&0)) {
        return Err(refused("create", path)(Errno::INVAL));
    }
    Ok(names)
}

fn refused(op: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error + use<> {
    let path = path.display().to_string();
    move |errno| Error::Path { op, path, errno }
}

fn file_type(fd: BorrowedFd<'_>) -> rustix::io::Result<FileType> {
    statat(fd, "", AtFlags::EMPTY_PATH).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a fifo",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        let root = Root::open(dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn links_lead_inside_whatever_they_say() {
        let (dir, root) = hostile();
        let outside = dir.path().join("outside");
        std::os::unix::fs::symlink(&outside, dir.path().join("root/absolute")).unwrap();
        std::os::unix::fs::symlink("../outside", dir.path().join("root/relative")).unwrap();
        for link in ["/absolute/secret", "/relative/secret", "../outside/secret", "/../outside/secret"] {
            assert_eq!(root.read(link, 100).unwrap_err().errno(), Some(Errno::NOENT), "{link}");
        }
        root.create_dir("/absolute/made", 0o755).unwrap_err();
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_must_not_be_a_link_is_named_when_it_is() {
        let (dir, root) = hostile();
        std::os::unix::fs::symlink(dir.path().join("outside"), dir.path().join("root/dev")).unwrap();
        let error = root.open_dir_no_link("/dev").unwrap_err();
        assert_eq!(error.to_string(), "\"/dev\" is a symbolic link, expected a directory");
    }

    #[test]
    fn missing_directories_and_files_are_made_inside() {
        let (dir, root) = hostile();
        root.create_dir("/a/b/c", 0o755).unwrap();
        root.create_file("/a/b/c/d/file", 0o644).unwrap();
        assert!(dir.path().join("root/a/b/c/d/file").is_file());
        assert!(matches!(root.create_file("/a/b", 0o644), Err(Error::WrongKind { .. })));
        assert!(root.create_dir("/a/b/c/d/file", 0o755).is_err());
    }

    #[test]
    fn reading_is_bounded_and_never_blocks() {
        let (dir, root) = hostile();
        std::fs::write(dir.path().join("root/big"), [0; 100]).unwrap();
        assert_eq!(root.read("big", 99).unwrap_err().errno(), Some(Errno::FBIG));
        assert_eq!(root.read("big", 100).unwrap().len(), 100);
        rustix::fs::mknodat(CWD, dir.path().join("root/fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        assert!(matches!(root.read("fifo", 100), Err(Error::WrongKind { found: "a fifo", .. })));
    }

    #[test]
    fn a_detached_tmpfs_is_seen_only_through_its_descriptor() {
        use crate::{Attributes, Filesystem};
        let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = Filesystem::new("tmpfs")
            .unwrap()
            .option("size", "1m")
            .unwrap()
            .mount(Attributes::MOUNT_ATTR_NODEV)
            .unwrap();
        let root = Root::from_fd(mount.into_fd());
        root.create_dir("/x", 0o700).unwrap();
        root.open_dir("/x").unwrap();
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    }
}
