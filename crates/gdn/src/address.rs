//! Which server a client verb talks to.

use anyhow::Context;
use gdn_client::{Address, Client, TlsFiles};

use crate::cli::Global;
use crate::failure::Advised;

/// The address that was asked for, else the socket that belongs to the root.
pub(crate) fn of(global: &Global) -> anyhow::Result<Address> {
    match &global.address {
        Some(text) => Ok(Address::parse(text)?),
        None => Ok(Address::Unix(global.socket())),
    }
}

/// Connects to the server that the options name.
pub(crate) async fn connect(global: &Global) -> anyhow::Result<Client> {
    let address = of(global)?;
    let client = match &address {
        Address::Unix(path) => Client::connect_unix(path).await,
        Address::Https(_) => Client::connect_tls(&address, &tls_files(global)?).await,
    };
    client.context("cannot reach an engine")
}

fn tls_files(global: &Global) -> anyhow::Result<TlsFiles> {
    match (&global.server_ca, &global.client_cert, &global.client_key) {
        (Some(ca), Some(certificate), Some(key)) => {
            Ok(TlsFiles { server_ca: ca.clone(), certificate: certificate.clone(), key: key.clone() })
        }
        _ => Err(Advised::error(
            "an https address needs certificates on both sides",
            "give --server-ca, --client-cert and --client-key",
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::cli;

    use super::*;

    fn global(arguments: &[&str]) -> Global {
        let line = ["gdn", "ping"].iter().chain(arguments).map(Into::into).collect();
        cli::parse(line).unwrap().global
    }

    #[test]
    fn a_root_brings_its_own_socket_unless_an_address_is_given() {
        assert_eq!(of(&global(&[])).unwrap(), Address::Unix("/run/gdn/grpc.sock".into()));
        assert_eq!(of(&global(&["--root", "/r"])).unwrap(), Address::Unix("/r/grpc.sock".into()));
        assert_eq!(
            of(&global(&["--root", "/r", "--address", "/x/s"])).unwrap(),
            Address::Unix("/x/s".into())
        );
    }

    #[test]
    fn https_asks_for_every_certificate() {
        let error = tls_files(&global(&["--server-ca", "/ca"])).unwrap_err();
        assert!(error.to_string().contains("certificates"));
    }
}
