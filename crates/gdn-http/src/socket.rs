//! A connection of either kind: over a socket in the file system, or over TCP.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::unix::UnixConnection;

/// A TCP connection on which nothing was heard for this long is asked whether it lives, and asked again every so often.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// It is given up after this many questions without an answer.
const KEEPALIVE_PROBES: u32 = 3;

/// How long the other side may take to close after us.
const FAREWELL: Duration = Duration::from_secs(2);

/// Between two looks whether a client that is not listened to is still there.
const LOOK: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixConnection),
    Tcp(TcpStream),
}

impl Socket {
    /// A TCP connection whose other end is asked now and then whether it lives.
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE)?;
        sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES)?;
        Ok(Socket::Tcp(stream))
    }

    /// Reads while somebody else may write, at least so much at once if it is there. A dropped future loses nothing, and a
    /// client that says nothing costs no memory.
    pub(crate) async fn read_beside(&self, buffer: &mut BytesMut, room: usize) -> io::Result<usize> {
        // However fast it comes, other tasks have their turn.
        tokio::task::consume_budget().await;
        loop {
            match self {
                Socket::Unix(stream) => stream.readable().await?,
                Socket::Tcp(stream) => stream.readable().await?,
            }
            buffer.reserve(room);
            let read = match self {
                Socket::Unix(stream) => stream.try_read_buf(buffer),
                Socket::Tcp(stream) => stream.try_read_buf(buffer),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Many connections are kept for words that never come.
                    if buffer.is_empty() {
                        *buffer = BytesMut::new();
                    }
                }
                read => return read,
            }
        }
    }

    /// Writes all of the bytes while somebody else may read.
    pub(crate) async fn write_beside(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = match self {
                Socket::Unix(stream) => {
                    stream.writable().await?;
                    stream.write_by(|| Ok(rustix::io::write(stream, bytes)?))
                }
                Socket::Tcp(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(number) => bytes = &bytes[number..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes by a system call that does not wait; its `WouldBlock` says that there is no room.
    pub(crate) fn write_by<T>(&self, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Socket::Unix(stream) => stream.write_by(write),
            Socket::Tcp(stream) => stream.try_io(Interest::WRITABLE, write),
        }
    }

    /// Waits until something can be written, or nothing any more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Socket::Unix(stream) => stream.writable().await,
            Socket::Tcp(stream) => stream.writable().await,
        }
    }

    /// Writes what can be written at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) {
        // The kernel is asked: the runtime does not know yet that a socket that was just accepted takes bytes. Whoever does not
        // read it, or has gone, is told nothing.
        let _ = rustix::net::send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Whether it can be closed at once, and the client reads all that was written to it, and an end of file: over a unix
    /// socket on which nothing was said that was not read. Over TCP a close forgets what is still under way.
    pub(crate) fn can_go(&self) -> bool {
        let Socket::Unix(stream) = self else { return false };
        let mut said = [0];
        let unread = rustix::net::recv(stream, &mut said, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(unread, Err(Errno::AGAIN) | Ok((_, 0)))
    }

    /// Waits until the client has gone, without reading what it sent before.
    pub(crate) async fn left(&self) {
        loop {
            let mut looked = [PollFd::new(self, PollFlags::RDHUP)];
            // Nothing is waited for, so nothing interrupts it.
            let gone = rustix::event::poll(&mut looked, Some(&Timespec::default()));
            if gone != Ok(0) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Unix(stream) => stream.as_fd(),
            Socket::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// A client's end of a connection, and ours.
#[cfg(test)]
pub(crate) fn pair() -> (tokio::net::UnixStream, Socket) {
    let (client, ours) = std::os::unix::net::UnixStream::pair().unwrap();
    client.set_nonblocking(true).unwrap();
    ours.set_nonblocking(true).unwrap();
    let client = tokio::net::UnixStream::from_std(client).unwrap();
    (client, Socket::Unix(UnixConnection::new(ours.into()).unwrap()))
}

/// Ends a connection so that the other side reads an end of file and no reset: a close with unread bytes would be one.
pub(crate) async fn close(mut socket: Socket) {
    if socket.shutdown().await.is_ok() {
        part(socket).await;
    }
}

/// Waits a while for the other side to close a connection on which nothing more is written.
pub(crate) async fn part(mut socket: Socket) {
    // A client that goes on sending is not waited for any longer.
    let _ = tokio::time::timeout(FAREWELL, drain(&mut socket)).await;
}

/// Reads to the end of file, or until the connection fails.
async fn drain(socket: &mut Socket) {
    let mut ignored = [0; 8 * 1024];
    while !matches!(socket.read(&mut ignored).await, Ok(0) | Err(_)) {}
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Socket::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Socket::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_flush(context),
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
