//! Where the gate listens, and what can go wrong while it opens.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// Where the gate listens. At least one of the three must be given.
#[derive(Debug)]
pub struct HttpConfig {
    /// A socket in the file system.
    pub unix: Option<UnixListenerSpec>,
    /// A TCP address, without any protection: whoever reaches it is root on this host. Port 0 takes any free one.
    pub tcp: Option<SocketAddr>,
    /// A socket that listens already, of either kind, opened by whoever started the engine: who may connect was theirs to
    /// decide.
    pub inherited: Option<OwnedFd>,
    /// How long a client may take to send the head of a request.
    pub read_header_timeout: Duration,
    /// How many connections there may be at once; one more is told that the service is unavailable, and closed. A
    /// conversation with a process has up to three.
    pub max_connections: usize,
}

impl HttpConfig {
    /// The patience with slow heads when nobody decides otherwise.
    pub const READ_HEADER_TIMEOUT: Duration = Duration::from_secs(30);

    /// How many connections there may be when nobody decides otherwise: each costs some ten KiB while it is idle.
    pub const MAX_CONNECTIONS: usize = 10_000;
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            unix: None,
            tcp: None,
            inherited: None,
            read_header_timeout: HttpConfig::READ_HEADER_TIMEOUT,
            max_connections: HttpConfig::MAX_CONNECTIONS,
        }
    }
}

/// A socket in the file system. Its owner is the engine's user; whoever may write to it may call.
#[derive(Clone, Debug)]
pub struct UnixListenerSpec {
    /// Its path. A missing parent directory is made with the mode 0711.
    pub path: PathBuf,
    /// Permission bits of the socket.
    pub mode: u32,
    /// Its group; absent: the engine's own.
    pub group: Option<u32>,
}

impl UnixListenerSpec {
    /// Read and write for the owner and the group: who speaks to the engine is as good as root.
    pub const MODE: u32 = 0o660;

    /// A socket for root and the engine's group.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        UnixListenerSpec { path: path.into(), mode: UnixListenerSpec::MODE, group: None }
    }
}

/// Why the gate cannot open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Neither a socket nor an address was given.
    #[error("Garden gate has nowhere to listen: neither a socket nor an address was given")]
    NowhereToListen,
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
    /// The descriptor that was inherited is no socket that listens.
    #[error("listen on the socket that was inherited")]
    Inherited(#[source] io::Error),
    /// The TCP address cannot be had.
    #[error("listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
}
