//! What a networker is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use gdn_ipam::{Prefix, Subnet};
use gdn_types::{EngineId, IpRange};

pub use gdn_types::Egress;

/// What a networker is started with. The defaults are the reference engine's.
#[derive(Clone, Debug)]
pub struct NetworkerConfig {
    /// The engine's name, which all its kernel objects carry.
    pub engine: EngineId,
    /// A directory of its own, for the files that containers see as `/etc/hosts` and `/etc/resolv.conf`.
    pub directory: PathBuf,
    /// The range that IPv4 subnets are handed out of.
    pub pool: Subnet,
    /// The range that IPv6 prefixes are handed out of, and the length of each; absent: containers have IPv4 only.
    pub pool6: Option<(Prefix, u8)>,
    /// The first of the host ports that are handed out.
    pub port_pool_start: u16,
    /// How many host ports are handed out.
    pub port_pool_size: u16,
    /// What a container may reach whose client says nothing about it.
    pub default_egress: Egress,
    /// What no container may reach unless a rule of its own allows it.
    pub deny_networks: Vec<IpRange>,
    /// Whether containers may connect to the host itself.
    pub allow_host_access: bool,
    /// Name servers and names of containers.
    pub dns: DnsConfig,
    /// The address by which others reach mapped ports; absent: the first of the interface that leads out.
    pub external_ip: Option<Ipv4Addr>,
    /// The largest packet; absent: that of the interface that leads out, at most 1500.
    pub mtu: Option<u32>,
    /// Who is root in unprivileged containers, as the host sees it: user and group.
    pub container_root: (u32, u32),
}

/// Name servers and names of containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsConfig {
    /// Name servers in place of the host's.
    pub servers: Vec<IpAddr>,
    /// Name servers behind those.
    pub additional: Vec<IpAddr>,
    /// Lines at the end of `/etc/hosts`.
    pub host_entries: Vec<String>,
}

impl NetworkerConfig {
    /// A networker of an engine on a range of addresses, with the reference engine's defaults for the rest.
    pub fn new(engine: EngineId, directory: PathBuf, pool: Subnet) -> Self {
        NetworkerConfig {
            engine,
            directory,
            pool,
            pool6: None,
            port_pool_start: 61001,
            port_pool_size: 4534,
            default_egress: Egress::Allow,
            deny_networks: Vec::new(),
            allow_host_access: false,
            dns: DnsConfig::default(),
            external_ip: None,
            mtu: None,
            container_root: (0, 0),
        }
    }
}
