//! The networker of the in-memory world.

use std::os::fd::OwnedFd;

use async_trait::async_trait;
use gdn_traits::{NetworkInfo, NetworkRequest, Networker, Sandbox};
use gdn_types::{
    BandwidthLimits, ContainerId, Error, ErrorKind, NetIn, NetOutRule, NetRules, NetworkStat, PoolUsage,
    PortMapping, Properties, Result, keys,
};

use super::Life;
use crate::Point::{After, Before, Halfway};

pub(crate) struct FakeNetworker(pub(crate) Life);

#[async_trait]
impl Networker for FakeNetworker {
    async fn reserve(&self, id: &ContainerId, request: &NetworkRequest) -> Result<NetworkInfo> {
        self.0.point("networker.reserve", Before).await?;
        let address = {
            let mut host = self.0.world.host();
            let taken: Vec<u8> = host.addresses.values().copied().collect();
            let most = host.max_addresses.unwrap_or(u64::from(u8::MAX));
            let free = (1..=u8::MAX).find(|address| !taken.contains(address) && taken.len() < most as usize);
            let address =
                free.ok_or_else(|| Error::new(ErrorKind::ResourceExhausted, "no address is left"))?;
            host.addresses.insert(*id, address);
            address
        };
        self.0.point("networker.reserve", Halfway).await?;
        let mapped_ports = {
            let mut host = self.0.world.host();
            let mapped =
                request.netin.iter().map(|netin| host.map_port(id, *netin).ok_or_else(|| taken(*netin)));
            mapped.collect::<Result<Vec<_>>>()?
        };
        if request.bandwidth != BandwidthLimits::default() {
            self.0.world.host().bandwidths.insert(*id, request.bandwidth);
        }
        self.0.point("networker.reserve", After).await?;
        let container_ip = format!("10.254.0.{address}");
        let properties = Properties::from_pairs([(keys::CONTAINER_IP, container_ip.as_str())])?;
        Ok(NetworkInfo {
            properties,
            mapped_ports,
            host_ip: "10.254.0.0".to_owned(),
            container_ip,
            ..NetworkInfo::default()
        })
    }

    async fn attach(&self, id: &ContainerId, _sandbox: &Sandbox) -> Result<Option<NetworkInfo>> {
        self.0.point("networker.attach", Before).await?;
        self.0.world.host().rules.insert(*id);
        self.0.point("networker.attach", Halfway).await?;
        self.0.world.host().links.insert(*id);
        self.0.point("networker.attach", After).await?;
        Ok(None)
    }

    async fn destroy(&self, id: &ContainerId) -> Result<()> {
        self.0.point("networker.destroy", Before).await?;
        {
            let mut host = self.0.world.host();
            host.rules.remove(id);
            host.links.remove(id);
            host.bandwidths.remove(id);
        }
        self.0.point("networker.destroy", Halfway).await?;
        {
            let mut host = self.0.world.host();
            host.addresses.remove(id);
            host.ports.remove(id);
        }
        self.0.point("networker.destroy", After).await
    }

    async fn restore(&self, known: &[(ContainerId, Properties)]) -> Result<()> {
        self.0.point("networker.restore", Before).await?;
        {
            let mut host = self.0.world.host();
            let is_known = |id: &ContainerId| known.iter().any(|(known, _)| known == id);
            host.rules.retain(is_known);
            host.links.retain(is_known);
            host.bandwidths.retain(|id, _| is_known(id));
            host.addresses.retain(|id, _| is_known(id));
            host.ports.retain(|id, _| is_known(id));
            for (id, properties) in known {
                let address = properties.get(keys::CONTAINER_IP).and_then(|ip| ip.rsplit_once('.'));
                if let Some(address) = address.and_then(|(_, last)| last.parse().ok()) {
                    host.addresses.insert(*id, address);
                }
            }
        }
        self.0.point("networker.restore", Halfway).await?;
        self.0.point("networker.restore", After).await
    }

    async fn net_in(&self, id: &ContainerId, request: NetIn) -> Result<NetIn> {
        self.0.point("networker.net_in", Before).await?;
        let mapping = self.0.world.host().map_port(id, request).ok_or_else(|| taken(request))?;
        self.0.point("networker.net_in", Halfway).await?;
        self.0.point("networker.net_in", After).await?;
        let PortMapping { host_port, container_port, transport } = mapping;
        Ok(NetIn { host_port, container_port, transport })
    }

    async fn unmap(&self, id: &ContainerId, mapping: NetIn) -> Result<()> {
        self.0.point("networker.unmap", Before).await?;
        let NetIn { host_port, container_port, transport } = mapping;
        let mapping = PortMapping { host_port, container_port, transport };
        if let Some(ports) = self.0.world.host().ports.get_mut(id) {
            ports.retain(|port| *port != mapping);
        }
        self.0.point("networker.unmap", After).await
    }

    async fn net_out(&self, _id: &ContainerId, _rules: Vec<NetOutRule>) -> Result<()> {
        for point in crate::Point::ALL {
            self.0.point("networker.net_out", point).await?;
        }
        Ok(())
    }

    async fn net_replace(
        &self,
        _id: &ContainerId,
        _rules: Vec<NetOutRule>,
        expected: Option<u64>,
    ) -> Result<u64> {
        for point in [Before, Halfway, After] {
            self.0.point("networker.net_replace", point).await?;
        }
        Ok(expected.unwrap_or_default() + 1)
    }

    async fn net_rules(&self, _id: &ContainerId) -> Result<NetRules> {
        self.0.point("networker.net_rules", Before).await?;
        Ok(NetRules::default())
    }

    async fn limit_bandwidth(&self, id: &ContainerId, limits: BandwidthLimits) -> Result<()> {
        self.0.point("networker.limit_bandwidth", Before).await?;
        self.0.world.host().bandwidths.insert(*id, limits);
        self.0.point("networker.limit_bandwidth", After).await
    }

    async fn bandwidth(&self, id: &ContainerId) -> Result<BandwidthLimits> {
        self.0.point("networker.bandwidth", Before).await?;
        Ok(self.0.world.host().bandwidths.get(id).copied().unwrap_or_default())
    }

    async fn metrics(&self, id: &ContainerId) -> Result<Option<NetworkStat>> {
        self.0.point("networker.metrics", Before).await?;
        Ok(self.0.world.host().links.contains(id).then(NetworkStat::default))
    }

    fn mapped_ports(&self, id: &ContainerId) -> Option<Vec<PortMapping>> {
        Some(self.0.world.host().ports.get(id).cloned().unwrap_or_default())
    }

    fn capacity(&self) -> u64 {
        self.0.world.host().max_addresses.unwrap_or(u64::from(u8::MAX))
    }

    fn pools(&self) -> Vec<PoolUsage> {
        Vec::new()
    }

    fn netns(&self, _id: &ContainerId) -> Option<OwnedFd> {
        None
    }
}

fn taken(request: NetIn) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("host port {} is taken", request.host_port))
}
