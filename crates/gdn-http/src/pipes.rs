//! The engine's ends of pipes: what a process says, and what it is told.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use gdn_traits::Attachment;
use gdn_types::{Error, ErrorKind, Result};
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;

use crate::socket::Socket;

/// The most that is read at once. More gains nothing.
const MAX_CHUNK: usize = 256 * 1024;

/// The buffer a reader begins with: most processes write little.
const FIRST_CHUNK: usize = 4 * 1024;

/// Size of a pipe through which much goes: the most that an unprivileged process may ask for.
const LARGE_PIPE: usize = 1024 * 1024;

/// Reads a pipe, piece by piece, into one buffer.
#[derive(Debug)]
pub(crate) struct Reader {
    source: Source,
    buffer: Vec<u8>,
    /// Whether so much comes that a large buffer is worth it.
    flows: bool,
}

/// A read end.
#[derive(Debug)]
enum Source {
    /// Not known to the reactor, which costs system calls: what is there, and often the end, is read without it.
    Early(OwnedFd),
    Watched(pipe::Receiver),
    Ended {
        cut_off: bool,
    },
}

/// What became of the bytes in a pipe that were to be led to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Led {
    /// So many of them are in the socket.
    Bytes(usize),
    /// The socket takes none now.
    Full,
    /// They are to be read: it is the end, or no pipe.
    Not,
}

impl Reader {
    /// Takes over the read end.
    pub(crate) fn new(source: OwnedFd) -> Result<Self> {
        set_nonblocking(&source)?;
        Ok(Reader { source: Source::Early(source), buffer: Vec::new(), flows: false })
    }

    /// The next bytes, never empty; `None` at the end of file, then and later. A dropped future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<&[u8]>> {
        self.notice_flow()?;
        self.buffer.clear();
        loop {
            if let Source::Watched(pipe) = &self.source {
                pipe.readable().await.map_err(|error| caused("watch a pipe", error))?;
            }
            self.buffer.reserve(if self.flows { MAX_CHUNK } else { FIRST_CHUNK });
            let read = match &self.source {
                Source::Ended { .. } => return Ok(None),
                Source::Early(pipe) => {
                    rustix::io::read(pipe, spare_capacity(&mut self.buffer)).map_err(io::Error::from)
                }
                Source::Watched(pipe) => pipe.try_read_buf(&mut self.buffer),
            };
            match read {
                Ok(0) => return self.end().map(|()| None),
                Ok(_) => return Ok(Some(&self.buffer)),
                Err(error) if is_end_of_terminal(&error) => return self.end().map(|()| None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.watch()?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(caused("read a pipe", error)),
            }
        }
    }

    /// What filled the buffer once will do so again.
    fn notice_flow(&mut self) -> Result<()> {
        if !self.flows && !self.buffer.is_empty() && self.buffer.len() == self.buffer.capacity() {
            self.flows = true;
            // One that is never found empty would not be led past here otherwise.
            self.watch()?;
            if let Source::Watched(pipe) = &self.source {
                enlarge(pipe);
            }
        }
        Ok(())
    }

    /// Whether so much comes that it is worth being led past here.
    pub(crate) fn flows(&mut self) -> Result<bool> {
        self.notice_flow()?;
        Ok(self.flows && matches!(self.source, Source::Watched(_)))
    }

    /// Leads what is in the pipe, or comes, to a socket, without a copy through here. Whatever is the matter with either is
    /// found by reading and writing. A dropped future loses nothing.
    pub(crate) async fn lead(&mut self, socket: &Socket) -> Led {
        // It may not be needed any more.
        self.buffer = Vec::new();
        let Source::Watched(pipe) = &self.source else { return Led::Not };
        loop {
            if pipe.readable().await.is_err() {
                return Led::Not;
            }
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            let through_pipe = || {
                // Both say so: a pipe that has nothing, and a socket that takes nothing. Nobody else reads the pipe, so what
                // was there before is there still; what comes only now is an event of its own.
                let there = ioctl_fionread(pipe)?;
                match splice(pipe, None, socket, None, LARGE_PIPE, flags) {
                    Ok(number) => Ok(Some(number)),
                    Err(Errno::AGAIN) if there == 0 => Ok(None),
                    Err(errno) => Err(errno.into()),
                }
            };
            let led = pipe.try_io(|| match socket.write_by(through_pipe) {
                Ok(Some(number @ 1..)) => Ok(Led::Bytes(number)),
                Ok(Some(0)) => Ok(Led::Not),
                Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Led::Full),
                Err(error) => Err(error),
            });
            match led {
                Ok(led) => return led,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Led::Not,
            }
        }
    }

    /// The read end, with what is in the pipe.
    pub(crate) fn take_source(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.source, Source::Ended { cut_off: false }) {
            Source::Early(pipe) => Some(pipe),
            Source::Watched(pipe) => pipe.into_nonblocking_fd().ok(),
            Source::Ended { .. } => None,
        }
    }

    /// What the last read brought.
    pub(crate) fn last(&self) -> &[u8] {
        &self.buffer
    }

    /// Whether the end was none of the output, but of the patience with this reader ([`Attachment::CUT_OFF`]).
    pub(crate) fn was_cut_off(&self) -> bool {
        matches!(self.source, Source::Ended { cut_off: true })
    }

    fn end(&mut self) -> Result<()> {
        let about = match &self.source {
            Source::Early(pipe) => rustix::fs::fstat(pipe),
            Source::Watched(pipe) => rustix::fs::fstat(pipe),
            Source::Ended { .. } => return Ok(()),
        };
        let about = about.map_err(|error| caused("look at a pipe", error.into()))?;
        self.source = Source::Ended { cut_off: about.st_mode & 0o7777 == Attachment::CUT_OFF };
        Ok(())
    }

    fn watch(&mut self) -> Result<()> {
        // A process that says nothing costs no memory.
        self.buffer = Vec::new();
        let early = matches!(self.source, Source::Early(_));
        if early
            && let Source::Early(pipe) = std::mem::replace(&mut self.source, Source::Ended { cut_off: false })
        {
            let watched = pipe::Receiver::from_owned_fd_unchecked(pipe);
            self.source = Source::Watched(watched.map_err(|error| caused("watch a pipe", error))?);
        }
        Ok(())
    }
}

/// Writes into a pipe.
pub(crate) struct Writer {
    target: Target,
}

/// A write end. The reactor learns of it with the first bytes: most processes get no input.
enum Target {
    Unused(OwnedFd),
    Watched(pipe::Sender),
    Closed,
}

/// Whether somebody still reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All of it is in the pipe.
    Wholly,
    /// Nobody reads any more.
    Unread,
}

impl Writer {
    /// Takes over the write end.
    pub(crate) fn new(target: OwnedFd) -> Self {
        Writer { target: Target::Unused(target) }
    }

    /// Writes all of the bytes, waiting while the pipe is full.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<Written> {
        if matches!(self.target, Target::Unused(_)) {
            self.watch()?;
        }
        let Target::Watched(pipe) = &mut self.target else { return Ok(Written::Unread) };
        match pipe.write_all(bytes).await {
            Ok(()) => Ok(Written::Wholly),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Written::Unread),
            Err(error) if is_end_of_terminal(&error) => Ok(Written::Unread),
            Err(error) => Err(caused("write into a pipe", error)),
        }
    }

    fn watch(&mut self) -> Result<()> {
        if let Target::Unused(pipe) = std::mem::replace(&mut self.target, Target::Closed) {
            set_nonblocking(&pipe)?;
            let watched = pipe::Sender::from_owned_fd_unchecked(pipe);
            self.target = Target::Watched(watched.map_err(|error| caused("watch a pipe", error))?);
        }
        Ok(())
    }
}

/// A large pipe: a blocking read end for a component, and our writer.
pub(crate) fn pipe_to_component() -> Result<(OwnedFd, Writer)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| caused("make a pipe", error.into()))?;
    enlarge(&write);
    Ok((read, Writer::new(write)))
}

/// Makes a pipe large. Only a matter of speed: where the kernel does not permit it, or there is no pipe, it stays as it is.
fn enlarge(pipe: impl AsFd) {
    if let Err(error) = fcntl_setpipe_size(pipe, LARGE_PIPE) {
        tracing::trace!(%error, "pipe keeps its size");
    }
}

/// A terminal whose last other end was closed says so.
fn is_end_of_terminal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

fn set_nonblocking(fd: &OwnedFd) -> Result<()> {
    let set = |fd| {
        let flags = rustix::fs::fcntl_getfl(fd)?;
        // Our ends often are so already.
        if flags.contains(OFlags::NONBLOCK) {
            Ok(())
        } else {
            rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
        }
    };
    set(fd).map_err(|error: Errno| caused("make a pipe non-blocking", error.into()))
}

fn caused(what: &str, error: io::Error) -> Error {
    Error::caused(ErrorKind::Internal, what, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_through_in_order_and_then_the_end() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let copy = sent.clone();
        let writer = std::thread::spawn(move || std::fs::File::from(write).write_all(&copy).unwrap());
        let mut got = Vec::new();
        let mut reader = Reader::new(read).unwrap();
        while let Some(piece) = reader.next().await.unwrap() {
            assert!(!piece.is_empty() && piece.len() <= MAX_CHUNK);
            got.extend_from_slice(piece);
        }
        writer.join().unwrap();
        assert!(got == sent);
        assert!(!reader.was_cut_off());
        assert!(reader.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_led_to_a_socket_is_what_was_written_however_slowly_it_is_read() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let copy = sent.clone();
        let writer = std::thread::spawn(move || std::fs::File::from(write).write_all(&copy).unwrap());
        let (theirs, mut socket) = crate::socket::pair();
        let mut theirs = theirs.into_std().unwrap();
        theirs.set_nonblocking(false).unwrap();
        let client = std::thread::spawn(move || {
            let mut got = Vec::new();
            io::Read::read_to_end(&mut theirs, &mut got).unwrap();
            got
        });
        let mut reader = Reader::new(read).unwrap();
        let (mut led, mut full) = (0, 0);
        loop {
            match reader.lead(&socket).await {
                Led::Bytes(number) => led += number,
                Led::Full => {
                    full += 1;
                    socket.writable().await.unwrap();
                }
                Led::Not => match reader.next().await.unwrap() {
                    Some(piece) => socket.write_all(piece).await.unwrap(),
                    None => break,
                },
            }
        }
        drop(socket);
        writer.join().unwrap();
        assert!(client.join().unwrap() == sent);
        assert!(led > 0, "{led} bytes were led, {full} times the socket was full");
    }

    #[tokio::test]
    async fn a_writer_tells_that_nobody_reads() {
        let (read, mut writer) = pipe_to_component().unwrap();
        assert_eq!(writer.write(b"a").await.unwrap(), Written::Wholly);
        drop(read);
        assert_eq!(writer.write(b"b").await.unwrap(), Written::Unread);
    }
}
