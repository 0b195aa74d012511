//! Mutual TLS for the TCP port.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::config::{ServeError, TlsConfig};

/// How long a client may take for the TLS handshake; a slow one holds a connection and nothing else.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the files. Each one that is missing, unreadable or without a PEM block is an error that names it.
pub(crate) fn load(config: &TlsConfig) -> Result<ServerTlsConfig, ServeError> {
    let cert = read_pem("server certificate", &config.cert, "CERTIFICATE-----")?;
    let key = read_pem("server key", &config.key, "PRIVATE KEY-----")?;
    let client_ca = read_pem("client authority", &config.client_ca, "CERTIFICATE-----")?;
    Ok(ServerTlsConfig::new()
        .identity(Identity::from_pem(cert, key))
        .client_ca_root(Certificate::from_pem(client_ca))
        .client_auth_optional(false)
        .timeout(HANDSHAKE_TIMEOUT))
}

/// The error of files that can be read and do not fit together.
pub(crate) fn refused(config: &TlsConfig, error: &tonic::transport::Error) -> ServeError {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    ServeError::Tls {
        cert: config.cert.clone(),
        key: config.key.clone(),
        client_ca: config.client_ca.clone(),
        reason,
    }
}

fn read_pem(what: &'static str, path: &Path, marker: &str) -> Result<Vec<u8>, ServeError> {
    let failed = |source| ServeError::File { what, path: path.to_owned(), source };
    let contents = std::fs::read(path).map_err(failed)?;
    // Without a certificate in it, an authority file would be taken for an empty list.
    if !contents.windows(marker.len()).any(|window| window == marker.as_bytes()) {
        return Err(failed(io::Error::new(ErrorKind::InvalidData, format!("has no PEM block of {marker}"))));
    }
    Ok(contents)
}
