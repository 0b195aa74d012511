//! A socket that listened before the engine was started.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, getsockname, sockopt};
use tokio::net::TcpListener;

use crate::config::OpenError;
use crate::socket::Socket;
use crate::unix::Listener;

/// A listener of either kind. Its name, if it has one in the file system, stays there: it is not ours.
#[derive(Debug)]
pub(crate) enum Inherited {
    Unix(Listener),
    Tcp(TcpListener),
}

impl Inherited {
    /// Takes it over.
    pub(crate) fn open(listener: OwnedFd) -> Result<Self, OpenError> {
        Inherited::of(listener).map_err(OpenError::Inherited)
    }

    fn of(listener: OwnedFd) -> io::Result<Self> {
        if !sockopt::socket_acceptconn(&listener)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
        }
        match getsockname(&listener)?.address_family() {
            AddressFamily::UNIX => {
                let listener = std::os::unix::net::UnixListener::from(listener);
                listener.set_nonblocking(true)?;
                Ok(Inherited::Unix(Listener::new(listener.into())?))
            }
            AddressFamily::INET | AddressFamily::INET6 => {
                let listener = std::net::TcpListener::from(listener);
                listener.set_nonblocking(true)?;
                Ok(Inherited::Tcp(TcpListener::from_std(listener)?))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a unix nor a TCP socket")),
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Inherited::Unix(listener) => listener.accept().await.map(Socket::Unix),
            Inherited::Tcp(listener) => Socket::tcp(listener.accept().await?.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_listens_is_taken() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = Inherited::open(one.into()).unwrap_err();
        assert!(
            matches!(&error, OpenError::Inherited(source) if source.to_string().contains("listen")),
            "{error:?}"
        );
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(Inherited::open(file.into()), Err(OpenError::Inherited(_))));
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let inherited = Inherited::open(tcp.into()).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        assert!(matches!(inherited.accept().await.unwrap(), Socket::Tcp(_)));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let inherited = Inherited::open(unix.into()).unwrap();
        let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(matches!(inherited.accept().await.unwrap(), Socket::Unix(_)));
    }
}
