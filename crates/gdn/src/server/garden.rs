//! The front door for Garden's clients: where it is, and for whom.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use gdn_http::{Gate, HttpConfig, UnixListenerSpec};

/// The group that may speak to the engine, where the host has it.
const GROUP: &str = "garden";

/// A front door for Garden's clients.
#[derive(Clone, Debug)]
pub(crate) struct GardenSettings {
    /// Its socket.
    pub(crate) socket: Option<PathBuf>,
    /// Permission bits of the socket.
    pub(crate) socket_mode: u32,
    /// Its TCP address, without any protection.
    pub(crate) tcp: Option<SocketAddr>,
    /// How long a client may take to send the head of a request.
    pub(crate) read_header_timeout: Duration,
    /// How many connections there may be at once.
    pub(crate) max_connections: usize,
}

/// Begins to listen, if there is anything to listen on.
pub(super) async fn open(settings: &GardenSettings) -> anyhow::Result<Option<Gate>> {
    if settings.socket.is_none() && settings.tcp.is_none() {
        return Ok(None);
    }
    let group = group()?;
    let unix = settings.socket.as_ref().map(|path| UnixListenerSpec {
        path: path.clone(),
        mode: settings.socket_mode,
        group,
    });
    let GardenSettings { tcp, read_header_timeout, max_connections, .. } = *settings;
    let config = HttpConfig { unix, tcp, read_header_timeout, max_connections };
    let gate = Gate::open(config).await.context("cannot listen for Garden's clients")?;
    if let Some(address) = gate.tcp_addr() {
        tracing::info!(%address, "listening for Garden's clients, without any protection");
    }
    Ok(Some(gate))
}

/// The number of the group, where the host's own list has it.
fn group() -> anyhow::Result<Option<u32>> {
    match fs::read_to_string("/etc/group") {
        Ok(groups) => Ok(number(&groups)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot read /etc/group"),
    }
}

/// The number of the group in the list (group(5): name, password, number, members).
fn number(groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(GROUP) {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\ngardeners:x:7:\ngarden:x:993:a,b\n";
        assert_eq!(number(groups), Some(993));
        assert_eq!(number("root:x:0:garden\n"), None);
        assert_eq!(number("garden:x\n"), None);
    }
}
