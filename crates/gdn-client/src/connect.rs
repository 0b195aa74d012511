//! Making the connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gdn_proto::garden::garden_client::GardenClient;
use gdn_types::{Error, ErrorKind, Result};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::{Address, TlsFiles};

/// How long a server may take to answer a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Flow-control window of one stream: 1 MiB, so that a tar or a process's output is not paced by round trips.
const STREAM_WINDOW: u32 = 1024 * 1024;

/// Flow-control window of the connection: room for a few streams at full speed beside small calls.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// The largest HTTP/2 frame we accept, in bytes: one chunk of a stream in one frame, and so in few system calls. The
/// protocol's default of 16 KiB costs a third of the throughput.
const MAX_FRAME: u32 = 512 * 1024;

/// One connection to a server. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) service: GardenClient<Channel>,
}

impl Client {
    /// Connects to a socket: a path or `unix:PATH`. For `https://` see [`Client::connect_tls`].
    ///
    /// # Errors
    /// `InvalidArgument` for what is no address; `Unavailable` when nobody listens there; `PermissionDenied` when this user
    /// may not use the socket.
    pub async fn connect(address: &str) -> Result<Self> {
        match Address::parse(address)? {
            Address::Unix(path) => Client::connect_unix(&path).await,
            Address::Https(uri) => Err(Error::invalid(format!(
                "address {uri} needs a certificate and its key for this client, and the certificates to check the server by"
            ))),
        }
    }

    /// Connects to a socket of this host.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_unix(path: &Path) -> Result<Self> {
        let target = path.to_owned();
        // Tried first by hand: the transport's own error does not tell a missing socket from a forbidden one.
        let first = UnixStream::connect(&target).await.map_err(|error| cannot_reach(&target, error))?;
        let mut first = Some(first);
        let connector = tower::service_fn(move |_: Uri| {
            let (ready, target) = (first.take(), target.clone());
            async move {
                let stream = match ready {
                    Some(stream) => stream,
                    None => UnixStream::connect(target).await?,
                };
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        // The URI is never resolved, the connector knows where to go; it becomes the request's authority.
        let channel =
            tuned(Endpoint::from_static("http://localhost")).connect_with_connector(connector).await;
        channel.map(Client::over).map_err(|error| cannot_reach(path, error))
    }

    /// Connects to `https://HOST:PORT`, each side checking the other's certificate, or to a socket.
    ///
    /// # Errors
    /// `InvalidArgument` when a file cannot be read or used, naming it; `Unavailable` when nobody listens or the server is
    /// not who it must be.
    pub async fn connect_tls(address: &Address, files: &TlsFiles) -> Result<Self> {
        let uri = match address {
            Address::Unix(path) => return Client::connect_unix(path).await,
            Address::Https(uri) => uri.clone(),
        };
        let identity = Identity::from_pem(read(&files.certificate).await?, read(&files.key).await?);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&files.server_ca).await?))
            .identity(identity);
        let endpoint = tuned(Endpoint::from(uri.clone())).tls_config(tls).map_err(|error| {
            Error::caused(
                ErrorKind::InvalidArgument,
                format!("use certificate {:?} with key {:?}", files.certificate, files.key),
                error,
            )
        })?;
        endpoint
            .connect()
            .await
            .map(Client::over)
            .map_err(|error| Error::caused(ErrorKind::Unavailable, format!("connect to {uri}"), error))
    }

    fn over(channel: Channel) -> Self {
        let service = GardenClient::new(channel)
            .max_decoding_message_size(gdn_proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(gdn_proto::MAX_MESSAGE_BYTES);
        Client { service }
    }
}

fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .tcp_nodelay(true)
}

/// The error of a socket on which nobody answers.
fn cannot_reach(path: &Path, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let cause = cause.into();
    let denied = cause
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
    let kind = if denied { ErrorKind::PermissionDenied } else { ErrorKind::Unavailable };
    Error::caused(kind, format!("connect to socket {}", path.display()), cause)
}

async fn read(path: &PathBuf) -> Result<Vec<u8>> {
    tokio::fs::read(path).await.map_err(|error| {
        Error::caused(ErrorKind::InvalidArgument, format!("read file {}", path.display()), error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_unavailable_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none.sock");
        let error = Client::connect(path.to_str().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error.report().contains("none.sock") && error.report().contains("No such file"),
            "{}",
            error.report()
        );
    }

    #[tokio::test]
    async fn a_socket_that_its_server_left_behind_is_unavailable() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Client::connect_unix(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.report().contains("refused"), "{}", error.report());
    }

    #[tokio::test]
    async fn https_without_certificates_is_refused() {
        let error = Client::connect("https://localhost:1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let files =
            TlsFiles { server_ca: "/no/ca".into(), certificate: "/no/cert".into(), key: "/no/key".into() };
        let address = Address::parse("https://localhost:1").unwrap();
        let error = Client::connect_tls(&address, &files).await.unwrap_err();
        assert!(error.message().contains("/no/cert"), "{}", error.message());
    }
}
