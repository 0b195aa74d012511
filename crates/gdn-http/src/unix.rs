//! The gate's socket in the file system, and connections over it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use gdn_sockets::{OnDisk, SocketSpec, listen};
use rustix::net::{Shutdown, SocketFlags, accept_with};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

use crate::config::{OpenError, UnixListenerSpec};

/// The mode of the socket's directory: whoever the socket lets in must reach it.
const DIRECTORY_MODE: u32 = 0o711;

/// Between two looks for room while there is no descriptor to watch it by.
const STARVED: Duration = Duration::from_millis(10);

/// A socket that listens. Dropping it removes it from the file system.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub(crate) listener: Listener,
    _on_disk: OnDisk,
}

impl UnixSocket {
    /// Makes the socket and begins to listen.
    pub(crate) fn bind(spec: &UnixListenerSpec) -> Result<Self, OpenError> {
        let UnixListenerSpec { path, mode, group } = spec;
        let wanted = SocketSpec { path, mode: *mode, group: *group, directory_mode: DIRECTORY_MODE };
        let (listener, on_disk) = listen(&wanted)?;
        let listener = Listener::new(listener.into())
            .map_err(|source| OpenError::Watch { path: path.clone(), source })?;
        Ok(UnixSocket { listener, _on_disk: on_disk })
    }
}

/// Takes connections that the reactor does not know yet: one of tokio's is registered with it for room to write as well.
#[derive(Debug)]
pub(crate) struct Listener {
    /// To the reactor it is like a pipe that is read.
    socket: pipe::Receiver,
}

impl Listener {
    /// Takes over a socket that listens and does not block.
    pub(crate) fn new(listener: OwnedFd) -> io::Result<Self> {
        Ok(Listener { socket: pipe::Receiver::from_owned_fd_unchecked(listener)? })
    }

    /// The next connection. A dropped future loses none.
    pub(crate) async fn accept(&self) -> io::Result<UnixConnection> {
        // However fast they come, other tasks have their turn.
        tokio::task::consume_budget().await;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            self.socket.readable().await?;
            match self.socket.try_io(|| Ok(accept_with(&self.socket, flags)?)) {
                Ok(connection) => return UnixConnection::new(connection),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A connection over such a socket.
///
/// The reactor watches it for what comes, and for room to write only once there was none: whoever reads from a unix socket
/// wakes everyone who watches the other end for room, at each read, and pays for that.
#[derive(Debug)]
pub(crate) struct UnixConnection {
    /// To the reactor it is like a pipe that is read.
    incoming: pipe::Receiver,
    /// The same connection, as one that is written.
    room: OnceLock<pipe::Sender>,
    /// There was no descriptor for that: it is looked after now and then.
    starved: AtomicBool,
}

impl UnixConnection {
    /// Takes over a connected socket that does not block.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let incoming = pipe::Receiver::from_owned_fd_unchecked(socket)?;
        Ok(UnixConnection { incoming, room: OnceLock::new(), starved: AtomicBool::new(false) })
    }

    /// Waits until there may be something to read, or nothing any more.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.incoming.readable().await
    }

    pub(crate) fn try_read_buf(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.incoming.try_read_buf(buffer)
    }

    /// Waits until something may be written, or nothing any more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self.room.get() {
            Some(room) => room.writable().await,
            None => {
                if self.starved.load(Ordering::Relaxed) {
                    tokio::time::sleep(STARVED).await;
                }
                Ok(())
            }
        }
    }

    /// Writes by a system call that does not wait; its `WouldBlock` says that there is no room.
    pub(crate) fn write_by<T>(&self, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if let Some(room) = self.room.get() {
            return room.try_io(write);
        }
        let written = write();
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            let watched = self.watch_room();
            if let Err(error) = &watched
                && !self.starved.load(Ordering::Relaxed)
            {
                tracing::warn!(%error, "a client that reads slowly is looked after by the clock");
            }
            self.starved.store(watched.is_err(), Ordering::Relaxed);
        }
        written
    }

    fn watch_room(&self) -> io::Result<()> {
        let copy = self.incoming.as_fd().try_clone_to_owned()?;
        // Whoever was faster has made the same.
        let _ = self.room.set(pipe::Sender::from_owned_fd_unchecked(copy)?);
        Ok(())
    }

    /// Writes at once if there is room, otherwise by the reactor.
    fn poll_write_by(
        &mut self,
        context: &mut Context<'_>,
        at_once: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<usize>,
        later: impl FnOnce(Pin<&mut pipe::Sender>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(room) = self.room.get_mut() {
            return later(Pin::new(room), context);
        }
        match self.write_by(|| Ok(at_once(self.as_fd())?)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
        match self.room.get_mut() {
            Some(room) => later(Pin::new(room), context),
            None => {
                let waker = context.waker().clone();
                tokio::spawn(async move {
                    tokio::time::sleep(STARVED).await;
                    waker.wake();
                });
                Poll::Pending
            }
        }
    }
}

impl AsFd for UnixConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.incoming.as_fd()
    }
}

impl AsyncRead for UnixConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().incoming).poll_read(context, buffer)
    }
}

impl AsyncWrite for UnixConnection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_by(
            context,
            |socket| rustix::io::write(socket, bytes),
            |room, context| room.poll_write(context, bytes),
        )
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_by(
            context,
            |socket| rustix::io::writev(socket, pieces),
            |room, context| room.poll_write_vectored(context, pieces),
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(self.as_fd(), Shutdown::Write).map_err(io::Error::from))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::socket::{Socket, pair};

    /// Many times as much as a socket holds.
    const MUCH: usize = 8 << 20;

    async fn read_all(mut client: UnixStream) -> usize {
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert!(
            read.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8),
            "something is out of place"
        );
        read.len()
    }

    #[tokio::test]
    async fn every_connection_is_taken_whether_many_come_at_once_or_one_after_a_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = Listener::new(listener.into()).unwrap();
        for _ in 0..3 {
            let mut burst = Vec::new();
            for _ in 0..20 {
                let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
                io::Write::write_all(&mut client, b"x").unwrap();
                burst.push(client);
            }
            for _ in &burst {
                let mut connection = Socket::Unix(listener.accept().await.unwrap());
                connection.read_exact(&mut [0]).await.unwrap();
            }
            // A wait that is given up takes none with it.
            let given_up = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
            assert!(given_up.is_err(), "nobody has come");
            let (accepted, client) = tokio::join!(listener.accept(), async {
                tokio::task::yield_now().await;
                UnixStream::connect(&path).await
            });
            drop((accepted.unwrap(), client.unwrap()));
        }
    }

    #[tokio::test]
    async fn what_there_is_no_room_for_waits_and_arrives_in_whatever_way_it_is_written() {
        let bytes: Vec<u8> = (0..MUCH).map(|at| (at % 251) as u8).collect();
        for beside in [false, true] {
            let (client, mut socket) = pair();
            let reader = tokio::spawn(read_all(client));
            if beside {
                socket.write_beside(&bytes).await.unwrap();
            } else {
                let (one, two) = bytes.split_at(MUCH / 3);
                socket.write_all(one).await.unwrap();
                socket.write_all_buf(&mut bytes::Buf::chain(&two[..9], &two[9..])).await.unwrap();
            }
            socket.shutdown().await.unwrap();
            assert_eq!(reader.await.unwrap(), MUCH);
        }
    }

    #[tokio::test]
    async fn who_has_gone_is_an_error_also_while_there_is_no_room() {
        let (client, mut socket) = pair();
        let bytes = vec![0; MUCH];
        let (written, ()) = tokio::join!(socket.write_all(&bytes), async {
            tokio::task::yield_now().await;
            drop(client);
        });
        let kind = written.unwrap_err().kind();
        assert!(matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{kind:?}");
    }

    #[tokio::test]
    async fn what_was_written_before_a_close_at_once_is_read_and_then_the_end() {
        let (mut client, mut socket) = pair();
        client.write_all(b"more").await.unwrap();
        assert!(!socket.can_go(), "a close with unread bytes is a reset");
        socket.read_exact(&mut [0; 4]).await.unwrap();
        socket.write_all(b"last").await.unwrap();
        assert!(socket.can_go());
        drop(socket);
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"last");
    }

    #[tokio::test]
    async fn without_a_descriptor_room_is_waited_for_by_the_clock() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let (client, mut socket) = pair();
        let held = getrlimit(Resource::Nofile);
        // No new descriptor from here on; those that are there stay.
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..held }).unwrap();
        let bytes: Vec<u8> = (0..MUCH).map(|at| (at % 251) as u8).collect();
        let reader = tokio::spawn(read_all(client));
        let written = socket.write_all(&bytes[..MUCH / 2]).await;
        let beside = socket.write_beside(&bytes[MUCH / 2..]).await;
        let starved = matches!(&socket, Socket::Unix(unix) if unix.room.get().is_none());
        setrlimit(Resource::Nofile, held).unwrap();
        written.unwrap();
        beside.unwrap();
        assert!(starved, "there was a descriptor after all");
        socket.shutdown().await.unwrap();
        assert_eq!(reader.await.unwrap(), MUCH);
    }
}
