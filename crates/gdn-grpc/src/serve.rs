//! Opens the gate and serves until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gardener_core::Gardener;
use gdn_proto::garden::garden_server::GardenServer;
use gdn_proto::{DESCRIPTOR_SET, MAX_MESSAGE_BYTES};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};

use crate::clients::Clients;
use crate::config::{GrpcConfig, ServeError, TlsConfig};
use crate::service::GardenService;
use crate::tls;
use crate::unix::UnixSocket;

/// HTTP/2 flow control: what a client may send on one call before we have taken it. Large enough to keep a stream of
/// 1 GB/s going over a link with 4 ms round trip.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// The same for all calls of one connection together.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The largest HTTP/2 frame we accept, in bytes: one chunk of a stream and its header in one frame.
const MAX_FRAME: u32 = 512 * 1024;
/// All metadata of a call together, in bytes.
const MAX_METADATA: u32 = 64 * 1024;
/// Calls of one connection at the same time: one lasting Run for each of some thousand processes.
const MAX_STREAMS: u32 = 4096;
/// A connection on which nothing was heard for this long is asked whether it lives.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// And is given up when there is no answer for this long.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls that a client opened and reset before we looked at them; above it the connection ends (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 64;
/// Streams that we had to reset for errors of the client; above it the connection ends (CVE-2025-8671).
const MAX_ERROR_RESETS: usize = 256;
/// How long calls under way may take to finish after the stop. Lasting ones are ended at once.
const DRAIN: Duration = Duration::from_secs(5);

/// Listens as configured and serves until `shutdown`, or until the transport fails.
///
/// # Errors
/// See [`ServeError`]. Nothing is left behind in the file system.
pub async fn serve(
    gardener: Arc<Gardener>,
    config: GrpcConfig,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    Box::pin(Gate::open(config).await?.serve(gardener, shutdown)).await
}

/// An open gate: clients can connect, and are answered once [`Gate::serve`] runs.
#[derive(Debug)]
pub struct Gate {
    unix: Option<(UnixSocket, bool)>,
    tcp: Option<(TcpListener, Box<Server>)>,
}

impl Gate {
    /// Begins to listen.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn open(config: GrpcConfig) -> Result<Self, ServeError> {
        if config.unix.is_none() && config.tcp.is_none() {
            return Err(ServeError::NowhereToListen);
        }
        let tcp = match &config.tcp {
            Some(tls) => Some(open_tcp(tls).await?),
            None => None,
        };
        let unix = match &config.unix {
            Some(spec) => Some((UnixSocket::bind(spec)?, spec.reflection)),
            None => None,
        };
        Ok(Gate { unix, tcp })
    }

    /// The address of the TCP port, with its number when it was any free one.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Who is connected to its unix socket, if it has one.
    pub fn clients(&self) -> Option<Clients> {
        self.unix.as_ref().map(|(socket, _)| socket.clients().clone())
    }

    /// Serves until `shutdown`, or until the transport fails. Lasting calls (Run, Attach, Wait, WatchEvents) end at once with
    /// `Unavailable`, others may take another 5 s.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn serve(self, gardener: Arc<Gardener>, shutdown: CancellationToken) -> Result<(), ServeError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        let service = GardenServer::new(GardenService::new(gardener, shutdown.clone()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        health.set_serving::<GardenServer<GardenService>>().await;

        let routes =
            |mut server: Server| server.add_service(service.clone()).add_service(health_service.clone());
        let unix = async {
            let Some((socket, reflection)) = self.unix else { return Ok(()) };
            let router = with_reflection(routes(transport()), reflection)?;
            router.serve_with_incoming_shutdown(socket.connections(), shutdown.cancelled()).await?;
            Ok::<_, ServeError>(())
        };
        let tcp = async {
            let Some((listener, server)) = self.tcp else { return Ok(()) };
            let incoming =
                TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE_INTERVAL));
            routes(*server).serve_with_incoming_shutdown(incoming, shutdown.cancelled()).await?;
            Ok(())
        };
        let drained = async {
            shutdown.cancelled().await;
            health.set_not_serving::<GardenServer<GardenService>>().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = async { tokio::try_join!(unix, tcp) } => served.map(|_| ()),
            () = drained => {
                tracing::warn!(after = ?DRAIN, "gRPC calls still under way at the stop");
                Ok(())
            }
        }
    }
}

async fn open_tcp(config: &TlsConfig) -> Result<(TcpListener, Box<Server>), ServeError> {
    let server = transport().tls_config(tls::load(config)?).map_err(|error| tls::refused(config, &error))?;
    let listener = TcpListener::bind(config.addr)
        .await
        .map_err(|source| ServeError::Listen { addr: config.addr, source })?;
    Ok((listener, Box::new(server)))
}

fn with_reflection(router: Router, wanted: bool) -> Result<Router, ServeError> {
    if !wanted {
        return Ok(router);
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| ServeError::Reflection(error.to_string()))?;
    Ok(router.add_service(reflection))
}

fn transport() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_header_list_size(MAX_METADATA)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_ERROR_RESETS))
}
