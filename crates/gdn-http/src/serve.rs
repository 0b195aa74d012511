//! The gate: its listeners, and the life of a connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gardener_core::Gardener;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{HttpConfig, OpenError};
use crate::connection::Connection;
use crate::inherited::Inherited;
use crate::requests::{self, Requests};
use crate::room::Room;
use crate::sides::SideStreams;
use crate::socket::Socket;
use crate::unix::UnixSocket;

/// How long requests under way may take to finish after the stop. Conversations are ended at once.
const DRAIN: Duration = Duration::from_secs(5);

/// How much longer calls that the engine is busy with may take. Supervisors of the reference engine kill it ten seconds after
/// they told it to stop, and the engine has work of its own behind its gates.
const DRAIN_CALLS: Duration = Duration::from_secs(2);

/// How long to wait before connections are accepted again when there are no descriptors left for them.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

/// An open gate: clients can connect, and are answered once [`Gate::serve`] runs.
#[derive(Debug)]
pub struct Gate {
    unix: Option<UnixSocket>,
    tcp: Option<TcpListener>,
    inherited: Option<Inherited>,
    read_header_timeout: Duration,
    max_connections: usize,
}

impl Gate {
    /// Begins to listen.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is left behind in the file system.
    pub async fn open(config: HttpConfig) -> Result<Self, OpenError> {
        if config.unix.is_none() && config.tcp.is_none() && config.inherited.is_none() {
            return Err(OpenError::NowhereToListen);
        }
        let tcp = match config.tcp {
            None => None,
            Some(addr) => Some(open_tcp(addr).await?),
        };
        let unix = config.unix.as_ref().map(UnixSocket::bind).transpose()?;
        let inherited = config.inherited.map(Inherited::open).transpose()?;
        let HttpConfig { read_header_timeout, max_connections, .. } = config;
        Ok(Gate { unix, tcp, inherited, read_header_timeout, max_connections })
    }

    /// The address of the TCP listener, with its port when it was any free one.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `shutdown`. Conversations with processes (Run, Attach) then end at once by an end of file, which makes
    /// clients attach again; other requests may take another 5 s, and calls that the engine is busy with 7 s.
    pub async fn serve(self, gardener: Arc<Gardener>, shutdown: CancellationToken) {
        let (tasks, calls) = (TaskTracker::new(), TaskTracker::new());
        let abandoned = CancellationToken::new();
        let requests = Arc::new(Requests {
            gardener,
            streams: Arc::new(SideStreams::until(shutdown.clone())),
            room: Room::default(),
            tasks: tasks.clone(),
            calls: calls.clone(),
            shutdown: shutdown.clone(),
            read_header_timeout: self.read_header_timeout,
        });
        let room = Arc::new(Semaphore::new(self.max_connections.min(Semaphore::MAX_PERMITS)));
        let refusing = AtomicBool::new(false);
        let begin = |socket: Socket| {
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                // Once, until there is room again.
                if !refusing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        most = self.max_connections,
                        "connections of Garden's clients are refused"
                    );
                }
                return socket.try_write(&requests::unavailable("too many connections"));
            };
            refusing.store(false, Ordering::Relaxed);
            let (requests, abandoned) = (Arc::clone(&requests), abandoned.clone());
            // In a box, or the runtime would copy it several times, and again at its end.
            tasks.spawn(Box::pin(async move {
                let _place = place;
                tokio::select! {
                    () = abandoned.cancelled() => {}
                    () = requests.answer_all(Connection::new(socket)) => {}
                }
            }));
        };
        let unix = async {
            let Some(socket) = &self.unix else { return };
            loop {
                match socket.listener.accept().await {
                    Ok(connection) => begin(Socket::Unix(connection)),
                    Err(error) => no_connection(&error).await,
                }
            }
        };
        let tcp = async {
            let Some(listener) = &self.tcp else { return };
            loop {
                match listener.accept().await.and_then(|(stream, _)| Socket::tcp(stream)) {
                    Ok(socket) => begin(socket),
                    Err(error) => no_connection(&error).await,
                }
            }
        };
        let inherited = async {
            let Some(listener) = &self.inherited else { return };
            loop {
                match listener.accept().await {
                    Ok(socket) => begin(socket),
                    Err(error) => no_connection(&error).await,
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = futures::future::join3(unix, tcp, inherited) => {}
        }
        // No more connections; the name of the socket goes too.
        drop(self);
        tasks.close();
        calls.close();
        let drained = tokio::time::timeout(DRAIN, tasks.wait()).await;
        if drained.is_err() && tokio::time::timeout(DRAIN_CALLS, calls.wait()).await.is_err() {
            tracing::warn!(calls = calls.len(), "Garden calls still under way at the stop");
        }
        if !tasks.is_empty() {
            tracing::warn!(after = ?DRAIN, requests = tasks.len(), "Garden requests still under way at the stop");
            abandoned.cancel();
        }
    }
}

async fn open_tcp(addr: SocketAddr) -> Result<TcpListener, OpenError> {
    let listener = TcpListener::bind(addr).await.map_err(|source| OpenError::Listen { addr, source })?;
    if !addr.ip().is_loopback() {
        tracing::warn!(
            address = %addr,
            "the Garden API is served without any protection: whoever reaches this address is root on this host"
        );
    }
    Ok(listener)
}

/// A connection that failed while it was accepted is the client's matter; for want of descriptors it is waited.
async fn no_connection(error: &std::io::Error) {
    tracing::warn!(%error, "accept a connection");
    tokio::time::sleep(NO_DESCRIPTORS).await;
}
