//! What can be handed out: addresses and ports, in one place and under one lock.

use gdn_ipam::{Lease, Network, PortPool, Prefix, PrefixPool, Subnet, SubnetPool};
use gdn_types::{Error, ErrorKind, NetIn, PoolUsage, PortMapping, Result, Transport};

use crate::config::NetworkerConfig;
use crate::store::LastPorts;

/// All pools of an engine.
#[derive(Debug)]
pub(crate) struct Pools {
    subnets: SubnetPool,
    prefixes: Option<PrefixPool>,
    tcp: PortPool,
    udp: PortPool,
    refused: Refused,
}

/// How many calls each pool refused because it was empty.
#[derive(Debug, Default)]
struct Refused {
    subnets: u64,
    prefixes: u64,
    tcp: u64,
    udp: u64,
}

/// The addresses of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) lease: Lease,
    pub(crate) prefix: Option<Prefix>,
}

impl Pools {
    /// Pools of which nothing is in use. `last` are the host ports that an earlier life handed out last. A number is a port of
    /// each protocol, so each has a pool of its own.
    pub(crate) fn new(config: &NetworkerConfig, last: LastPorts) -> Result<Self> {
        let ports = |last: Option<u16>| {
            let first = last.and_then(|port| port.checked_add(1));
            PortPool::new(config.port_pool_start, config.port_pool_size, first).map_err(refused)
        };
        let prefixes = match config.pool6 {
            Some((range, length)) => Some(PrefixPool::new(range, length).map_err(refused)?),
            None => None,
        };
        Ok(Pools {
            subnets: SubnetPool::new(config.pool),
            prefixes,
            tcp: ports(last.tcp)?,
            udp: ports(last.udp)?,
            refused: Refused::default(),
        })
    }

    /// Takes addresses, of both families or of none.
    pub(crate) fn take_addresses(&mut self, network: &Network) -> gdn_ipam::Result<Addresses> {
        let lease = self.subnets.acquire(network)?;
        let prefix = match &mut self.prefixes {
            None => None,
            Some(pool) => match pool.acquire() {
                Ok(prefix) => Some(prefix),
                Err(error) => {
                    self.subnets.release(&lease);
                    return Err(error);
                }
            },
        };
        Ok(Addresses { lease, prefix })
    }

    /// The refusal of addresses, counted if there was none left: in the pool, or in the network that was named.
    pub(crate) fn refuse(&mut self, error: gdn_ipam::Error) -> Error {
        match error {
            gdn_ipam::Error::NoSubnet | gdn_ipam::Error::NoAddress => self.refused.subnets += 1,
            gdn_ipam::Error::NoPrefix => self.refused.prefixes += 1,
            _ => {}
        }
        refused(error)
    }

    /// Whether a container has an address of the subnet.
    pub(crate) fn has(&self, subnet: Subnet) -> bool {
        self.subnets.has(subnet)
    }

    /// Takes back what an earlier life handed out.
    pub(crate) fn adopt_addresses(&mut self, addresses: Addresses) -> Result<()> {
        self.subnets.adopt(addresses.lease).map_err(refused)?;
        match (&mut self.prefixes, addresses.prefix) {
            (Some(pool), Some(prefix)) => pool.adopt(prefix).map_err(refused),
            _ => Ok(()),
        }
    }

    pub(crate) fn give_back_addresses(&mut self, addresses: Addresses) {
        self.subnets.release(&addresses.lease);
        if let (Some(pool), Some(prefix)) = (&mut self.prefixes, addresses.prefix) {
            pool.release(prefix);
        }
    }

    /// Takes the host port that was asked for, or the next.
    pub(crate) fn take_port(&mut self, request: NetIn) -> Result<PortMapping> {
        let transport = request.transport;
        let pool = self.ports(transport);
        let taken = match request.host_port {
            0 => pool.acquire(),
            port => pool.acquire_exactly(port).map(|()| port),
        };
        let host_port = taken.map_err(|error| {
            if error.is_exhaustion() {
                match transport {
                    Transport::Tcp => self.refused.tcp += 1,
                    Transport::Udp => self.refused.udp += 1,
                }
            }
            refused(error)
        })?;
        let container_port = if request.container_port == 0 { host_port } else { request.container_port };
        Ok(PortMapping { host_port, container_port, transport })
    }

    /// Takes all ports of a list, or none.
    pub(crate) fn take_ports(&mut self, requests: &[NetIn]) -> Result<Vec<PortMapping>> {
        let mut taken = Vec::with_capacity(requests.len());
        for request in requests {
            match self.take_port(*request) {
                Ok(mapping) => taken.push(mapping),
                Err(error) => {
                    self.give_back_ports(&taken);
                    return Err(error);
                }
            }
        }
        Ok(taken)
    }

    /// Takes back a port that an earlier life handed out.
    pub(crate) fn adopt_port(&mut self, port: PortMapping) -> Result<()> {
        self.ports(port.transport).acquire_exactly(port.host_port).map_err(refused)
    }

    pub(crate) fn give_back_ports(&mut self, ports: &[PortMapping]) {
        for port in ports {
            self.ports(port.transport).release(port.host_port);
        }
    }

    fn ports(&mut self, transport: Transport) -> &mut PortPool {
        match transport {
            Transport::Tcp => &mut self.tcp,
            Transport::Udp => &mut self.udp,
        }
    }

    /// How full each pool is, and how often one was empty.
    pub(crate) fn usage(&self) -> Vec<PoolUsage> {
        let usage = |name: &str, size: u64, in_use: usize, exhausted| PoolUsage {
            name: name.to_owned(),
            size,
            in_use: u64::try_from(in_use).unwrap_or(u64::MAX),
            exhausted,
        };
        // Networks that clients name are none of the pool's.
        let range = self.subnets.range();
        let subnets = self.subnets.in_use().filter(|lease| range.overlaps(lease.subnet)).count();
        let ports = |name, pool: &PortPool, exhausted| {
            usage(name, pool.size().into(), usize::from(pool.size()) - pool.free(), exhausted)
        };
        let mut all = vec![usage("subnets", self.subnets.capacity(), subnets, self.refused.subnets)];
        if let Some(pool) = &self.prefixes {
            all.push(usage("ipv6-prefixes", pool.capacity(), pool.in_use().count(), self.refused.prefixes));
        }
        all.push(ports("tcp-ports", &self.tcp, self.refused.tcp));
        all.push(ports("udp-ports", &self.udp, self.refused.udp));
        all
    }

    /// How many containers the pools serve in all.
    pub(crate) fn capacity(&self) -> u64 {
        let prefixes = self.prefixes.as_ref().map_or(u64::MAX, PrefixPool::capacity);
        self.subnets.capacity().min(prefixes)
    }
}

/// A pool's refusal in the engine's words; the text is kept, clients know it.
pub(crate) fn refused(error: gdn_ipam::Error) -> Error {
    let kind = if error.is_exhaustion() {
        ErrorKind::ResourceExhausted
    } else if error.is_conflict() {
        ErrorKind::AlreadyExists
    } else {
        ErrorKind::InvalidArgument
    };
    Error::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use gdn_types::EngineId;

    use super::*;

    fn pools() -> Pools {
        let mut config =
            NetworkerConfig::new(EngineId::from_bits(1), "/x".into(), "10.254.0.0/29".parse().unwrap());
        config.pool6 = Some(("fd00::/126".parse().unwrap(), 126));
        config.port_pool_size = 2;
        Pools::new(&config, LastPorts { tcp: Some(61001), udp: None }).unwrap()
    }

    fn usage(pools: &Pools) -> Vec<(&'static str, u64, u64, u64)> {
        let name = |name: &str| {
            ["subnets", "ipv6-prefixes", "tcp-ports", "udp-ports"]
                .into_iter()
                .find(|known| *known == name)
                .unwrap()
        };
        pools.usage().iter().map(|pool| (name(&pool.name), pool.size, pool.in_use, pool.exhausted)).collect()
    }

    #[test]
    fn addresses_of_both_families_are_taken_or_none() {
        let mut pools = pools();
        let first = pools.take_addresses(&Network::Dynamic).unwrap();
        assert!(first.prefix.is_some());
        let error = pools.take_addresses(&Network::Dynamic).unwrap_err();
        assert_eq!(error, gdn_ipam::Error::NoPrefix);
        assert_eq!(pools.refuse(error).kind(), ErrorKind::ResourceExhausted);
        assert_eq!(
            usage(&pools),
            [
                ("subnets", 2, 1, 0),
                ("ipv6-prefixes", 1, 1, 1),
                ("tcp-ports", 2, 0, 0),
                ("udp-ports", 2, 0, 0)
            ]
        );
        pools.give_back_addresses(first);
        assert_eq!(pools.take_addresses(&Network::Dynamic).unwrap(), first);
        assert_eq!(pools.capacity(), 1);
    }

    #[test]
    fn ports_of_a_list_are_taken_or_none() {
        let mut pools = pools();
        let wanted = |host_port, container_port| NetIn { host_port, container_port, ..NetIn::default() };
        let error = pools.take_ports(&[wanted(80, 0), wanted(0, 8080), wanted(80, 1)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let taken = pools.take_ports(&[wanted(80, 0), wanted(0, 8080), wanted(0, 0)]).unwrap();
        let pairs: Vec<_> = taken.iter().map(|port| (port.host_port, port.container_port)).collect();
        // The port given back by the failed list is the last in the queue.
        assert_eq!(pairs, [(80, 80), (61001, 8080), (61002, 61002)]);
        assert_eq!(pools.take_port(wanted(0, 0)).unwrap_err().to_string(), "port pool is exhausted");
        assert_eq!(usage(&pools)[2..], [("tcp-ports", 2, 2, 1), ("udp-ports", 2, 0, 0)]);
        // A number is a port of each protocol.
        let udp = NetIn { transport: Transport::Udp, ..wanted(80, 0) };
        assert_eq!(pools.take_port(udp).unwrap().host_port, 80);
        assert_eq!(pools.take_port(udp).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(pools.take_port(NetIn { host_port: 0, ..udp }).unwrap().host_port, 61001);
    }
}
