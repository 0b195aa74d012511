//! The gate's socket in the file system, open to chosen users only.

use std::io;
use std::time::Duration;

use futures::Stream;
use gdn_sockets::{OnDisk, SocketSpec, listen};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use tokio::net::{UnixListener, UnixStream};

use crate::clients::{Clients, Counted};
use crate::config::{ServeError, UnixListenerSpec};

/// How long nobody is let in after somebody could not be.
const NO_DESCRIPTORS: Duration = Duration::from_millis(10);

/// A socket that listens. Dropping it removes it from the file system.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    listener: UnixListener,
    allowed_uids: Vec<u32>,
    /// Its name; gone once nobody else is let in.
    on_disk: Option<OnDisk>,
    clients: Clients,
}

impl UnixSocket {
    /// Makes the socket and begins to listen.
    pub(crate) fn bind(spec: &UnixListenerSpec) -> Result<Self, ServeError> {
        let UnixListenerSpec { path, mode, allowed_uids, reflection: _ } = spec;
        let directory_mode = if allowed_uids.is_empty() { 0o700 } else { 0o711 };
        let (listener, on_disk) = listen(&SocketSpec { path, mode: *mode, group: None, directory_mode })?;
        let listener = UnixListener::from_std(listener);
        let listener = listener.map_err(|source| ServeError::Watch { path: path.clone(), source })?;
        let (allowed_uids, clients) = (allowed_uids.clone(), Clients::new());
        Ok(UnixSocket { listener, allowed_uids, on_disk: Some(on_disk), clients })
    }

    /// Who is connected.
    pub(crate) fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The connections of users who may call, for as long as the stream lives.
    pub(crate) fn connections(self) -> impl Stream<Item = io::Result<Counted>> {
        futures::stream::unfold(self, |mut socket| async {
            let connection = socket.next().await;
            Some((connection, socket))
        })
    }

    async fn next(&mut self) -> io::Result<Counted> {
        loop {
            let connection = self.accept().await?;
            let peer = connection.peer_cred()?;
            if peer.uid() == 0 || self.allowed_uids.contains(&peer.uid()) {
                return Ok(self.clients.count(connection));
            }
            let socket = self.on_disk.as_ref().map(OnDisk::path);
            tracing::warn!(uid = peer.uid(), pid = peer.pid(), ?socket, "client refused");
        }
    }

    /// Lets the next one in, until the last one has gone who was to be waited for.
    async fn accept(&mut self) -> io::Result<UnixStream> {
        let accepted = tokio::select! {
            biased;
            accepted = self.listener.accept() => accepted.map(|(stream, _)| stream),
            () = self.clients.leaving() => match self.waiting() {
                Ok(Some(stream)) => Ok(stream),
                Ok(None) => return self.close().await,
                Err(error) => Err(error),
            },
        };
        if accepted.is_err() {
            // For want of descriptors, most of the time: it would be so again at once.
            tokio::time::sleep(NO_DESCRIPTORS).await;
        }
        accepted
    }

    /// One who has connected. The kernel is asked: the runtime may not have heard yet.
    fn waiting(&self) -> io::Result<Option<UnixStream>> {
        match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(waited) => UnixStream::from_std(waited.into()).map(Some),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Lets nobody in any more: from here on nobody finds the socket. Whoever connected in this moment is sent away, finds no
    /// socket when it tries again, and may be the next engine.
    async fn close(&mut self) -> io::Result<UnixStream> {
        drop(self.on_disk.take());
        while let Ok(Some(late)) = self.waiting() {
            drop(late);
        }
        self.clients.closed();
        std::future::pending().await
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Nobody is let in any more, whatever the reason.
        self.clients.closed();
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tokio::time::timeout;

    use super::*;

    /// Long enough for what can happen to happen, where nothing is to.
    const MOMENT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn the_last_client_is_waited_for_also_one_that_came_while_others_went() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("grpc.sock");
        let socket = UnixSocket::bind(&UnixListenerSpec::new(&path)).unwrap();
        let clients = socket.clients().clone();
        let mut connections = Box::pin(socket.connections());
        let first = UnixStream::connect(&path).await.unwrap();
        let served = connections.next().await.unwrap().unwrap();
        let mut waiting = tokio::spawn({
            let clients = clients.clone();
            async move { clients.last_gone().await }
        });
        assert!(timeout(MOMENT, &mut waiting).await.is_err(), "a client is connected");

        // It has connected, and nobody has let it in yet when the first one goes.
        let second = UnixStream::connect(&path).await.unwrap();
        drop((first, served));
        let late = connections.next().await.unwrap().unwrap();
        // Now it is there like any other, and others come beside it.
        let third = UnixStream::connect(&path).await.unwrap();
        let beside = connections.next().await.unwrap().unwrap();
        drop((third, beside));
        let mut rest = connections.next();
        assert!(timeout(MOMENT, &mut rest).await.is_err(), "nobody else comes");
        assert!(timeout(MOMENT, &mut waiting).await.is_err(), "the second client is connected");
        drop((second, late));
        assert!(timeout(MOMENT, &mut rest).await.is_err(), "nobody else is let in");
        UnixStream::connect(&path).await.unwrap_err();
        waiting.await.unwrap();
    }
}
