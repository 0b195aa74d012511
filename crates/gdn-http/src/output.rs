//! One output of a process, and the process itself.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use gardener_core::Gardener;
use gdn_types::{AttachFrom, Error, ExitStatus, Handle, ProcessId, Result};
use std::os::fd::OwnedFd;

use crate::pipes::{Led, Reader};
use crate::socket::Socket;

/// One of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    Stdout,
    Stderr,
}

/// The process of a conversation.
pub(crate) struct Target {
    pub(crate) gardener: Arc<Gardener>,
    pub(crate) handle: Handle,
    pub(crate) id: ProcessId,
}

impl Target {
    /// How the process ends; asked at once: a container that is being destroyed takes no new questions, but answers those.
    pub(crate) fn exit(self: &Arc<Self>) -> BoxFuture<'static, Result<ExitStatus>> {
        let target = Arc::clone(self);
        let mut exit = async move { target.gardener.wait(&target.handle, &target.id).await }.boxed();
        match (&mut exit).now_or_never() {
            Some(told) => future::ready(told).boxed(),
            None => exit,
        }
    }

    /// One output, from this byte on, and the number of the first byte there is.
    async fn again(&self, which: Which, from: u64) -> Result<(OwnedFd, u64)> {
        let from = match which {
            Which::Stdout => AttachFrom { stdout: Some(from), stderr: None },
            Which::Stderr => AttachFrom { stdout: None, stderr: Some(from) },
        };
        let attachment = self.gardener.attach(&self.handle, &self.id, from).await?.attachment;
        match (which, attachment.stderr) {
            (Which::Stdout, _) => Ok((attachment.stdout, attachment.stdout_first)),
            (Which::Stderr, Some(stderr)) => Ok((stderr, attachment.stderr_first)),
            (Which::Stderr, None) => Err(Error::internal("standard error is not there any more")),
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Target").field(&self.handle).field(&self.id).finish()
    }
}

/// What a process writes to one of its outputs.
///
/// A client that reads too slowly for other clients of the process is cut off at its pipe; it attaches again here. There is
/// no place in the stream to tell it what it lost meanwhile, so the log is told.
#[derive(Debug)]
pub(crate) struct Output {
    target: Arc<Target>,
    which: Which,
    reader: Reader,
    /// The process's number of the next byte.
    next: u64,
}

/// What became of the next bytes of an output.
#[derive(Debug)]
pub(crate) enum Forwarded<'a> {
    /// They are in the socket.
    Led,
    /// The socket takes none now.
    Full,
    /// They were read; none at the end.
    Piece(Option<&'a [u8]>),
}

impl Output {
    pub(crate) fn new(target: &Arc<Target>, which: Which, source: OwnedFd, first: u64) -> Result<Self> {
        Ok(Output { target: Arc::clone(target), which, reader: Reader::new(source)?, next: first })
    }

    /// The process that it is an output of.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub(crate) fn which(&self) -> Which {
        self.which
    }

    /// The engine stops: what nobody reads any more stays where it is, for the client that comes back to the next engine.
    pub(crate) fn leave(&mut self) {
        if let Some(source) = self.reader.take_source() {
            self.target.gardener.keep_open(source);
        }
    }

    /// Leads what comes next to a socket, without a copy through here, or reads it where that does not pay or is not possible.
    /// A dropped future loses nothing.
    pub(crate) async fn forward(&mut self, socket: &Socket) -> Result<Forwarded<'_>> {
        if self.reader.flows()? {
            // However fast it comes, other tasks have their turn.
            tokio::task::consume_budget().await;
            match self.reader.lead(socket).await {
                Led::Bytes(number) => {
                    self.next += number as u64;
                    return Ok(Forwarded::Led);
                }
                Led::Full => return Ok(Forwarded::Full),
                Led::Not => {}
            }
        }
        self.next().await.map(Forwarded::Piece)
    }

    /// The next bytes, never empty; `None` at the end. A dropped future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            if self.reader.was_cut_off() {
                let (source, first) = self.target.again(self.which, self.next).await?;
                let lost = first.saturating_sub(self.next);
                if lost > 0 {
                    tracing::info!(process = ?self.target, output = ?self.which, lost, "a client read too slowly");
                }
                self.next += lost;
                self.reader = Reader::new(source)?;
            }
            let read = self.reader.next().await?.map(<[u8]>::len);
            match read {
                Some(length) => {
                    self.next += length as u64;
                    return Ok(Some(self.reader.last()));
                }
                None if self.reader.was_cut_off() => {}
                None => return Ok(None),
            }
        }
    }
}
