//! StreamIn and StreamOut: tars between bodies and the components' pipes.

use std::io;

use bytes::Buf;
use gardener_core::Gardener;
use gdn_traits::StreamOut;
use gdn_types::{Error, ErrorKind, Handle, Result, StreamInSpec};
use tokio::io::AsyncWriteExt;

use crate::answer::Subject;
use crate::connection::{Body, BodyError, Connection, Framing, response_head};
use crate::head::Head;
use crate::pipes::{Reader, Writer, Written, pipe_to_component};

/// Extracts the tar that is the body of a request.
///
/// The component's error wins over what the connection says about its consequences. When the body breaks off, nobody
/// waits for the component any more, and its pipe ends without the mark that ends a tar, which it takes for an error.
pub(crate) async fn stream_in(
    gardener: &Gardener,
    handle: &Handle,
    spec: &StreamInSpec,
    connection: &mut Connection,
    head: &Head,
    body: &mut Body,
) -> Result<()> {
    let (source, mut writer) = pipe_to_component()?;
    let mut extraction = Box::pin(gardener.stream_in(handle, spec, source));
    if !body.is_over() {
        connection.permit(head).await.map_err(|error| cut_off(&error.into()))?;
    }
    let fed = tokio::select! {
        biased;
        extracted = &mut extraction => {
            extracted?;
            return drain(connection, body).await;
        }
        fed = feed(connection, body, &mut writer) => fed?,
    };
    if fed == Written::Wholly {
        drop(writer);
    }
    extraction.await?;
    drain(connection, body).await
}

async fn feed(connection: &mut Connection, body: &mut Body, writer: &mut Writer) -> Result<Written> {
    while let Some(piece) = body.next(connection).await.map_err(|error| cut_off(&error))? {
        if writer.write(&piece).await? == Written::Unread {
            return Ok(Written::Unread);
        }
    }
    Ok(Written::Wholly)
}

/// Takes what comes after the end of the archive (padding, by most tars), so that the client can finish its sending.
async fn drain(connection: &mut Connection, body: &mut Body) -> Result<()> {
    while body.next(connection).await.map_err(|error| cut_off(&error))?.is_some() {}
    Ok(())
}

fn cut_off(error: &BodyError) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("error streaming in: {error}"))
}

/// A tar whose first bytes are there, or that is empty and complete.
pub(crate) struct Tar {
    reader: Reader,
    done: futures::future::BoxFuture<'static, Result<()>>,
    begun: bool,
}

impl Tar {
    /// Waits for the first bytes: up to them a failure can be answered as one.
    pub(crate) async fn begin(tar: StreamOut) -> Result<Self> {
        let mut reader = Reader::new(tar.tar)?;
        let begun = reader.next().await?.is_some();
        if begun {
            return Ok(Tar { reader, done: tar.done, begun });
        }
        tar.done.await?;
        Ok(Tar { reader, done: Box::pin(async { Ok(()) }), begun })
    }

    /// Sends it. After an error, of which the log is told, the connection is of no more use: that the last chunk is missing
    /// tells the client that the tar is not complete.
    pub(crate) async fn send(
        mut self,
        subject: &Subject,
        connection: &mut Connection,
        head: &Head,
        keep_alive: bool,
    ) -> io::Result<()> {
        let framing = if head.modern { Framing::ChunkedTar } else { Framing::Tar };
        let response = response_head(200, framing, keep_alive, None);
        connection.socket.write_all(response.as_bytes()).await?;
        let mut more = self.begun;
        while more {
            // However fast the client takes it, other tasks have their turn.
            tokio::task::consume_budget().await;
            send_piece(connection, self.reader.last(), head.modern).await?;
            more = match self.reader.next().await {
                Ok(piece) => piece.is_some(),
                Err(error) => return Err(broken(subject, &error)),
            };
        }
        self.done.await.map_err(|error| broken(subject, &error))?;
        if head.modern {
            connection.socket.write_all(b"0\r\n\r\n").await?;
        }
        Ok(())
    }
}

async fn send_piece(connection: &mut Connection, piece: &[u8], chunked: bool) -> io::Result<()> {
    if !chunked {
        return connection.socket.write_all(piece).await;
    }
    let size = format!("{:x}\r\n", piece.len());
    let mut chunk = size.as_bytes().chain(piece).chain(&b"\r\n"[..]);
    connection.socket.write_all_buf(&mut chunk).await
}

fn broken(subject: &Subject, error: &Error) -> io::Error {
    subject.log(error, "a tar breaks off");
    io::Error::other(error.report())
}
