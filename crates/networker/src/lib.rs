//! The networker component: addresses, a link to the host, a firewall.
//!
//! What it is: [`KernelNetworker`] gives each container an address out of a pool, a point-to-point link to the host made over
//! netlink, and a chain in one nftables table of the engine's own. [`LoopbackNetworker`] gives it a network namespace with
//! the loopback interface and nothing else (the mode `none`), for engines that have no pool. [`PluginNetworker`] leaves all of
//! it to an external program, by the protocol of the reference engine.
//!
//! What it is not: no bridge, no proxy for ports, no name server. Without a plug-in no program is run.
//!
//! # Invariants
//! - A container's rules are in force before its link exists, and its link before one byte of its image runs.
//! - What is handed out is written down first. An address is handed out again only when the link of its last holder is gone.
//! - Every link, the table and its chains carry the engine's id; what carries another's is not touched.
//!
//! # Limitations
//! `127.0.0.1` on the host does not serve mapped ports.

mod component;
mod config;
mod files;
mod firewall;
mod host;
mod leaving;
mod links;
mod loopback;
mod netout;
mod plugin;
mod pools;
mod record;
mod store;
mod watch;

pub use component::KernelNetworker;
pub use config::{DnsConfig, Egress, NetworkerConfig};
pub use gdn_ipam::{Prefix, Subnet};
pub use loopback::LoopbackNetworker;
pub use plugin::{Plugin, PluginConfig, PluginNetworker, has_plugin_networks};
pub use store::has_networks;
