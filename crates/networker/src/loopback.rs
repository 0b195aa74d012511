//! Containers with loopback only.

use std::os::fd::OwnedFd;

use async_trait::async_trait;
use gdn_traits::{NetworkInfo, NetworkRequest, Networker, Sandbox};
use gdn_types::{
    BandwidthLimits, ContainerId, Error, NetIn, NetOutRule, NetRules, NetworkMode, NetworkStat, PoolUsage,
    PortMapping, Properties, Result,
};

/// Containers with loopback only.
#[derive(Debug, Default)]
pub struct LoopbackNetworker(());

impl LoopbackNetworker {
    /// A networker without state.
    pub fn new() -> Self {
        LoopbackNetworker(())
    }
}

#[async_trait]
impl Networker for LoopbackNetworker {
    async fn reserve(&self, _id: &ContainerId, request: &NetworkRequest) -> Result<NetworkInfo> {
        match &request.mode {
            NetworkMode::None | NetworkMode::Default => {}
            NetworkMode::Pool(network) => {
                return Err(Error::not_yet(&format!(
                    "the network {network:?} (use `none`): a container's address"
                )));
            }
        }
        if let Some(port) = request.netin.first() {
            return Err(Error::not_yet(&format!("mapping host port {}", port.host_port)));
        }
        if request.bandwidth.rate > 0 {
            return Err(no_rate());
        }
        if !request.netout.is_empty() {
            return Err(no_rules());
        }
        if let Some(egress) = request.wanted_egress()? {
            return Err(Error::not_yet(&format!(
                "the egress {:?} of a container without a network",
                egress.name()
            )));
        }
        Ok(NetworkInfo::default())
    }

    async fn attach(&self, _id: &ContainerId, _sandbox: &Sandbox) -> Result<Option<NetworkInfo>> {
        Ok(None)
    }

    async fn destroy(&self, _id: &ContainerId) -> Result<()> {
        Ok(())
    }

    async fn restore(&self, _known: &[(ContainerId, Properties)]) -> Result<()> {
        Ok(())
    }

    async fn net_in(&self, _id: &ContainerId, request: NetIn) -> Result<NetIn> {
        Err(Error::not_yet(&format!("mapping host port {}", request.host_port)))
    }

    async fn unmap(&self, _id: &ContainerId, _mapping: NetIn) -> Result<()> {
        Ok(())
    }

    async fn net_out(&self, _id: &ContainerId, _rules: Vec<NetOutRule>) -> Result<()> {
        Err(no_rules())
    }

    async fn net_replace(
        &self,
        _id: &ContainerId,
        _rules: Vec<NetOutRule>,
        _expected: Option<u64>,
    ) -> Result<u64> {
        Err(Error::not_yet("replacing the rules of a container without a network"))
    }

    async fn net_rules(&self, _id: &ContainerId) -> Result<NetRules> {
        Ok(NetRules::default())
    }

    async fn limit_bandwidth(&self, _id: &ContainerId, _limits: BandwidthLimits) -> Result<()> {
        Err(no_rate())
    }

    async fn bandwidth(&self, _id: &ContainerId) -> Result<BandwidthLimits> {
        Ok(BandwidthLimits::default())
    }

    async fn metrics(&self, _id: &ContainerId) -> Result<Option<NetworkStat>> {
        Ok(None)
    }

    fn mapped_ports(&self, _id: &ContainerId) -> Option<Vec<PortMapping>> {
        None
    }

    fn capacity(&self) -> u64 {
        u64::MAX
    }

    fn pools(&self) -> Vec<PoolUsage> {
        Vec::new()
    }

    fn netns(&self, _id: &ContainerId) -> Option<OwnedFd> {
        None
    }
}

fn no_rules() -> Error {
    Error::not_yet("opening destinations of a container without a network")
}

fn no_rate() -> Error {
    Error::not_yet("limiting the network of a container without one")
}
