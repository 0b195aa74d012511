//! What the engine tells about containers and itself.

use std::collections::BTreeMap;

use gdn_types::{ContainerInfo, Handle, PortMapping, Transport};
use serde::Serialize;

use crate::answer::Fault;

/// An answer that says only that it was done.
#[derive(Debug, Serialize)]
pub(crate) struct Nothing {}

/// The answer to a create.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Created {
    pub(crate) handle: String,
}

/// The answer to a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Handles {
    handles: Vec<String>,
}

impl Handles {
    pub(crate) fn new(handles: &[Handle]) -> Self {
        Handles { handles: handles.iter().map(Handle::to_string).collect() }
    }
}

/// One property.
#[derive(Debug, Serialize)]
pub(crate) struct Property {
    pub(crate) value: String,
}

/// Garden: `CPULimits`.
#[derive(Debug, Serialize)]
pub(crate) struct CpuLimit {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) limit_in_shares: u64,
}

/// Garden: `MemoryLimits`.
#[derive(Debug, Serialize)]
pub(crate) struct MemoryLimit {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) limit_in_bytes: u64,
}

/// Garden: `Capacity`.
#[derive(Debug, Serialize)]
pub(crate) struct Capacity {
    #[serde(skip_serializing_if = "is_zero")]
    memory_in_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    disk_in_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    schedulable_disk_in_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max_containers: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the attribute passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<gdn_types::Capacity> for Capacity {
    fn from(capacity: gdn_types::Capacity) -> Self {
        Capacity {
            memory_in_bytes: capacity.memory_bytes,
            disk_in_bytes: capacity.disk_bytes,
            schedulable_disk_in_bytes: capacity.schedulable_disk_bytes,
            max_containers: capacity.max_containers,
        }
    }
}

/// Garden: `ContainerInfo`. What is absent is `null`, as Go has it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Info {
    state: &'static str,
    events: Option<Vec<String>>,
    #[serde(rename = "HostIP")]
    host_ip: String,
    #[serde(rename = "ContainerIP")]
    container_ip: String,
    #[serde(rename = "ContainerIPv6")]
    container_ipv6: String,
    #[serde(rename = "ExternalIP")]
    external_ip: String,
    container_path: String,
    #[serde(rename = "ProcessIDs")]
    process_ids: Option<Vec<String>>,
    properties: Option<BTreeMap<String, String>>,
    mapped_ports: Option<Vec<MappedPort>>,
    /// Why it is `destroying` or `lost`: ours, and not there otherwise.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MappedPort {
    host_port: u16,
    container_port: u16,
}

impl From<ContainerInfo> for Info {
    fn from(info: ContainerInfo) -> Self {
        let unless_empty = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
        // Clients of this protocol take every port for one of TCP.
        let of_tcp = |port: &PortMapping| port.transport == Transport::Tcp;
        let mapped = |PortMapping { host_port, container_port, .. }: PortMapping| MappedPort {
            host_port,
            container_port,
        };
        Info {
            state: info.state.name(),
            events: unless_empty(info.events),
            host_ip: info.host_ip,
            container_ip: info.container_ip,
            container_ipv6: info.container_ipv6,
            external_ip: info.external_ip,
            container_path: info.container_path,
            process_ids: unless_empty(info.process_ids),
            properties: Some(properties(&info.properties)),
            mapped_ports: Some(info.mapped_ports.into_iter().filter(of_tcp).map(mapped).collect()),
            reason: info.reason,
        }
    }
}

/// Properties in the order of their keys.
pub(crate) fn properties(properties: &gdn_types::Properties) -> BTreeMap<String, String> {
    properties.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Garden: `ContainerInfoEntry`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BulkInfo {
    pub(crate) info: Info,
    pub(crate) err: Option<Fault>,
}
