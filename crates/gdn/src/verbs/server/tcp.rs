//! The server's options about TCP in containers. Names and defaults are those of the reference engine.

use anyhow::Context;
use clap::Args;

/// Settings of TCP, which the kernel keeps for each network namespace: new ones have its own defaults, not the host's values.
#[derive(Debug, Args)]
#[command(next_help_heading = "TCP in containers")]
pub(super) struct TcpOptions {
    /// Seconds of silence before a connection is probed; 0 = as on the host [default: the kernel's; the host's with a start
    /// line of Guardian, and so for all five]
    #[arg(long, value_name = "SECONDS")]
    tcp_keepalive_time: Option<u32>,
    /// Seconds between probes; 0 = as on the host
    #[arg(long, value_name = "SECONDS")]
    tcp_keepalive_interval: Option<u32>,
    /// Probes without an answer that end a connection; 0 = as on the host
    #[arg(long, value_name = "NUMBER")]
    tcp_keepalive_probes: Option<u32>,
    /// Repetitions before another way is looked for; 0 = as on the host
    #[arg(long, value_name = "NUMBER")]
    tcp_retries1: Option<u32>,
    /// Repetitions before a connection is given up; 0 = as on the host
    #[arg(long, value_name = "NUMBER")]
    tcp_retries2: Option<u32>,
}

impl TcpOptions {
    /// The kernel settings of every container whose client does not name them.
    ///
    /// # Errors
    /// A value of the host's that cannot be read.
    pub(super) fn settings(&self, guardian: bool) -> anyhow::Result<Vec<(String, String)>> {
        let given = [
            ("tcp_keepalive_time", self.tcp_keepalive_time),
            ("tcp_keepalive_intvl", self.tcp_keepalive_interval),
            ("tcp_keepalive_probes", self.tcp_keepalive_probes),
            ("tcp_retries1", self.tcp_retries1),
            ("tcp_retries2", self.tcp_retries2),
        ];
        let mut settings = Vec::new();
        for (name, value) in given {
            let value = match value {
                None if !guardian => continue,
                None | Some(0) => of_the_host(name)?,
                Some(value) => value.to_string(),
            };
            settings.push((format!("net.ipv4.{name}"), value));
        }
        Ok(settings)
    }
}

/// The value in this process's own network namespace.
fn of_the_host(name: &str) -> anyhow::Result<String> {
    let path = format!("/proc/sys/net/ipv4/{name}");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_operators_or_the_hosts_or_nobodys() {
        let options = TcpOptions {
            tcp_keepalive_time: Some(17),
            tcp_keepalive_interval: Some(0),
            tcp_keepalive_probes: None,
            tcp_retries1: None,
            tcp_retries2: None,
        };
        let ours = options.settings(false).unwrap();
        assert_eq!(ours[0], ("net.ipv4.tcp_keepalive_time".into(), "17".into()));
        assert_eq!(ours[1].1, of_the_host("tcp_keepalive_intvl").unwrap());
        assert_eq!(ours.len(), 2);
        let guardians = options.settings(true).unwrap();
        assert_eq!((guardians.len(), &guardians[..2]), (5, &ours[..]));
    }
}
