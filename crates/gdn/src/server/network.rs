//! The network of containers, as the settings want it.

use std::sync::Arc;

use anyhow::Context;
use gdn_traits::Networker;
use networker::{
    KernelNetworker, LoopbackNetworker, NetworkerConfig, PluginConfig, PluginNetworker, has_networks,
    has_plugin_networks,
};
use properties::PropertyStore;

use super::layout::Layout;
use super::settings::{NetworkSettings, OwnNetwork, Settings};
use crate::failure::Advised;

/// The networker, and the same one where the engine itself has to close it.
type Opened = (Arc<dyn Networker>, Option<Arc<KernelNetworker>>);

/// Opens what the settings ask for. Networks that another kind of networker made would be lost sight of.
pub(super) fn open(
    settings: &Settings,
    layout: &Layout,
    properties: &PropertyStore,
    root_id: u32,
) -> anyhow::Result<Opened> {
    let store = properties.state();
    let (own, of_plugin) = (has_networks(store), has_plugin_networks(store));
    let for_old = settings.network_of_old.as_ref().filter(|_| own);
    match settings.network.as_ref().or(for_old) {
        Some(NetworkSettings::Own(network)) if !of_plugin => {
            let networker = Arc::new(own_networker(network, layout, properties, root_id)?);
            Ok((networker.clone(), Some(networker)))
        }
        Some(NetworkSettings::Plugin { plugin, dns, external_ip }) if !own => {
            tracing::info!(program = %plugin.program().display(), "networks are made by a plug-in");
            let config = PluginConfig {
                plugin: plugin.clone(),
                engine: properties.engine_id(),
                directory: layout.network.clone(),
                dns: dns.clone(),
                external_ip: *external_ip,
                container_root: (root_id, root_id),
            };
            Ok((Arc::new(PluginNetworker::open(config, store.clone())), None))
        }
        None if !own && !of_plugin => Ok((Arc::new(LoopbackNetworker::new()), None)),
        _ if own => Err(Advised::error(
            "containers of this engine have networks, and no range of addresses is given",
            "start it with --network-pool as before, and destroy those containers first",
        )),
        _ => Err(Advised::error(
            "containers of this engine have networks of a plug-in, and none is given",
            "start it with --network-plugin as before, and destroy those containers first",
        )),
    }
}

fn own_networker(
    network: &OwnNetwork,
    layout: &Layout,
    properties: &PropertyStore,
    root_id: u32,
) -> anyhow::Result<KernelNetworker> {
    let network = network.clone();
    let config = NetworkerConfig {
        engine: properties.engine_id(),
        directory: layout.network.clone(),
        pool: network.pool,
        pool6: network.pool6,
        port_pool_start: network.port_pool_start,
        port_pool_size: network.port_pool_size,
        default_egress: network.default_egress,
        deny_networks: network.deny_networks,
        allow_host_access: network.allow_host_access,
        dns: network.dns,
        external_ip: network.external_ip,
        mtu: network.mtu,
        container_root: (root_id, root_id),
    };
    KernelNetworker::open(config, properties.state().clone())
        .context("cannot start the network of containers")
}
