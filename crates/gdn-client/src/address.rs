//! Where a server is.

use std::fmt;
use std::path::{Path, PathBuf};

use gdn_types::{Error, Result};
use http::Uri;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket of this host.
    Unix(PathBuf),
    /// `https://HOST:PORT`.
    Https(Uri),
}

impl Address {
    /// Parses `unix:PATH`, `unix://PATH`, a path (it has a `/`), or `https://HOST:PORT`.
    ///
    /// # Errors
    /// `InvalidArgument` naming the text.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Address::unix(text, path.strip_prefix("//").unwrap_or(path));
        }
        if text.starts_with("https://") {
            let uri: Uri = text.parse().map_err(|error| bad_address(text, error))?;
            if uri.host().is_none() || uri.path() != "/" {
                return Err(bad_address(text, "it is not of the form https://HOST:PORT"));
            }
            return Ok(Address::Https(uri));
        }
        if text.contains("://") || !text.contains('/') {
            return Err(Error::invalid(format!(
                "address {text:?} is neither a path, nor unix:PATH, nor https://HOST:PORT"
            )));
        }
        Address::unix(text, text)
    }

    fn unix(text: &str, path: &str) -> Result<Self> {
        if path.is_empty() || path.contains('\0') {
            return Err(Error::invalid(format!("address {text:?} has no path of a socket")));
        }
        Ok(Address::Unix(PathBuf::from(path)))
    }

    /// The path of a socket of this host.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Address::Unix(path) => Some(path),
            Address::Https(_) => None,
        }
    }
}

fn bad_address(text: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::caused(gdn_types::ErrorKind::InvalidArgument, format!("address {text:?} cannot be used"), cause)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => path.display().fmt(f),
            Address::Https(uri) => uri.fmt(f),
        }
    }
}

/// Files, as PEM, by which client and server know each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that the server's must come from.
    pub server_ca: PathBuf,
    /// The client's own certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_may_be_written_in_three_ways() {
        for text in ["/run/x.sock", "unix:/run/x.sock", "unix:///run/x.sock"] {
            assert_eq!(Address::parse(text).unwrap(), Address::Unix("/run/x.sock".into()), "{text}");
        }
        assert_eq!(Address::parse("./x.sock").unwrap().socket(), Some(Path::new("./x.sock")));
    }

    #[test]
    fn addresses_that_lead_nowhere_are_refused_and_named() {
        for text in
            ["", "unix:", "grpc.sock", "http://localhost:1", "tcp://x:1", "https://", "https://h:1/path"]
        {
            let error = Address::parse(text).unwrap_err();
            assert!(error.message().contains(&format!("{text:?}")), "{}", error.message());
        }
    }
}
