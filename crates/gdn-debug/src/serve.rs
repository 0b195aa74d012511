//! The listener, and the life of a connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gardener_core::Gardener;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::answer;

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Until the head of its request is there.
    head: Duration,
    /// Until its connection ends: each has one request.
    whole: Duration,
}

const PATIENCE: Patience = Patience { head: Duration::from_secs(5), whole: Duration::from_secs(10) };

/// The largest head of a request, bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The most connections at once: a scraper or two, and a person.
const MAX_CONNECTIONS: usize = 16;

/// How long to wait before connections are accepted again when there are no descriptors left for them.
const NO_DESCRIPTORS: Duration = Duration::from_millis(50);

/// The log, as far as its level goes.
pub trait LogLevels: Send + Sync + 'static {
    /// The most detailed level that is logged.
    fn level(&self) -> tracing::Level;

    /// Sets it, for every event from now on.
    fn set_level(&self, level: tracing::Level);
}

/// What the answers are made of.
#[derive(Clone)]
pub struct DebugSources {
    /// The orchestrator.
    pub gardener: Arc<Gardener>,
    /// The log.
    pub log: Arc<dyn LogLevels>,
    /// The version of the program.
    pub version: &'static str,
    /// The command line of the program.
    pub command_line: Vec<String>,
}

impl fmt::Debug for DebugSources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DebugSources").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Why there is no port for operators.
#[derive(Debug, thiserror::Error)]
#[error("listen on {addr}")]
pub struct OpenError {
    addr: SocketAddr,
    source: std::io::Error,
}

/// A port that listens.
#[derive(Debug)]
pub struct DebugServer {
    listener: TcpListener,
    addr: SocketAddr,
    patience: Patience,
}

impl DebugServer {
    /// Begins to listen; port 0 is any free one. Unless the address is the loopback's, one warning is logged.
    ///
    /// # Errors
    /// When the address is not this host's, or the port is taken.
    pub async fn open(addr: SocketAddr) -> Result<Self, OpenError> {
        let failed = |source| OpenError { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        if !addr.ip().is_loopback() {
            tracing::warn!(address = %addr, "figures of this engine are served to whoever reaches this address");
        }
        Ok(DebugServer { listener, addr, patience: PATIENCE })
    }

    /// The address, with its port when it was any free one.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`. Requests under way are cut off then.
    pub async fn serve(self, sources: DebugSources, shutdown: CancellationToken) {
        let patience = self.patience;
        let (room, connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), TaskTracker::new());
        let accept = async {
            loop {
                let place = Arc::clone(&room).acquire_owned().await.expect("nobody closes the semaphore");
                match self.listener.accept().await {
                    Ok((stream, peer)) => {
                        let (sources, shutdown) = (sources.clone(), shutdown.clone());
                        connections.spawn(async move {
                            let _place = place;
                            let served = tokio::time::timeout(
                                patience.whole,
                                converse(stream, peer, sources, patience.head),
                            );
                            // Who is too slow is cut off; what else ends a connection is the client's matter.
                            let _ = shutdown.run_until_cancelled(served).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accept a connection of an operator");
                        tokio::time::sleep(NO_DESCRIPTORS).await;
                    }
                }
            }
        };
        shutdown.run_until_cancelled(accept).await;
        connections.close();
        connections.wait().await;
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, sources: DebugSources, for_head: Duration) {
    let sources = &sources;
    let answering = service_fn(|request| answer(request, peer, sources));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(for_head)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answering);
    if let Err(error) = connection.await {
        tracing::debug!(%error, %peer, "a connection of an operator");
    }
}

#[cfg(test)]
mod tests {
    use gardener_core::{Components, Config, EventHub};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Log;

    impl LogLevels for Log {
        fn level(&self) -> tracing::Level {
            tracing::Level::INFO
        }

        fn set_level(&self, _: tracing::Level) {}
    }

    fn sources() -> DebugSources {
        let (world, events) = (gdn_testkit::World::new(), EventHub::new());
        let components = Components {
            containerizer: world.containerizer(events.clone()),
            networker: world.networker(),
            volumizer: world.volumizer(),
            properties: world.properties(),
        };
        let gardener = Gardener::new(Config::default(), components, events);
        DebugSources { gardener, log: Arc::new(Log), version: "1", command_line: Vec::new() }
    }

    async fn ask(addr: SocketAddr) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(addr).await?;
        connection.write_all(b"GET /log-level HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn clients_that_are_silent_are_cut_off_and_others_come_after_them() {
        let mut server = DebugServer::open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let short = Duration::from_millis(200);
        server.patience = Patience { head: short, whole: short };
        let (addr, stop) = (server.addr(), CancellationToken::new());
        let serving = tokio::spawn(server.serve(sources(), stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS + 4 {
            silent.push(TcpStream::connect(addr).await.unwrap());
        }
        // On a busy host this one may be too slow as well: then another is.
        while !ask(addr).await.is_ok_and(|answer| answer.ends_with("info\n")) {}
        for connection in &mut silent {
            let mut end = Vec::new();
            // By an end, or by a refusal in words.
            let _ = connection.read_to_end(&mut end).await;
        }
        stop.cancel();
        serving.await.unwrap();
    }
}
