//! The server's options about the network of containers.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use gdn_types::IpRange;
use networker::{DnsConfig, Egress, Plugin, Prefix, Subnet};

use super::guardian;
use crate::server::{NetworkSettings, OwnNetwork};
use crate::values;

/// Length of the IPv6 prefix of each container, where the range has room for it.
const USUAL_PREFIX: u8 = 64;

/// How containers reach others. Names and defaults are those of the reference engine, where it has them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::verbs) struct NetworkOptions {
    /// Range that containers get their IPv4 addresses out of, such as 10.254.0.0/22; none = they have loopback only
    /// [default: none]
    #[arg(long, value_name = "IP/LENGTH|none", value_parser = pool)]
    network_pool: Option<Pool>,
    /// Range that they get IPv6 prefixes out of, and the length of each [default length: 64, or 126 in a smaller range]
    #[arg(long, value_name = "IP/LENGTH[,LENGTH]", value_parser = prefixes, requires = "network_pool")]
    network_pool6: Option<(Prefix, u8)>,
    /// What containers may reach whose client says nothing: everything that is not denied, or nothing
    #[arg(long, value_name = "allow|deny", default_value = "allow")]
    default_egress: Egress,
    /// Addresses that no container may reach unless a rule of its own allows it; may be repeated
    #[arg(long = "deny-network", value_name = "IP[/LENGTH]|IP-IP", value_parser = values::ip_range)]
    deny_networks: Vec<IpRange>,
    /// Let containers connect to the host itself
    #[arg(long)]
    allow_host_access: bool,
    /// Name server of containers, in place of the host's; may be repeated
    #[arg(long = "dns-server", value_name = "IP")]
    dns_servers: Vec<IpAddr>,
    /// Name server behind those; may be repeated
    #[arg(long = "additional-dns-server", value_name = "IP")]
    additional_dns_servers: Vec<IpAddr>,
    /// Line at the end of /etc/hosts, such as "10.0.0.7 seven"; may be repeated
    #[arg(long = "additional-host-entry", value_name = "LINE", value_parser = line)]
    additional_host_entries: Vec<String>,
    /// Address by which others reach mapped ports [default: the first of the interface that leads out]
    #[arg(long, value_name = "IP")]
    external_ip: Option<Ipv4Addr>,
    /// First of the host ports that are handed out
    #[arg(long, value_name = "PORT", default_value_t = 61001)]
    port_pool_start: u16,
    /// How many host ports are handed out
    #[arg(long, value_name = "NUMBER", default_value_t = 4534)]
    port_pool_size: u16,
    /// Largest packet of containers, in bytes [default: that of the interface that leads out, at most 1500]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1280..=65535))]
    mtu: Option<u32>,
    /// Program that makes the networks of containers in place of the engine: an external networker of the reference engine
    #[arg(long, value_name = "PATH")]
    network_plugin: Option<PathBuf>,
    /// Argument that comes first at every call of it; may be repeated
    #[arg(long = "network-plugin-extra-arg", value_name = "ARGUMENT", allow_hyphen_values = true)]
    network_plugin_extra_args: Vec<String>,
    /// How long a call of it may take
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "60s", requires = "network_plugin")]
    network_plugin_timeout: Duration,
}

/// Where addresses come from.
#[derive(Clone, Copy, Debug)]
enum Pool {
    Absent,
    Range(Subnet),
}

impl NetworkOptions {
    /// The network, if containers have one; with a start line of Guardian they have addresses out of its usual pool.
    pub(in crate::verbs) fn settings(self, guardian: bool) -> anyhow::Result<Option<NetworkSettings>> {
        if self.network_plugin.is_some() {
            anyhow::ensure!(
                self.default_egress == Egress::Allow,
                "--default-egress deny cannot be had with --network-plugin: its protocol has no word for it"
            );
            self.warn_of_what_a_plugin_decides();
        } else if !self.network_plugin_extra_args.is_empty() {
            tracing::warn!("--network-plugin-extra-arg means nothing without --network-plugin");
        }
        let dns = DnsConfig {
            servers: self.dns_servers,
            additional: self.additional_dns_servers,
            host_entries: self.additional_host_entries,
        };
        if let Some(program) = &self.network_plugin {
            let plugin = Plugin::find(program, self.network_plugin_extra_args, self.network_plugin_timeout)?;
            return Ok(Some(NetworkSettings::Plugin { plugin, dns, external_ip: self.external_ip }));
        }
        let pool = match self.network_pool {
            Some(Pool::Range(pool)) => pool,
            None if guardian => guardian::NETWORK_POOL.parse()?,
            Some(Pool::Absent) | None => return Ok(None),
        };
        Ok(Some(NetworkSettings::Own(OwnNetwork {
            pool,
            pool6: self.network_pool6,
            port_pool_start: self.port_pool_start,
            port_pool_size: self.port_pool_size,
            default_egress: self.default_egress,
            deny_networks: self.deny_networks,
            allow_host_access: self.allow_host_access,
            dns,
            external_ip: self.external_ip,
            mtu: self.mtu,
        })))
    }

    /// Start lines of Guardian have these beside a plug-in, where they mean nothing there either.
    fn warn_of_what_a_plugin_decides(&self) {
        let given = [
            ("--network-pool", self.network_pool.is_some()),
            ("--network-pool6", self.network_pool6.is_some()),
            ("--deny-network", !self.deny_networks.is_empty()),
            ("--allow-host-access", self.allow_host_access),
            ("--mtu", self.mtu.is_some()),
        ];
        let given: Vec<&str> = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        if !given.is_empty() {
            tracing::warn!(
                options = given.join(" "),
                "the network plug-in decides this: the options mean nothing"
            );
        }
    }
}

/// `10.254.0.0/22` or `none`.
fn pool(text: &str) -> anyhow::Result<Pool> {
    match text {
        "none" => Ok(Pool::Absent),
        range => Ok(Pool::Range(range.parse()?)),
    }
}

/// `fd00::/48` or `fd00::/48,64`.
fn prefixes(text: &str) -> anyhow::Result<(Prefix, u8)> {
    let (range, length) = match text.split_once(',') {
        Some((range, length)) => (range.parse::<Prefix>()?, length.parse()?),
        None => {
            let range: Prefix = text.parse()?;
            let length = if range.length() <= USUAL_PREFIX { USUAL_PREFIX } else { Prefix::SMALLEST };
            (range, length)
        }
    };
    Ok((range, length))
}

/// One line of a hosts file.
fn line(text: &str) -> anyhow::Result<String> {
    anyhow::ensure!(!text.contains(['\n', '\r', '\0']), "{text:?} is more than one line");
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_prefixes_has_a_length_of_each() {
        for (text, length) in
            [("fd00::/48", 64), ("fd00::/64", 64), ("fd00::/112", 126), ("fd00::/48,80", 80)]
        {
            assert_eq!(prefixes(text).unwrap().1, length, "{text}");
        }
        for wrong in ["", "fd00::", "10.0.0.0/8", "fd00::/48,x", "fd00::/48,"] {
            assert!(prefixes(wrong).is_err(), "{wrong}");
        }
        assert!(line("10.0.0.1 a\n10.0.0.2 b").is_err());
    }
}
