//! What the engine tells about a container and about itself.

use crate::{HostIds, Properties, Transport};

/// A container as clients see it. Garden: `ContainerInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerInfo {
    /// Where it is in its life.
    pub state: LifeState,
    /// Why it is destroying or lost, for a person; empty otherwise.
    pub reason: String,
    /// Things that happened to it, oldest first; `Out of memory` is the one clients look for.
    pub events: Vec<String>,
    /// The gateway's address; empty without a network.
    pub host_ip: String,
    /// The container's address; empty without a network.
    pub container_ip: String,
    /// The container's IPv6 address; empty without one.
    pub container_ipv6: String,
    /// The address by which others reach the mapped ports.
    pub external_ip: String,
    /// Where the engine keeps the container's files.
    pub container_path: String,
    /// Names of the processes that run.
    pub process_ids: Vec<String>,
    /// All properties, the engine's own included.
    pub properties: Properties,
    /// The mapped ports.
    pub mapped_ports: Vec<PortMapping>,
    /// The command the image names; empty when it names none.
    pub image_command: Vec<String>,
    /// Host pid of the container's init; 0 when none runs.
    pub init_pid: u32,
    /// When it was created, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// The host ids that it has for itself; absent when it has no map, or the one that all share.
    pub host_ids: Option<HostIds>,
}

/// Where a container is in its life, as clients see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LifeState {
    /// Processes can be run. Garden: `active`.
    #[default]
    Active,
    /// A stop was asked for; it stays usable. Garden: `stopped`.
    Stopped,
    /// Its kernel objects are gone (the host restarted, or its keeper died): only files and properties are left.
    Lost,
    /// It is being removed, or waits for something that cannot be removed yet.
    Destroying,
}

impl LifeState {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            LifeState::Active => "active",
            LifeState::Stopped => "stopped",
            LifeState::Lost => "lost",
            LifeState::Destroying => "destroying",
        }
    }
}

/// A host port that leads into the container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortMapping {
    /// Port on the host.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// Of which protocol both are.
    pub transport: Transport,
}

/// What this engine can hold. Garden: `Capacity`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
    /// Size of the file system that holds the engine's root, bytes.
    pub disk_bytes: u64,
    /// Size the image store may grow to, bytes.
    pub schedulable_disk_bytes: u64,
    /// The most containers; `u64::MAX` when nothing limits them.
    pub max_containers: u64,
    /// The pools of the network; none without one.
    pub pools: Vec<PoolUsage>,
}

/// Something of which there is so much and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// What it holds: `subnets`, `ipv6-prefixes`, `tcp-ports`, `udp-ports`.
    pub name: String,
    /// How many there are.
    pub size: u64,
    /// How many of them are handed out.
    pub in_use: u64,
    /// How many calls it refused because all were, since the engine started.
    pub exhausted: u64,
}
