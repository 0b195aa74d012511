//! Listening sockets in the file system, made without trusting what is there.
//!
//! What it is: [`listen`], which makes a socket with its group and its mode, and [`OnDisk`], its name in the file system, which
//! goes when it is dropped.
//!
//! What it is not: who of those that can connect is served is the caller's to decide, and so is how connections are accepted.
//!
//! # Invariants
//! * The socket's directory belongs to this user or root, and others can write to it only if it is sticky.
//! * Nothing but a socket on which nobody listens is ever replaced, and nothing but the socket itself removed.
//! * The socket has its name only once it has its mode: nobody who may not connect ever can.
//!
//! ```
//! use gdn_sockets::{SocketSpec, listen};
//!
//! let place = tempfile::tempdir().unwrap();
//! let path = place.path().join("garden.sock");
//! let (listener, on_disk) = listen(&SocketSpec { path: &path, mode: 0o600, group: None, directory_mode: 0o700 })?;
//! assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
//! drop((listener, on_disk));
//! assert!(!path.exists());
//! # Ok::<(), gdn_sockets::Error>(())
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;

/// Tells the sockets of this process apart while they are made.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// What socket is wanted.
#[derive(Clone, Copy, Debug)]
pub struct SocketSpec<'a> {
    /// Its path, of any length that the file system takes.
    pub path: &'a Path,
    /// Permission bits; who may write to it may connect.
    pub mode: u32,
    /// Its group; absent: that of this process.
    pub group: Option<u32>,
    /// Permission bits of its directory, where that has to be made.
    pub directory_mode: u32,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory of the socket is not one that others cannot write to.
    #[error("directory {path} of the socket {reason}")]
    UnsafeDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is something at the socket's path that is not a socket.
    #[error("{path} exists and is not a socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another server listens on the socket.
    #[error("another server listens on {path}")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// A step of making the socket failed.
    #[error("{op} {path}")]
    Failed {
        /// What was being done.
        op: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The name of the socket in the file system, removed when dropped unless somebody replaced it.
#[derive(Debug)]
pub struct OnDisk {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OnDisk {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        let ours = |metadata: fs::Metadata| metadata.dev() == self.device && metadata.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(ours)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "remove socket");
        }
    }
}

/// Makes the socket, its directory where that is missing, and begins to listen. The listener does not block.
///
/// # Errors
/// Those of [`Error`].
pub fn listen(spec: &SocketSpec<'_>) -> Result<(UnixListener, OnDisk), Error> {
    let failed = |op| move |source| Error::Failed { op, path: spec.path.to_owned(), source };
    let (parent, name) = match (spec.path.parent(), spec.path.file_name()) {
        (Some(parent), Some(name)) => (parent, name),
        _ => return Err(failed("listen on")(ErrorKind::InvalidInput.into())),
    };
    let directory = open_directory(parent, spec.directory_mode)?;
    // Through the descriptor: the name of a socket has at most 108 bytes, and what was checked is what is used.
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    // Under another name until it has its mode: a short one, of this call alone.
    let made = short.join(format!(".{}.{}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed)));
    let short = short.join(name);
    remove_stale(&short, spec.path)?;
    remove_file(&made).map_err(failed("remove what is left beside"))?;
    let listener = UnixListener::bind(&made).map_err(failed("listen on"))?;
    let finished = finish(&made, &short, spec).and_then(|metadata| {
        listener.set_nonblocking(true)?;
        Ok(metadata)
    });
    if finished.is_err() {
        // Why it failed is what counts.
        let _ = fs::remove_file(&made);
    }
    let metadata = finished.map_err(failed("make"))?;
    Ok((listener, OnDisk { path: spec.path.to_owned(), device: metadata.dev(), inode: metadata.ino() }))
}

/// Gives the socket its group, its mode and its name.
fn finish(made: &Path, name: &Path, spec: &SocketSpec<'_>) -> io::Result<fs::Metadata> {
    if let Some(group) = spec.group {
        std::os::unix::fs::lchown(made, None, Some(group))?;
    }
    fs::set_permissions(made, fs::Permissions::from_mode(spec.mode))?;
    fs::rename(made, name)?;
    fs::symlink_metadata(name)
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Opens the socket's directory, making it when it is missing.
fn open_directory(path: &Path, mode: u32) -> Result<fs::File, Error> {
    let failed = |op| move |source| Error::Failed { op, path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("make directory"))?;
    let directory = fs::File::options()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(path)
        .map_err(failed("open directory"))?;
    let metadata = directory.metadata().map_err(failed("look at directory"))?;
    let unsafe_because = |reason| Err(Error::UnsafeDirectory { path: path.to_owned(), reason });
    if metadata.uid() != rustix::process::geteuid().as_raw() && metadata.uid() != 0 {
        return unsafe_because("belongs to another user");
    }
    // In a sticky directory (/tmp) others can add names but not replace ours.
    if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 {
        return unsafe_because("can be written by other users");
    }
    Ok(directory)
}

/// Removes a socket that nobody listens on, and nothing else.
fn remove_stale(short: &Path, path: &Path) -> Result<(), Error> {
    let failed = |op| move |source| Error::Failed { op, path: path.to_owned(), source };
    match fs::symlink_metadata(short) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(Error::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(short) {
        Ok(_) => Err(Error::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "remove stale socket");
            fs::remove_file(short).map_err(failed("remove stale socket"))
        }
        Err(error) => Err(failed("connect to")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(path: &Path) -> SocketSpec<'_> {
        SocketSpec { path, mode: 0o600, group: None, directory_mode: 0o700 }
    }

    fn names(dir: &tempfile::TempDir) -> usize {
        fs::read_dir(dir.path()).unwrap().count()
    }

    #[test]
    fn the_socket_gets_its_mode_and_its_group_and_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.sock");
        let group = fs::metadata(dir.path()).unwrap().gid();
        let made = listen(&SocketSpec { mode: 0o640, group: Some(group), ..socket(&path) }).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.gid(), names(&dir)), (0o640, group, 1));
        assert_eq!(made.1.path(), path);
        drop(made);
        assert_eq!(names(&dir), 0);
    }

    #[test]
    fn a_directory_that_is_missing_is_made_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/g.sock");
        let _made = listen(&socket(&path)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let live = listen(&socket(&path)).unwrap();
        assert!(matches!(listen(&socket(&path)).unwrap_err(), Error::InUse { .. }));
        assert!(path.exists());
        drop(live);
    }

    #[test]
    fn a_file_or_a_link_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&socket(&path)).unwrap_err(), Error::NotASocket { .. }));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        assert!(matches!(listen(&socket(&path)).unwrap_err(), Error::NotASocket { .. }));
        assert!(path.is_symlink() && names(&dir) == 1);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused_unless_it_is_sticky() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.sock");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(listen(&socket(&path)).unwrap_err(), Error::UnsafeDirectory { .. }));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        listen(&socket(&path)).unwrap();
    }

    #[test]
    fn a_path_longer_than_a_socket_address_works() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d".repeat(150)).join("g.sock");
        let _made = listen(&socket(&path)).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_somebody_replaced_is_not_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("g.sock");
        let made = listen(&socket(&path)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "other").unwrap();
        drop(made);
        assert!(path.exists());
    }
}
