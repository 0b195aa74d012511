//! The form of a container's record on disk.
//!
//! Protobuf, so that a later version may add fields without a migration. A version that changes the meaning of a field
//! raises [`VERSION`]; then earlier builds leave the record alone.

use prost::Message;

/// The latest version that this build reads. 0 is not a version: it marks bytes that are no record.
pub(crate) const VERSION: u32 = 3;

/// The version of a record. One without host ids of its own is what it always was. One with them is not: a build that does
/// not know them would take the container for one of those that share a map, and drop the range when it writes the record.
/// Nor is one with ports of UDP, which such a build would take for ports of TCP.
pub(crate) fn version(record: &Record) -> u32 {
    let ports = record.spec.netin.iter().chain(&record.network.mapped_ports);
    match (ports.clone().any(|port| port.udp), record.ids.is_some()) {
        (true, _) => VERSION,
        (false, true) => 2,
        (false, false) => 1,
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Record {
    #[prost(uint32, tag = "1")]
    pub(crate) version: u32,
    #[prost(string, tag = "2")]
    pub(crate) id: String,
    #[prost(string, tag = "3")]
    pub(crate) handle: String,
    #[prost(uint32, tag = "4")]
    pub(crate) state: u32,
    #[prost(bool, tag = "5")]
    pub(crate) stopped: bool,
    #[prost(message, required, tag = "6")]
    pub(crate) spec: Spec,
    #[prost(message, repeated, tag = "7")]
    pub(crate) properties: Vec<Pair>,
    #[prost(message, required, tag = "8")]
    pub(crate) grace_time: Span,
    #[prost(string, tag = "9")]
    pub(crate) boot_id: String,
    #[prost(uint64, tag = "10")]
    pub(crate) created_at_ms: u64,
    #[prost(message, required, tag = "11")]
    pub(crate) image: Image,
    #[prost(message, required, tag = "12")]
    pub(crate) network: Network,
    /// Absent in records of earlier builds too: the map that all share.
    #[prost(message, optional, tag = "13")]
    pub(crate) ids: Option<Ids>,
    #[prost(message, repeated, tag = "14")]
    pub(crate) events: Vec<Noted>,
}

/// Something that happened. Earlier builds drop it, which loses nothing that they knew.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Noted {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint64, tag = "2")]
    pub(crate) kills: u64,
}

/// A range of host ids.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Ids {
    #[prost(uint32, tag = "1")]
    pub(crate) first: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) count: u32,
}

/// A container specification. The handle is the record's; there is no field for the image's password.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Spec {
    #[prost(bool, tag = "1")]
    pub(crate) has_handle: bool,
    #[prost(message, optional, tag = "2")]
    pub(crate) grace_time: Option<Span>,
    #[prost(string, tag = "3")]
    pub(crate) image_uri: String,
    #[prost(string, tag = "4")]
    pub(crate) image_username: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) bind_mounts: Vec<Bind>,
    #[prost(uint32, tag = "6")]
    pub(crate) network_mode: u32,
    #[prost(string, tag = "7")]
    pub(crate) network_pool: String,
    #[prost(message, repeated, tag = "8")]
    pub(crate) properties: Vec<Pair>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) env: Vec<Pair>,
    #[prost(bool, tag = "10")]
    pub(crate) privileged: bool,
    #[prost(message, required, tag = "11")]
    pub(crate) limits: LimitSet,
    #[prost(message, repeated, tag = "12")]
    pub(crate) netin: Vec<Ports>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) netout: Vec<Rule>,
    #[prost(message, repeated, tag = "14")]
    pub(crate) sysctls: Vec<Pair>,
    #[prost(string, tag = "15")]
    pub(crate) seccomp: String,
    /// 0 (as in records of earlier builds) = strict, 1 = garden.
    #[prost(uint32, tag = "16")]
    pub(crate) capabilities: u32,
    #[prost(string, tag = "17")]
    pub(crate) apparmor: String,
    /// 0 (as in records of earlier builds) = nothing was said, 1 = allow, 2 = deny.
    #[prost(uint32, tag = "18")]
    pub(crate) egress: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Pair {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(uint64, tag = "1")]
    pub(crate) seconds: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) nanos: u32,
}

/// Paths are bytes: Linux does not promise UTF-8.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Bind {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) source: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) target: Vec<u8>,
    #[prost(bool, tag = "3")]
    pub(crate) writable: bool,
    #[prost(bool, tag = "4")]
    pub(crate) from_container: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct LimitSet {
    #[prost(uint64, tag = "1")]
    pub(crate) bandwidth_rate: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) bandwidth_burst: u64,
    /// 0 = not given.
    #[prost(uint64, tag = "3")]
    pub(crate) cpu_shares: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) cpu_quota_us: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) disk_bytes: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) disk_inodes: u64,
    #[prost(bool, tag = "7")]
    pub(crate) disk_exclusive: bool,
    #[prost(uint64, tag = "8")]
    pub(crate) memory_bytes: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) pids_max: u64,
    /// 0 = not given.
    #[prost(uint64, tag = "10")]
    pub(crate) io_weight: u64,
    #[prost(uint64, tag = "11")]
    pub(crate) io_read_bps: u64,
    #[prost(uint64, tag = "12")]
    pub(crate) io_write_bps: u64,
    #[prost(uint64, tag = "13")]
    pub(crate) io_read_iops: u64,
    #[prost(uint64, tag = "14")]
    pub(crate) io_write_iops: u64,
}

/// Two ports: of the host and of the container, or the first and the last of a range.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Ports {
    #[prost(uint32, tag = "1")]
    pub(crate) first: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) second: u32,
    /// Whether they are of UDP; never of a range.
    #[prost(bool, tag = "3")]
    pub(crate) udp: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Rule {
    #[prost(uint32, tag = "1")]
    pub(crate) protocol: u32,
    #[prost(message, repeated, tag = "2")]
    pub(crate) networks: Vec<Addresses>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) ports: Vec<Ports>,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) icmp_type: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) icmp_code: Option<u32>,
    #[prost(bool, tag = "6")]
    pub(crate) log: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Addresses {
    #[prost(string, tag = "1")]
    pub(crate) start: String,
    #[prost(string, tag = "2")]
    pub(crate) end: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Image {
    #[prost(message, repeated, tag = "1")]
    pub(crate) env: Vec<Pair>,
    #[prost(string, tag = "2")]
    pub(crate) user: String,
    #[prost(string, tag = "3")]
    pub(crate) working_dir: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) command: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Network {
    #[prost(message, repeated, tag = "1")]
    pub(crate) properties: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) bind_mounts: Vec<Bind>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) mapped_ports: Vec<Ports>,
    #[prost(string, tag = "4")]
    pub(crate) host_ip: String,
    #[prost(string, tag = "5")]
    pub(crate) container_ip: String,
    #[prost(string, tag = "6")]
    pub(crate) container_ipv6: String,
    #[prost(string, tag = "7")]
    pub(crate) external_ip: String,
}
