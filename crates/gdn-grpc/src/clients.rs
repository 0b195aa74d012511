//! Who is connected to the gate's socket, for an engine that ends with its last client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, UdsConnectInfo};

/// The clients of a gate's socket, whatever they do.
#[derive(Clone, Debug)]
pub struct Clients {
    count: Arc<watch::Sender<usize>>,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl Clients {
    pub(crate) fn new() -> Self {
        Clients {
            count: Arc::new(watch::Sender::new(0)),
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Waits until the last one has gone, and nobody else is let in. Who connects while it goes is served, and waited for.
    /// To be called while the gate serves.
    pub async fn last_gone(&self) {
        self.closing.cancel();
        self.closed.cancelled().await;
    }

    /// Waits until nobody is there, once that is the end.
    pub(crate) async fn leaving(&self) {
        self.closing.cancelled().await;
        // Its sender is here, so it does not end.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Nobody is there, and nobody is let in any more.
    pub(crate) fn closed(&self) {
        self.closed.cancel();
    }

    /// Counts a connection for as long as it is open.
    pub(crate) fn count(&self, stream: UnixStream) -> Counted {
        self.count.send_modify(|count| *count += 1);
        Counted { stream, _place: Place(Arc::clone(&self.count)) }
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    // Closed first: who is not counted any more is not connected any more.
    stream: UnixStream,
    _place: Place,
}

#[derive(Debug)]
struct Place(Arc<watch::Sender<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Connected for Counted {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> UdsConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
