//! Where the gate listens and for whom, and what can go wrong while it opens.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the gate listens. At least one of the two must be given.
#[derive(Clone, Debug, Default)]
pub struct GrpcConfig {
    /// A socket in the file system, for local clients.
    pub unix: Option<UnixListenerSpec>,
    /// A TCP port with mutual TLS, for clients elsewhere.
    pub tcp: Option<TlsConfig>,
}

/// A socket in the file system.
#[derive(Clone, Debug)]
pub struct UnixListenerSpec {
    /// Its path. A missing parent directory is made with the mode 0700, or 0711 when others than root are let in.
    pub path: PathBuf,
    /// Permission bits of the socket.
    pub mode: u32,
    /// User ids, beside root, whose processes may call. Everybody else is disconnected, whatever the mode.
    pub allowed_uids: Vec<u32>,
    /// Whether the API can be asked to describe itself (gRPC server reflection).
    pub reflection: bool,
}

impl UnixListenerSpec {
    /// A socket for root alone: mode 0600, no reflection.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        UnixListenerSpec { path: path.into(), mode: 0o600, allowed_uids: Vec::new(), reflection: false }
    }
}

/// A TCP port with mutual TLS: a client is served only with a certificate of `client_ca`. All files are PEM.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Address and port; port 0 takes any free one.
    pub addr: SocketAddr,
    /// File of the server's certificate chain.
    pub cert: PathBuf,
    /// File of the server's private key.
    pub key: PathBuf,
    /// File of the authorities whose clients are served. There is no way to go without.
    pub client_ca: PathBuf,
}

/// Why the gate cannot open, or closed by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Neither a socket nor a port was asked for.
    #[error("gRPC gate has nowhere to listen: neither a unix socket nor a TCP address was given")]
    NowhereToListen,
    /// A file of the TLS configuration cannot be read, or is empty.
    #[error("read {what} {path}")]
    File {
        /// What the file is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files can be read and TLS makes nothing of them.
    #[error("TLS with certificate {cert}, key {key} and client authority {client_ca}: {reason}")]
    Tls {
        /// The certificate chain.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
        /// The authorities of the clients.
        client_ca: PathBuf,
        /// Why, as the TLS library puts it.
        reason: String,
    },
    /// The socket cannot be made.
    #[error(transparent)]
    Socket(#[from] gdn_sockets::Error),
    /// The socket cannot be waited on.
    #[error("wait for clients of {path}")]
    Watch {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The TCP port cannot be had.
    #[error("listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The transport failed while it was serving.
    #[error("serve gRPC")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors of the API cannot be read back; the generated code is damaged.
    #[error("describe the API by reflection: {0}")]
    Reflection(String),
}
