//! The networker: addresses, links, firewall.

use std::os::fd::OwnedFd;

use async_trait::async_trait;
use gdn_types::{
    BandwidthLimits, BindMount, ContainerId, Egress, Error, Handle, HostIds, NetIn, NetOutRule, NetRules,
    NetworkMode, NetworkStat, PoolUsage, PortMapping, Properties, Result, keys,
};

use crate::Sandbox;

/// Gives containers a network.
///
/// # The story
///
/// [`reserve`](Self::reserve) takes addresses, ports and names out of the pools, durably, and touches no kernel object.
/// [`attach`](Self::attach) then gives the sandbox its links, addresses, routes and firewall in one go: it returns before one
/// byte of the image or of the client's runs, so there is no moment without rules. [`destroy`](Self::destroy) withdraws the
/// firewall first and gives an address back only when its namespace is gone.
#[async_trait]
pub trait Networker: Send + Sync + 'static {
    /// Reserves what the request needs.
    ///
    /// # Errors
    /// `ResourceExhausted` when a pool is empty; `AlreadyExists` when a requested address or port is taken;
    /// `Unimplemented` for a network mode this networker does not offer.
    async fn reserve(&self, id: &ContainerId, request: &NetworkRequest) -> Result<NetworkInfo>;

    /// Makes the links, addresses and rules in the sandbox's network namespace. Answers what takes the reservation's place
    /// where only now everything is known (a plug-in chooses the addresses); absent: the reservation holds.
    async fn attach(&self, id: &ContainerId, sandbox: &Sandbox) -> Result<Option<NetworkInfo>>;

    /// Withdraws everything. Succeeds for an unknown id.
    async fn destroy(&self, id: &ContainerId) -> Result<()>;

    /// Adopts the known containers and removes every other object of this engine.
    async fn restore(&self, known: &[(ContainerId, Properties)]) -> Result<()>;

    /// Maps a host port.
    async fn net_in(&self, id: &ContainerId, request: NetIn) -> Result<NetIn>;

    /// Takes a mapped port away, and ends the connections that came by it. Succeeds for one that is not mapped.
    async fn unmap(&self, id: &ContainerId, mapping: NetIn) -> Result<()>;

    /// Adds rules, all or none.
    async fn net_out(&self, id: &ContainerId, rules: Vec<NetOutRule>) -> Result<()>;

    /// Puts rules in the place of all that were added, in one step, and answers their generation. Connections that the
    /// container began under the old ones are judged anew.
    ///
    /// # Errors
    /// `FailedPrecondition` when `expected` is given and is not the generation of the rules in force.
    async fn net_replace(
        &self,
        id: &ContainerId,
        rules: Vec<NetOutRule>,
        expected: Option<u64>,
    ) -> Result<u64>;

    /// The rules in force.
    async fn net_rules(&self, id: &ContainerId) -> Result<NetRules>;

    /// Limits what the container sends and receives from now on, durably; default limits take the limit away.
    ///
    /// # Errors
    /// `FailedPrecondition` for a container without a network.
    async fn limit_bandwidth(&self, id: &ContainerId, limits: BandwidthLimits) -> Result<()>;

    /// The limits of what the container sends and receives; none of ours without a network.
    async fn bandwidth(&self, id: &ContainerId) -> Result<BandwidthLimits>;

    /// Bytes through the container's interface; absent without one.
    async fn metrics(&self, id: &ContainerId) -> Result<Option<NetworkStat>>;

    /// The ports that lead into a known container, oldest first; absent where that is not written down here (a network plug-in).
    fn mapped_ports(&self, id: &ContainerId) -> Option<Vec<PortMapping>>;

    /// How many more containers the pools can serve in all; `u64::MAX` when nothing limits them.
    fn capacity(&self) -> u64;

    /// How full the pools are, and how often one was empty; none without any.
    fn pools(&self) -> Vec<PoolUsage>;

    /// Opens the network namespace of a known container's sandbox for a caller that wants to join it; absent if none.
    fn netns(&self, id: &ContainerId) -> Option<OwnedFd>;
}

/// What a container asks of the network.
#[derive(Clone, Debug)]
pub struct NetworkRequest {
    /// For log prefixes and the hosts file.
    pub handle: Handle,
    /// Whether the host's root is the container's: it owns the files shown inside.
    pub privileged: bool,
    /// The container's own ids on the host; absent: those that all unprivileged containers share.
    pub ids: Option<HostIds>,
    /// Which network.
    pub mode: NetworkMode,
    /// Ports to map.
    pub netin: Vec<NetIn>,
    /// Rules to begin with.
    pub netout: Vec<NetOutRule>,
    /// What it may reach that no rule allows; absent: what its properties say. [`wanted_egress`](Self::wanted_egress)
    /// answers for both.
    pub egress: Option<Egress>,
    /// Limits of what it sends and receives. A rate without a network is refused.
    pub bandwidth: BandwidthLimits,
    /// The client's properties; those of a plug-in network are among them.
    pub properties: Properties,
}

impl NetworkRequest {
    /// What the client says of egress, in the request or by the property `garden.network.egress`; absent when nothing.
    ///
    /// # Errors
    /// `InvalidArgument` for a property that is none of the words, and for one that says something else than the request.
    pub fn wanted_egress(&self) -> Result<Option<Egress>> {
        let property: Option<Egress> = self.properties.get(keys::EGRESS).map(str::parse).transpose()?;
        match (self.egress, property) {
            (Some(asked), Some(property)) if asked != property => Err(Error::invalid(format!(
                "egress is asked to be {:?}, and the property {} says {:?}",
                asked.name(),
                keys::EGRESS,
                property.name()
            ))),
            (asked, property) => Ok(asked.or(property)),
        }
    }
}

/// What a reservation decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Properties to store on the container (`garden.network.*`).
    pub properties: Properties,
    /// Files to show inside (`/etc/hosts`, `/etc/resolv.conf`).
    pub bind_mounts: Vec<BindMount>,
    /// The ports that were mapped.
    pub mapped_ports: Vec<PortMapping>,
    /// The gateway's address; empty without a network.
    pub host_ip: String,
    /// The container's address; empty without a network.
    pub container_ip: String,
    /// The container's IPv6 address; empty without one.
    pub container_ipv6: String,
    /// The address by which others reach the mapped ports.
    pub external_ip: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_and_its_property_say_of_egress_must_agree() {
        let wanted = |egress: Option<Egress>, property: Option<&str>| {
            let properties = property.map(|value| (keys::EGRESS, value));
            NetworkRequest {
                handle: Handle::parse("h").unwrap(),
                privileged: false,
                ids: None,
                mode: NetworkMode::Default,
                netin: Vec::new(),
                netout: Vec::new(),
                egress,
                bandwidth: BandwidthLimits::default(),
                properties: Properties::from_pairs(properties).unwrap(),
            }
            .wanted_egress()
        };
        assert_eq!(wanted(None, None).unwrap(), None);
        assert_eq!(wanted(Some(Egress::Deny), None).unwrap(), Some(Egress::Deny));
        assert_eq!(wanted(None, Some("deny")).unwrap(), Some(Egress::Deny));
        assert_eq!(wanted(Some(Egress::Allow), Some("allow")).unwrap(), Some(Egress::Allow));
        let message = wanted(Some(Egress::Allow), Some("deny")).unwrap_err().message().to_owned();
        assert!(message.contains("\"allow\"") && message.contains("\"deny\""), "{message}");
        assert!(wanted(Some(Egress::Allow), Some("x")).is_err());
    }
}
