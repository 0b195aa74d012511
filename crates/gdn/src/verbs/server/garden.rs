//! The server's options about the front door for Garden's clients.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::guardian;
use crate::cli::Global;
use crate::server::GardenSettings;

/// Where Garden's clients are listened to. Names are those of the reference engine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Garden API")]
pub(super) struct GardenOptions {
    /// Socket for Garden's clients, of the group "garden" where there is one [default: /run/gdn/garden.sock, or garden.sock
    /// below --root; none with --bind-ip]
    #[arg(long, value_name = "PATH")]
    bind_socket: Option<PathBuf>,
    /// Permission bits of that socket, in octal; who may write to it is as good as root
    #[arg(long, value_name = "MODE", default_value = "0660", value_parser = mode)]
    bind_socket_mode: u32,
    /// Make no socket for Garden's clients
    #[arg(long, conflicts_with = "bind_socket")]
    no_bind_socket: bool,
    /// Address to listen on for Garden's clients, without any protection
    #[arg(long, value_name = "IP")]
    bind_ip: Option<IpAddr>,
    /// Port to listen on at that address; 0 = any free one [default: 7777]
    #[arg(long, value_name = "PORT")]
    bind_port: Option<u16>,
    /// Time for the head of a request to arrive, in seconds or such as 1m; 0 = any time
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = super::interval_or_never)]
    read_header_timeout: Duration,
    /// Connections of Garden's clients at once; a conversation with a process has up to three
    #[arg(long, value_name = "NUMBER", default_value_t = gdn_http::HttpConfig::MAX_CONNECTIONS)]
    max_connections: usize,
}

/// Where nothing is said of the port.
const PORT: u16 = 7777;

impl GardenOptions {
    /// With a start line of Guardian the usual socket is Guardian's, unless a root of its own was given.
    pub(super) fn settings(self, global: &Global, guardian: bool) -> GardenSettings {
        let usual = || match guardian && global.root.is_none() {
            true => PathBuf::from(guardian::SOCKET),
            false => global.garden_socket(),
        };
        let socket = match (self.bind_socket, self.bind_ip, self.no_bind_socket) {
            (Some(path), ..) => Some(path),
            (None, None, false) => Some(usual()),
            (None, ..) => None,
        };
        if let (None, Some(port)) = (self.bind_ip, self.bind_port) {
            tracing::warn!(port, "--bind-port means nothing without --bind-ip");
        }
        GardenSettings {
            socket,
            socket_mode: self.bind_socket_mode,
            tcp: self.bind_ip.map(|ip| SocketAddr::new(ip, self.bind_port.unwrap_or(PORT))),
            read_header_timeout: self.read_header_timeout,
            max_connections: self.max_connections,
        }
    }
}

/// Permission bits in octal.
fn mode(text: &str) -> anyhow::Result<u32> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => anyhow::bail!("{text:?} is no mode, such as 0660"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Command};

    fn settings(arguments: &[&str]) -> GardenSettings {
        let line = ["gdn", "--root", "/r", "server"].iter().chain(arguments).map(Into::into).collect();
        let cli = cli::parse(line).unwrap();
        let Command::Server(server) = cli.command else { panic!("another verb") };
        server.garden.settings(&cli.global, server.guardian.any())
    }

    #[test]
    fn a_socket_is_the_rule_and_an_address_takes_its_place() {
        assert_eq!(settings(&[]).socket, Some(PathBuf::from("/r/garden.sock")));
        let tcp = settings(&["--bind-ip", "127.0.0.1"]);
        assert_eq!((tcp.socket, tcp.tcp), (None, Some("127.0.0.1:7777".parse().unwrap())));
        let both = settings(&["--bind-ip", "::1", "--bind-port", "0", "--bind-socket", "/s"]);
        assert_eq!((both.socket, both.tcp), (Some("/s".into()), Some("[::1]:0".parse().unwrap())));
        // Guardian listens at its socket then.
        let port_alone = settings(&["--bind-port", "1"]);
        assert_eq!((port_alone.socket, port_alone.tcp), (Some(PathBuf::from("/r/garden.sock")), None));
        let none = settings(&["--no-bind-socket"]);
        assert_eq!((none.socket, none.tcp), (None, None));
    }

    #[test]
    fn heads_of_requests_may_take_any_time_if_asked() {
        assert_eq!(settings(&[]).read_header_timeout, Duration::from_secs(30));
        assert_eq!(settings(&["--read-header-timeout", "1.5s"]).read_header_timeout.as_millis(), 1500);
        for never in ["0", "0s", "0m", "0.0h"] {
            assert_eq!(settings(&["--read-header-timeout", never]).read_header_timeout, Duration::MAX);
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("0660").unwrap(), 0o660);
        for wrong in ["", "9", "1777", "rw", "-1"] {
            mode(wrong).unwrap_err();
        }
    }
}
