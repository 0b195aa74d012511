//! Ports and firewall rules of a container that exists.

use std::sync::Arc;

use gdn_types::{
    BandwidthChange, BandwidthLimits, Handle, NetIn, NetOutRule, NetRules, PortMapping, Result, keys,
};

use crate::container::Container;
use crate::{Gardener, ports};

impl Gardener {
    /// Maps a host port, and answers which. Goes on even if the caller goes away.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; `Lost`; what the networker answers.
    pub async fn net_in(self: &Arc<Self>, handle: &Handle, request: NetIn) -> Result<NetIn> {
        let (container, hold) = self.hold_living(handle)?;
        let gardener = Arc::clone(self);
        let map = async move {
            let _hold = hold;
            gardener.map_port(&container, request).await
        };
        self.to_its_end("net_in", map).await
    }

    /// Adds firewall rules, all or none. Goes on even if the caller goes away.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; `Lost`; what the networker answers.
    pub async fn net_out(self: &Arc<Self>, handle: &Handle, rules: Vec<NetOutRule>) -> Result<()> {
        let (container, hold) = self.hold_living(handle)?;
        let gardener = Arc::clone(self);
        let add = async move {
            let _hold = hold;
            let _alone = container.network.lock().await;
            container.must_live()?;
            let add = gardener.components.networker.net_out(&container.id, rules);
            gardener.faults.caught("networker.net_out", add).await
        };
        self.to_its_end("net_out", add).await
    }

    /// Puts rules in the place of all that were added, and answers their generation. Goes on even if the caller goes away.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; `Lost`; what the networker answers.
    pub async fn net_replace(
        self: &Arc<Self>,
        handle: &Handle,
        rules: Vec<NetOutRule>,
        expected: Option<u64>,
    ) -> Result<u64> {
        let (container, hold) = self.hold_living(handle)?;
        let gardener = Arc::clone(self);
        let replace = async move {
            let _hold = hold;
            let _alone = container.network.lock().await;
            container.must_live()?;
            let replace = gardener.components.networker.net_replace(&container.id, rules, expected);
            gardener.faults.caught("networker.net_replace", replace).await
        };
        self.to_its_end("net_replace", replace).await
    }

    /// The rules in force; of a lost container, those that were.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; what the networker answers.
    pub async fn net_rules(self: &Arc<Self>, handle: &Handle) -> Result<NetRules> {
        let (container, _hold) = self.hold(handle)?;
        container.must_stay()?;
        let rules = self.components.networker.net_rules(&container.id);
        self.faults.caught("networker.net_rules", rules).await
    }

    /// Changes the limits of a container's network, and answers those before if there is a change.
    pub(crate) async fn limit_network(
        &self,
        container: &Container,
        change: BandwidthChange,
    ) -> Result<Option<BandwidthLimits>> {
        if change == BandwidthChange::default() {
            return Ok(None);
        }
        let _alone = container.network.lock().await;
        container.must_live()?;
        let networker = &self.components.networker;
        let before = self.faults.caught("networker.bandwidth", networker.bandwidth(&container.id)).await?;
        let limit = networker.limit_bandwidth(&container.id, before.changed(change));
        self.faults.caught("networker.limit_bandwidth", limit).await?;
        Ok(Some(before))
    }

    /// Puts earlier limits in force again, because what was to change with them could not.
    pub(crate) async fn limit_network_again(&self, container: &Container, before: Option<BandwidthLimits>) {
        let Some(before) = before else { return };
        let _alone = container.network.lock().await;
        if container.must_live().is_err() {
            return;
        }
        let limit = self.components.networker.limit_bandwidth(&container.id, before);
        if let Err(error) = self.faults.caught("networker.limit_bandwidth", limit).await {
            tracing::error!(handle = %container.handle, %error, "the limits of a network are not what they were");
        }
    }

    async fn map_port(&self, container: &Container, request: NetIn) -> Result<NetIn> {
        let _alone = container.network.lock().await;
        // A destroy may have been taken while we waited; it removes the network after us or before, never meanwhile.
        container.must_live()?;
        let map = self.components.networker.net_in(&container.id, request);
        let mapped = self.faults.caught("networker.net_in", map).await?;
        let mut mappings = container.status().mapped_ports.clone();
        let NetIn { host_port, container_port, transport } = mapped;
        mappings.push(PortMapping { host_port, container_port, transport });
        let text = ports::to_json(&mappings);
        let set = self.components.properties.set(&container.handle, keys::MAPPED_PORTS, &text);
        if let Err(error) = self.faults.caught("properties.set", set).await {
            // What nobody is told of must not lead into the container.
            let unmap = self.components.networker.unmap(&container.id, mapped);
            if let Err(error) = self.faults.caught("networker.unmap", unmap).await {
                tracing::error!(handle = %container.handle, host_port, %error, "a port stays mapped that nobody knows of");
            }
            return Err(error);
        }
        container.status().mapped_ports = mappings;
        Ok(mapped)
    }
}
