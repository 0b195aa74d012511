//! A listening socket in the file system, made without trusting what is there.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokio::net::UnixListener;

use crate::config::{OpenError, UnixListenerSpec};

/// A socket that listens. Dropping it removes it from the file system.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub(crate) listener: UnixListener,
    _on_disk: OnDisk,
}

/// The name of the socket in the file system, removed when dropped unless somebody replaced it.
#[derive(Debug)]
struct OnDisk {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl UnixSocket {
    /// Makes the socket and begins to listen.
    pub(crate) fn bind(spec: &UnixListenerSpec) -> Result<Self, OpenError> {
        let failed = |op| move |source| OpenError::Socket { op, path: spec.path.clone(), source };
        let (parent, name) = match (spec.path.parent(), spec.path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => return Err(failed("listen on")(ErrorKind::InvalidInput.into())),
        };
        let directory = open_directory(parent)?;
        // Through the descriptor: the name of a socket has at most 108 bytes, and what was checked is what is used.
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
        let made = short.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let short = short.join(name);
        remove_stale(&short, &spec.path)?;
        // Under another name until it has its mode: nobody who may not call ever can connect.
        remove_file(&made).map_err(failed("remove what is left beside"))?;
        let listener = UnixListener::bind(&made).map_err(failed("listen on"))?;
        let finished = finish(&made, &short, spec);
        if finished.is_err() {
            // Why it failed is what counts.
            let _ = fs::remove_file(&made);
        }
        let metadata = finished.map_err(failed("make"))?;
        let on_disk = OnDisk { path: spec.path.clone(), device: metadata.dev(), inode: metadata.ino() };
        Ok(UnixSocket { listener, _on_disk: on_disk })
    }
}

/// Gives the socket its group, its mode and its name.
fn finish(made: &Path, name: &Path, spec: &UnixListenerSpec) -> std::io::Result<fs::Metadata> {
    if let Some(group) = spec.group {
        std::os::unix::fs::lchown(made, None, Some(group))?;
    }
    fs::set_permissions(made, fs::Permissions::from_mode(spec.mode))?;
    fs::rename(made, name)?;
    fs::symlink_metadata(name)
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
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

/// Opens the socket's directory, making it when it is missing.
fn open_directory(path: &Path) -> Result<fs::File, OpenError> {
    let failed = |op| move |source| OpenError::Socket { op, path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(failed("make directory"))?;
    let directory = fs::File::options()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(path)
        .map_err(failed("open directory"))?;
    let metadata = directory.metadata().map_err(failed("look at directory"))?;
    let unsafe_because = |reason| Err(OpenError::UnsafeDirectory { path: path.to_owned(), reason });
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
fn remove_stale(short: &Path, path: &Path) -> Result<(), OpenError> {
    let failed = |op| move |source| OpenError::Socket { op, path: path.to_owned(), source };
    match fs::symlink_metadata(short) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(OpenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(short) {
        Ok(_) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "remove stale socket");
            fs::remove_file(short).map_err(failed("remove stale socket"))
        }
        Err(error) => Err(failed("connect to")(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as BlockingListener;

    use super::*;

    fn spec(dir: &tempfile::TempDir) -> UnixListenerSpec {
        UnixListenerSpec::new(dir.path().join("garden.sock"))
    }

    fn names(dir: &tempfile::TempDir) -> usize {
        fs::read_dir(dir.path()).unwrap().count()
    }

    #[tokio::test]
    async fn the_socket_gets_its_mode_and_its_group_and_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let group = fs::metadata(dir.path()).unwrap().gid();
        let spec = UnixListenerSpec { mode: 0o640, group: Some(group), ..spec(&dir) };
        let socket = UnixSocket::bind(&spec).unwrap();
        let metadata = fs::metadata(&spec.path).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.gid(), names(&dir)), (0o640, group, 1));
        drop(socket);
        assert_eq!(names(&dir), 0);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir);
        drop(BlockingListener::bind(&spec.path).unwrap());
        let live = UnixSocket::bind(&spec).unwrap();
        assert!(matches!(UnixSocket::bind(&spec).unwrap_err(), OpenError::InUse { .. }));
        assert!(spec.path.exists());
        drop(live);
    }

    #[tokio::test]
    async fn a_file_or_a_link_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir);
        fs::write(&spec.path, "precious").unwrap();
        assert!(matches!(UnixSocket::bind(&spec).unwrap_err(), OpenError::NotASocket { .. }));
        fs::remove_file(&spec.path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &spec.path).unwrap();
        assert!(matches!(UnixSocket::bind(&spec).unwrap_err(), OpenError::NotASocket { .. }));
        assert_eq!(names(&dir), 1);
    }

    #[tokio::test]
    async fn a_directory_that_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(UnixSocket::bind(&spec(&dir)).unwrap_err(), OpenError::UnsafeDirectory { .. }));
    }

    #[tokio::test]
    async fn a_path_longer_than_a_socket_address_works() {
        let dir = tempfile::tempdir().unwrap();
        let spec = UnixListenerSpec::new(dir.path().join("d".repeat(150)).join("g.sock"));
        let _socket = UnixSocket::bind(&spec).unwrap();
        assert!(spec.path.exists());
    }
}
