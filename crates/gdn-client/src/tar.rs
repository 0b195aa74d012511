//! Files in and out of containers.

use bytes::{Bytes, BytesMut};
use gdn_proto::garden::{self, StreamInRequest, stream_in_request};
use gdn_types::{Error, ErrorKind, Handle, Result, StreamInSpec, StreamOutSpec};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::Client;
use crate::calls::{answer, failed};

/// The most bytes of a tar in one message: 256 KiB, a sixteenth of the largest message, so that the cost of a message is
/// small beside that of its bytes.
const CHUNK: usize = 256 * 1024;

/// Chunks that wait for the connection.
const QUEUE: usize = 4;

/// A tar on its way out. It is complete only when [`next`](Self::next) has answered `Ok(None)`.
#[derive(Debug)]
pub struct TarStream {
    chunks: Streaming<garden::StreamOutResponse>,
}

impl Client {
    /// Extracts a tar into a directory of a container.
    ///
    /// When `source` fails, the call is cancelled, so that the server never takes half a tar for a whole one.
    ///
    /// # Errors
    /// What the server answers; `InvalidArgument` when `source` cannot be read.
    pub async fn stream_in(
        &self,
        handle: &Handle,
        spec: StreamInSpec,
        source: impl AsyncRead + Send,
    ) -> Result<()> {
        let start = garden::StreamInStart { handle: handle.to_string(), path: spec.path, user: spec.user };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut service = self.service.clone();
        let call = service.stream_in(ReceiverStream::new(receiver));
        // Held until the source has come to its good end: a stream that ends means a tar that ends.
        let end = sender.clone();
        let feed = feed(source, sender, start);
        tokio::pin!(call, feed);
        tokio::select! {
            answered = &mut call => answer(answered).map(|_| ()),
            fed = &mut feed => {
                fed?;
                drop(end);
                answer(call.await).map(|_| ())
            }
        }
    }

    /// Asks for a file or directory of a container as a tar.
    ///
    /// # Errors
    /// What the server answers; some errors come only with the first chunk.
    pub async fn stream_out(&self, handle: &Handle, spec: StreamOutSpec) -> Result<TarStream> {
        let request =
            garden::StreamOutRequest { handle: handle.to_string(), path: spec.path, user: spec.user };
        let chunks = answer(self.service.clone().stream_out(request).await)?;
        Ok(TarStream { chunks })
    }
}

impl TarStream {
    /// The next bytes; `None` when the tar is complete.
    ///
    /// # Errors
    /// What the server answers, also after bytes have come: the tar is useless then.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let message = self.chunks.message().await.map_err(|status| failed(&status))?;
        Ok(message.map(|message| message.chunk))
    }

    /// Writes the whole tar to `target` and flushes it.
    ///
    /// # Errors
    /// As [`TarStream::next`]; `FailedPrecondition` when `target` cannot be written.
    pub async fn copy_to(mut self, target: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        let cannot_write =
            |error| Error::caused(ErrorKind::FailedPrecondition, "write the tar to its target", error);
        while let Some(chunk) = self.next().await? {
            target.write_all(&chunk).await.map_err(cannot_write)?;
        }
        target.flush().await.map_err(cannot_write)
    }
}

/// Sends the beginning and then all of `source`. That the server went away is no error here: its answer tells why.
async fn feed(
    source: impl AsyncRead,
    sender: mpsc::Sender<StreamInRequest>,
    start: garden::StreamInStart,
) -> Result<()> {
    tokio::pin!(source);
    let mut message = stream_in_request::Message::Start(start);
    let mut buffer = BytesMut::new();
    while sender.send(StreamInRequest { message: Some(message) }).await.is_ok() {
        buffer.reserve(CHUNK);
        let mut bounded = (&mut source).take(CHUNK as u64);
        let read = bounded.read_buf(&mut buffer).await;
        match read.map_err(|error| Error::caused(ErrorKind::InvalidArgument, "read the tar", error))? {
            0 => break,
            _ => message = stream_in_request::Message::Chunk(buffer.split().freeze()),
        }
    }
    Ok(())
}
