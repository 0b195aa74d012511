//! The data path: bytes between pipes and messages, with back-pressure and without copies of our own.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use bytes::{BufMut, Bytes, BytesMut};
use gdn_traits::Attachment;
use gdn_types::{Error, ErrorKind, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

/// The most bytes of one chunk. Larger ones cost memory per stream and gain nothing (measured up to 1 MiB).
pub(crate) const MAX_CHUNK: usize = 256 * 1024;

/// The buffer a stream begins with: most processes write little.
const FIRST_CHUNK: usize = 16 * 1024;

/// Size of a pipe through which much goes: the most that an unprivileged process may ask for.
const LARGE_PIPE: usize = 1024 * 1024;

/// Chunks on their way to the client: one being sent, one ready, one being read. More only delays back-pressure.
pub(crate) const CHUNKS_IN_FLIGHT: usize = 3;

/// What is read before a pipe is worth watching: the whole output of most processes.
const EARLY_CHUNK: usize = 4 * 1024;

/// Reads a pipe chunk by chunk, in a buffer that is used again once its chunks were sent.
pub(crate) struct Reader {
    source: Source,
    buffer: BytesMut,
    chunk: usize,
    cut_off: bool,
}

/// A read end.
enum Source {
    /// Not known to the reactor, which costs three system calls: what is there, and often the end, is read without it.
    Early(OwnedFd),
    Watched(pipe::Receiver),
    Ended,
}

/// What a read end had to say at once.
enum Early {
    Chunk(Bytes),
    End,
    /// It has to be waited for.
    Nothing,
}

impl Reader {
    /// Takes over the read end.
    pub(crate) fn new(source: OwnedFd) -> Result<Self> {
        set_nonblocking(&source)?;
        Ok(Reader {
            source: Source::Early(source),
            buffer: BytesMut::new(),
            chunk: FIRST_CHUNK,
            cut_off: false,
        })
    }

    /// The next bytes, never empty; `None` at the end of file, then and later. A dropped future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Source::Early(pipe) = &self.source {
            match read_early(pipe)? {
                Early::Chunk(chunk) => {
                    // There will be more: in larger chunks, please.
                    if chunk.len() == EARLY_CHUNK {
                        self.watch()?;
                    }
                    return Ok(Some(chunk));
                }
                Early::End => {
                    self.cut_off = is_cut_off(pipe)?;
                    self.source = Source::Ended;
                }
                Early::Nothing => self.watch()?,
            }
        }
        let Source::Watched(pipe) = &mut self.source else { return Ok(None) };
        // What an earlier, shorter read left of the buffer is used up first.
        if self.buffer.spare_capacity_mut().len() < self.chunk / 4 {
            self.buffer.reserve(self.chunk);
        }
        let read = match pipe.read_buf(&mut (&mut self.buffer).limit(self.chunk)).await {
            Ok(read) => read,
            Err(error) if is_end_of_terminal(&error) => 0,
            Err(error) => return Err(caused("read a pipe", error)),
        };
        if read >= self.chunk / 2 && self.chunk < MAX_CHUNK {
            self.chunk = MAX_CHUNK;
            enlarge(pipe.as_fd());
        }
        if read == 0 {
            self.cut_off = is_cut_off(&*pipe)?;
            self.source = Source::Ended;
        }
        Ok((read > 0).then(|| self.buffer.split().freeze()))
    }

    /// Whether the end was none of the output, but of the patience with this reader ([`Attachment::CUT_OFF`]).
    pub(crate) fn was_cut_off(&self) -> bool {
        self.cut_off
    }

    /// The read end, with what is in the pipe.
    pub(crate) fn take_source(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Early(pipe) => Some(pipe),
            Source::Watched(pipe) => pipe.into_nonblocking_fd().ok(),
            Source::Ended => None,
        }
    }

    fn watch(&mut self) -> Result<()> {
        if let Source::Early(pipe) = std::mem::replace(&mut self.source, Source::Ended) {
            let pipe = pipe::Receiver::from_owned_fd_unchecked(pipe)
                .map_err(|error| caused("watch a pipe", error))?;
            self.source = Source::Watched(pipe);
        }
        Ok(())
    }

    /// Hands every chunk to `send` until the end of file; `false` when `send` wants no more.
    pub(crate) async fn pump<F: Future<Output = bool>>(
        mut self,
        mut send: impl FnMut(Bytes) -> F,
    ) -> Result<bool> {
        while let Some(chunk) = self.next().await? {
            if !send(chunk).await {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn read_early(pipe: &OwnedFd) -> Result<Early> {
    let mut chunk = [0; EARLY_CHUNK];
    loop {
        match rustix::io::read(pipe, &mut chunk) {
            Ok(0) => return Ok(Early::End),
            Ok(read) => return Ok(Early::Chunk(Bytes::copy_from_slice(&chunk[..read]))),
            Err(Errno::AGAIN) => return Ok(Early::Nothing),
            Err(Errno::INTR) => {}
            Err(Errno::IO) => return Ok(Early::End),
            Err(error) => return Err(caused("read a pipe", error.into())),
        }
    }
}

fn is_cut_off(pipe: impl AsFd) -> Result<bool> {
    match rustix::fs::fstat(pipe) {
        Ok(about) => Ok(about.st_mode & 0o7777 == Attachment::CUT_OFF),
        Err(error) => Err(caused("look at a pipe", error.into())),
    }
}

/// A terminal whose last other end was closed says so.
fn is_end_of_terminal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// Writes chunks into a pipe.
pub(crate) struct Writer {
    target: Target,
}

/// A write end. The reactor learns of it with the first chunk: most processes get no input.
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

    /// Writes all of the chunk, waiting while the pipe is full.
    pub(crate) async fn write(&mut self, chunk: &[u8]) -> Result<Written> {
        if matches!(self.target, Target::Unused(_)) {
            self.watch()?;
        }
        let Target::Watched(pipe) = &mut self.target else { return Ok(Written::Unread) };
        match pipe.write_all(chunk).await {
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
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn every_byte_comes_through_in_order_and_then_the_end() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let copy = sent.clone();
        let writer = std::thread::spawn(move || std::fs::File::from(write).write_all(&copy).unwrap());
        let mut got = Vec::new();
        let mut reader = Reader::new(read).unwrap();
        while let Some(chunk) = reader.next().await.unwrap() {
            assert!(!chunk.is_empty() && chunk.len() <= MAX_CHUNK);
            got.extend_from_slice(&chunk);
        }
        writer.join().unwrap();
        assert!(got == sent);
    }

    #[tokio::test]
    async fn a_writer_tells_that_nobody_reads() {
        let (read, mut writer) = pipe_to_component().unwrap();
        assert_eq!(writer.write(b"a").await.unwrap(), Written::Wholly);
        drop(read);
        assert_eq!(writer.write(b"b").await.unwrap(), Written::Unread);
    }
}
