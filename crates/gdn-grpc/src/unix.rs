//! The gate's socket in the file system, open to chosen users only.

use std::io;

use futures::Stream;
use gdn_sockets::{OnDisk, SocketSpec, listen};
use tokio::net::{UnixListener, UnixStream};

use crate::config::{ServeError, UnixListenerSpec};

/// A socket that listens. Dropping it removes it from the file system.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    allowed_uids: Vec<u32>,
    on_disk: OnDisk,
}

impl UnixSocket {
    /// Makes the socket and begins to listen.
    pub(crate) fn bind(spec: &UnixListenerSpec) -> Result<Self, ServeError> {
        let UnixListenerSpec { path, mode, allowed_uids, reflection: _ } = spec;
        let directory_mode = if allowed_uids.is_empty() { 0o700 } else { 0o711 };
        let (listener, on_disk) = listen(&SocketSpec { path, mode: *mode, group: None, directory_mode })?;
        let listener = UnixListener::from_std(listener);
        let listener = listener.map_err(|source| ServeError::Watch { path: path.clone(), source })?;
        Ok(UnixSocket { listener, allowed_uids: allowed_uids.clone(), on_disk })
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
            tracing::warn!(uid = peer.uid(), pid = peer.pid(), path = %self.on_disk.path().display(), "client refused");
        }
    }
}
