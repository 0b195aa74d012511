//! StreamIn and StreamOut: tars between messages and the components' pipes.

use std::sync::Arc;

use gardener_core::Gardener;
use gdn_proto::garden::{self, stream_in_request};
use gdn_proto::status;
use gdn_traits::StreamOut;
use gdn_types::{Error, Handle, Result, StreamInSpec};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::answer::Subject;
use crate::pipes::{CHUNKS_IN_FLIGHT, Reader, Writer, Written, pipe_to_component};

/// Extracts the tar that the client sends.
///
/// The component's error wins over what the transport says about its consequences. When the client's stream breaks off, the
/// component's work is dropped before the pipe is closed, so that it never sees a regular end.
pub(crate) async fn stream_in(
    gardener: &Gardener,
    handle: &Handle,
    spec: &StreamInSpec,
    mut chunks: Streaming<garden::StreamInRequest>,
) -> Result<()> {
    let (source, mut writer) = pipe_to_component()?;
    // Dropped before `writer`: locals are dropped in the reverse order of their declaration.
    let mut extraction = Box::pin(gardener.stream_in(handle, spec, source));
    let fed = tokio::select! {
        biased;
        extracted = &mut extraction => {
            extracted?;
            return drain(&mut chunks).await;
        }
        fed = feed(&mut chunks, &mut writer) => fed?,
    };
    if fed == Written::Wholly {
        drop(writer);
    }
    extraction.await?;
    drain(&mut chunks).await
}

async fn feed(chunks: &mut Streaming<garden::StreamInRequest>, writer: &mut Writer) -> Result<Written> {
    while let Some(chunk) = next_chunk(chunks).await? {
        if writer.write(&chunk).await? == Written::Unread {
            return Ok(Written::Unread);
        }
    }
    Ok(Written::Wholly)
}

/// Takes what comes after the end of the archive (padding, by most tars), so that the client can finish its sending.
async fn drain(chunks: &mut Streaming<garden::StreamInRequest>) -> Result<()> {
    while next_chunk(chunks).await?.is_some() {}
    Ok(())
}

async fn next_chunk(chunks: &mut Streaming<garden::StreamInRequest>) -> Result<Option<bytes::Bytes>> {
    let Some(request) = chunks.message().await.map_err(|status| status::from_status(&status))? else {
        return Ok(None);
    };
    match request.message {
        Some(stream_in_request::Message::Chunk(chunk)) => Ok(Some(chunk)),
        Some(stream_in_request::Message::Start(_)) => {
            Err(Error::invalid("start in a message that is not the first"))
        }
        None => Err(Error::invalid("message without a content that this server knows")),
    }
}

/// Sends a tar, and after its last byte an error if it is not complete.
pub(crate) fn stream_out(
    subject: Subject,
    tar: StreamOut,
    engine: Arc<Gardener>,
) -> ReceiverStream<Result<garden::StreamOutResponse, Status>> {
    let (answers, stream) = mpsc::channel(CHUNKS_IN_FLIGHT);
    tokio::spawn(async move {
        // The engine lives as long as its calls.
        let _engine = engine;
        let sent = tokio::select! {
            biased;
            () = answers.closed() => return,
            sent = send_tar(tar, &answers) => sent,
        };
        if let Err(error) = sent {
            // A client that went away meanwhile does not get it, and needs not.
            let _ = answers.send(Err(subject.refuse(&error))).await;
        }
    });
    ReceiverStream::new(stream)
}

async fn send_tar(
    tar: StreamOut,
    answers: &mpsc::Sender<Result<garden::StreamOutResponse, Status>>,
) -> Result<()> {
    let send = |chunk| async move { answers.send(Ok(garden::StreamOutResponse { chunk })).await.is_ok() };
    if Reader::new(tar.tar)?.pump(send).await? { tar.done.await } else { Ok(()) }
}
