//! What can be handed out: addresses and ports, in one place and under one lock.

use gdn_ipam::{Lease, Network, PortPool, Prefix, PrefixPool, Subnet, SubnetPool};
use gdn_types::{Error, ErrorKind, NetIn, PortMapping, Result};

use crate::config::NetworkerConfig;

/// All pools of an engine.
#[derive(Debug)]
pub(crate) struct Pools {
    subnets: SubnetPool,
    prefixes: Option<PrefixPool>,
    ports: PortPool,
}

/// The addresses of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) lease: Lease,
    pub(crate) prefix: Option<Prefix>,
}

impl Pools {
    /// Pools of which nothing is in use. `last_port` is the host port that an earlier life handed out last.
    pub(crate) fn new(config: &NetworkerConfig, last_port: Option<u16>) -> Result<Self> {
        let first = last_port.and_then(|port| port.checked_add(1));
        let prefixes = match config.pool6 {
            Some((range, length)) => Some(PrefixPool::new(range, length).map_err(refused)?),
            None => None,
        };
        Ok(Pools {
            subnets: SubnetPool::new(config.pool),
            prefixes,
            ports: PortPool::new(config.port_pool_start, config.port_pool_size, first).map_err(refused)?,
        })
    }

    /// Takes addresses, of both families or of none.
    pub(crate) fn take_addresses(&mut self, network: &Network) -> Result<Addresses> {
        let lease = self.subnets.acquire(network).map_err(refused)?;
        let prefix = match &mut self.prefixes {
            None => None,
            Some(pool) => match pool.acquire() {
                Ok(prefix) => Some(prefix),
                Err(error) => {
                    self.subnets.release(&lease);
                    return Err(refused(error));
                }
            },
        };
        Ok(Addresses { lease, prefix })
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
        let host_port = match request.host_port {
            0 => self.ports.acquire().map_err(refused)?,
            port => {
                self.ports.acquire_exactly(port).map_err(refused)?;
                port
            }
        };
        let container_port = if request.container_port == 0 { host_port } else { request.container_port };
        Ok(PortMapping { host_port, container_port })
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
    pub(crate) fn adopt_port(&mut self, port: u16) -> Result<()> {
        self.ports.acquire_exactly(port).map_err(refused)
    }

    pub(crate) fn give_back_ports(&mut self, ports: &[PortMapping]) {
        for port in ports {
            self.ports.release(port.host_port);
        }
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
        Pools::new(&config, Some(61001)).unwrap()
    }

    #[test]
    fn addresses_of_both_families_are_taken_or_none() {
        let mut pools = pools();
        let first = pools.take_addresses(&Network::Dynamic).unwrap();
        assert!(first.prefix.is_some());
        let error = pools.take_addresses(&Network::Dynamic).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        pools.give_back_addresses(first);
        assert_eq!(pools.take_addresses(&Network::Dynamic).unwrap(), first);
        assert_eq!(pools.capacity(), 1);
    }

    #[test]
    fn ports_of_a_list_are_taken_or_none() {
        let mut pools = pools();
        let wanted = |host_port, container_port| NetIn { host_port, container_port };
        let error = pools.take_ports(&[wanted(80, 0), wanted(0, 8080), wanted(80, 1)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        let taken = pools.take_ports(&[wanted(80, 0), wanted(0, 8080), wanted(0, 0)]).unwrap();
        let pairs: Vec<_> = taken.iter().map(|port| (port.host_port, port.container_port)).collect();
        // The port given back by the failed list is the last in the queue.
        assert_eq!(pairs, [(80, 80), (61001, 8080), (61002, 61002)]);
        assert_eq!(pools.take_port(wanted(0, 0)).unwrap_err().to_string(), "port pool is exhausted");
    }
}
