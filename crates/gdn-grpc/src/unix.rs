//! A listening socket in the file system: made without trusting what is there, open to chosen users only.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use futures::Stream;
use rustix::fs::OFlags;
use tokio::net::{UnixListener, UnixStream};

use crate::config::{ServeError, UnixListenerSpec};

/// A socket that listens. Dropping it removes it from the file system.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    allowed_uids: Vec<u32>,
    on_disk: OnDisk,
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
    pub(crate) fn bind(spec: &UnixListenerSpec) -> Result<Self, ServeError> {
        let failed = |op| move |source| ServeError::Socket { op, path: spec.path.clone(), source };
        let (parent, name) = match (spec.path.parent(), spec.path.file_name()) {
            (Some(parent), Some(name)) => (parent, name),
            _ => return Err(failed("listen on")(ErrorKind::InvalidInput.into())),
        };
        let directory = open_directory(parent, !spec.allowed_uids.is_empty())?;
        // Through the descriptor: the name of a socket has at most 108 bytes, and what was checked is what is used.
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        remove_stale(&short, &spec.path)?;
        let listener = UnixListener::bind(&short).map_err(failed("listen on"))?;
        // Between these two calls the socket may be open to others; the check of each connection's user is not.
        fs::set_permissions(&short, fs::Permissions::from_mode(spec.mode))
            .map_err(failed("change the mode of"))?;
        let metadata = fs::symlink_metadata(&short).map_err(failed("look at"))?;
        let on_disk = OnDisk { path: spec.path.clone(), device: metadata.dev(), inode: metadata.ino() };
        Ok(UnixSocket { listener, allowed_uids: spec.allowed_uids.clone(), on_disk })
    }

    /// The connections of users who may call, for as long as the stream lives.
    pub(crate) fn connections(self) -> impl Stream<Item = io::Result<UnixStream>> {
        futures::stream::unfold(self, |socket| async {
            let connection = socket.accept().await;
            Some((connection, socket))
        })
    }

    async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (connection, _) = self.listener.accept().await?;
            let peer = connection.peer_cred()?;
            if peer.uid() == 0 || self.allowed_uids.contains(&peer.uid()) {
                return Ok(connection);
            }
            tracing::warn!(uid = peer.uid(), pid = peer.pid(), path = %self.on_disk.path.display(), "client refused");
        }
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
fn open_directory(path: &Path, for_others: bool) -> Result<fs::File, ServeError> {
    let failed = |op| move |source| ServeError::Socket { op, path: path.to_owned(), source };
    let mode = if for_others { 0o711 } else { 0o700 };
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(failed("make directory"))?;
    let directory = fs::File::options()
        .read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
        .open(path)
        .map_err(failed("open directory"))?;
    let metadata = directory.metadata().map_err(failed("look at directory"))?;
    let unsafe_because = |reason| Err(ServeError::UnsafeDirectory { path: path.to_owned(), reason });
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
fn remove_stale(short: &Path, path: &Path) -> Result<(), ServeError> {
    let failed = |op| move |source| ServeError::Socket { op, path: path.to_owned(), source };
    match fs::symlink_metadata(short) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ServeError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(short) {
        Ok(_) => Err(ServeError::InUse { path: path.to_owned() }),
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
    use std::os::unix::net::UnixListener as BlockingListener;

    fn spec(dir: &tempfile::TempDir) -> UnixListenerSpec {
        UnixListenerSpec::new(dir.path().join("run/g.sock"))
    }

    #[tokio::test]
    async fn the_socket_gets_its_mode_and_its_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(&dir);
        let socket = UnixSocket::bind(&spec).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&spec.path), mode(spec.path.parent().unwrap())), (0o600, 0o700));
        drop(socket);
        assert!(!spec.path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let spec = UnixListenerSpec::new(dir.path().join("g.sock"));
        drop(BlockingListener::bind(&spec.path).unwrap());
        assert!(spec.path.exists());
        let live = UnixSocket::bind(&spec).unwrap();
        assert!(matches!(UnixSocket::bind(&spec).unwrap_err(), ServeError::InUse { .. }));
        assert!(spec.path.exists());
        drop(live);
    }

    #[tokio::test]
    async fn a_file_or_a_link_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let spec = UnixListenerSpec::new(dir.path().join("g.sock"));
        fs::write(&spec.path, "precious").unwrap();
        assert!(matches!(UnixSocket::bind(&spec).unwrap_err(), ServeError::NotASocket { .. }));
        assert_eq!(fs::read(&spec.path).unwrap(), b"precious");
        fs::remove_file(&spec.path).unwrap();
        std::os::unix::fs::symlink("elsewhere", &spec.path).unwrap();
        assert!(matches!(UnixSocket::bind(&spec).unwrap_err(), ServeError::NotASocket { .. }));
        assert!(spec.path.is_symlink());
    }

    #[tokio::test]
    async fn a_directory_that_others_can_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let spec = UnixListenerSpec::new(dir.path().join("g.sock"));
        assert!(matches!(UnixSocket::bind(&spec).unwrap_err(), ServeError::UnsafeDirectory { .. }));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        UnixSocket::bind(&spec).unwrap();
    }

    #[tokio::test]
    async fn a_path_longer_than_a_socket_address_works() {
        let dir = tempfile::tempdir().unwrap();
        let spec = UnixListenerSpec::new(dir.path().join("d".repeat(150)).join("g.sock"));
        let _socket = UnixSocket::bind(&spec).unwrap();
        assert!(spec.path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_somebody_replaced_is_not_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let spec = UnixListenerSpec::new(dir.path().join("g.sock"));
        let socket = UnixSocket::bind(&spec).unwrap();
        fs::remove_file(&spec.path).unwrap();
        fs::write(&spec.path, "other").unwrap();
        drop(socket);
        assert!(spec.path.exists());
    }
}
