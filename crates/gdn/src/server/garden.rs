//! The front door for Garden's clients: where it is, and for whom.

use std::env::VarError;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use gdn_http::{Gate, HttpConfig, UnixListenerSpec};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// The group that may speak to the engine, where the host has it.
pub(crate) const GROUP: &str = "garden";

/// The variable that names the descriptor of a socket which listens already.
const INHERITED: &str = "SOCKET2ME_FD";

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

/// Begins to listen, if there is anything to listen on: a socket that was inherited takes the place of all others, as with the
/// reference engine.
pub(super) async fn open(settings: &GardenSettings) -> anyhow::Result<Option<Gate>> {
    let GardenSettings { read_header_timeout, max_connections, .. } = *settings;
    if let Some(listener) = inherited(std::env::var(INHERITED))? {
        let inherited = Some(listener);
        let config = HttpConfig { unix: None, tcp: None, inherited, read_header_timeout, max_connections };
        let gate = Gate::open(config).await.with_context(|| format!("cannot use {INHERITED}"))?;
        tracing::info!("listening for Garden's clients on a socket that was inherited");
        return Ok(Some(gate));
    }
    if settings.socket.is_none() && settings.tcp.is_none() {
        return Ok(None);
    }
    let group = group()?;
    let unix = settings.socket.as_ref().map(|path| UnixListenerSpec {
        path: path.clone(),
        mode: settings.socket_mode,
        group,
    });
    let config =
        HttpConfig { unix, tcp: settings.tcp, inherited: None, read_header_timeout, max_connections };
    let gate = Gate::open(config).await.context("cannot listen for Garden's clients")?;
    if let Some(address) = gate.tcp_addr() {
        tracing::info!(%address, "listening for Garden's clients, without any protection");
    }
    Ok(Some(gate))
}

/// The socket whose descriptor a variable names. It is duplicated: what else has the number is not ours to close.
fn inherited(named: Result<String, VarError>) -> anyhow::Result<Option<OwnedFd>> {
    let text = match named {
        Ok(text) if !text.is_empty() => text,
        Ok(_) | Err(VarError::NotPresent) => return Ok(None),
        Err(error) => return Err(error).context(INHERITED),
    };
    let number = text.parse::<u32>().ok().and_then(|number| i32::try_from(number).ok());
    let number = number.with_context(|| format!("{INHERITED} {text:?} is no number of a descriptor"))?;
    let ourselves = pidfd_open(getpid(), PidfdFlags::empty()).context("open our own process")?;
    let socket = pidfd_getfd(ourselves, number, PidfdGetfdFlags::empty());
    socket.map(Some).with_context(|| format!("{INHERITED} {text} is no open descriptor"))
}

/// The number of the group, where the host's own list has it.
pub(crate) fn group() -> anyhow::Result<Option<u32>> {
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
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_variable_names_a_socket_or_nothing() {
        assert!(inherited(Err(VarError::NotPresent)).unwrap().is_none());
        assert!(inherited(Ok(String::new())).unwrap().is_none());
        for wrong in ["x", "-1", "1048575"] {
            let error = inherited(Ok(wrong.to_owned())).unwrap_err();
            assert!(format!("{error:#}").contains(wrong), "{error:#}");
        }
        let file = fs::File::open("/dev/null").unwrap();
        assert!(inherited(Ok(file.as_raw_fd().to_string())).unwrap().is_some());
    }

    #[test]
    fn the_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\ngardeners:x:7:\ngarden:x:993:a,b\n";
        assert_eq!(number(groups), Some(993));
        assert_eq!(number("root:x:0:garden\n"), None);
        assert_eq!(number("garden:x\n"), None);
    }
}
