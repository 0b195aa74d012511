//! The gate's socket in the file system.

use gdn_sockets::{OnDisk, SocketSpec, listen};
use tokio::net::UnixListener;

use crate::config::{OpenError, UnixListenerSpec};

/// The mode of the socket's directory: whoever the socket lets in must reach it.
const DIRECTORY_MODE: u32 = 0o711;

/// A socket that listens. Dropping it removes it from the file system.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub(crate) listener: UnixListener,
    _on_disk: OnDisk,
}

impl UnixSocket {
    /// Makes the socket and begins to listen.
    pub(crate) fn bind(spec: &UnixListenerSpec) -> Result<Self, OpenError> {
        let UnixListenerSpec { path, mode, group } = spec;
        let wanted = SocketSpec { path, mode: *mode, group: *group, directory_mode: DIRECTORY_MODE };
        let (listener, on_disk) = listen(&wanted)?;
        let listener = UnixListener::from_std(listener);
        let listener = listener.map_err(|source| OpenError::Watch { path: path.clone(), source })?;
        Ok(UnixSocket { listener, _on_disk: on_disk })
    }
}
