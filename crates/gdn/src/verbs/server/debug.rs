//! The server's options about the port for operators. Names and defaults are those of the reference engine.

use std::net::{IpAddr, SocketAddr};

use clap::Args;

/// Where operators are listened to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Figures")]
pub(super) struct DebugOptions {
    /// Address to serve figures at (/metrics, /debug/vars) and the level of the log (/log-level) [default: none]
    #[arg(long, value_name = "IP")]
    debug_bind_ip: Option<IpAddr>,
    /// Port of that address; 0 = any free one
    #[arg(long, value_name = "PORT", default_value_t = 17013)]
    debug_bind_port: u16,
}

impl DebugOptions {
    /// The address, if one is asked for.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.debug_bind_ip.map(|ip| SocketAddr::new(ip, self.debug_bind_port))
    }
}
