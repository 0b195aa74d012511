//! From the engine's words to the form on disk.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use gdn_traits::{ContainerRecord, NetworkInfo};
use gdn_types::{
    BindMode, BindMount, BindOrigin, CapabilityProfile, ContainerSpec, ContainerState, CpuShares, DiskScope,
    Egress, Environment, ImageConfig, IoWeight, Limits, NetOutRule, NetworkMode, Protocol, Transport,
};
use prost::Message;

use crate::schema::{self, Addresses, Bind, LimitSet, Pair, Ports, Rule, Span};

/// The record's bytes.
pub(crate) fn encode(record: &ContainerRecord) -> Vec<u8> {
    let ids = record.ids.map(|ids| schema::Ids { first: ids.first(), count: ids.count() });
    let mut written = schema::Record {
        version: 0,
        id: record.id.to_string(),
        handle: record.handle.to_string(),
        state: state(record.state),
        stopped: record.stopped,
        spec: spec(&record.spec),
        properties: pairs(record.properties.iter()),
        grace_time: span(record.grace_time),
        boot_id: record.boot_id.clone(),
        created_at_ms: record.created_at_ms,
        image: image(&record.image),
        network: network(&record.network),
        ids,
        events: record
            .events
            .iter()
            .map(|event| schema::Noted { text: event.text.clone(), kills: event.kills })
            .collect(),
    };
    written.version = schema::version(&written);
    written.encode_to_vec()
}

fn state(state: ContainerState) -> u32 {
    match state {
        ContainerState::Claimed => 1,
        ContainerState::Created => 2,
        ContainerState::Destroying => 3,
    }
}

fn spec(spec: &ContainerSpec) -> schema::Spec {
    let (network_mode, network_pool) = match &spec.network {
        NetworkMode::Default => (0, String::new()),
        NetworkMode::None => (1, String::new()),
        NetworkMode::Pool(pool) => (2, pool.clone()),
    };
    schema::Spec {
        has_handle: spec.handle.is_some(),
        grace_time: spec.grace_time.map(span),
        image_uri: spec.image.uri.clone(),
        image_username: spec.image.username.clone(),
        bind_mounts: spec.bind_mounts.iter().map(bind).collect(),
        network_mode,
        network_pool,
        properties: pairs(spec.properties.iter()),
        env: environment(&spec.env),
        privileged: spec.privileged,
        limits: limits(&spec.limits),
        netin: spec
            .netin
            .iter()
            .map(|port| mapped(port.host_port, port.container_port, port.transport))
            .collect(),
        netout: spec.netout.iter().map(rule).collect(),
        sysctls: pairs(spec.sysctls.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
        seccomp: spec.seccomp.text().to_owned(),
        capabilities: match spec.capabilities {
            CapabilityProfile::Strict => 0,
            CapabilityProfile::Garden => 1,
        },
        apparmor: spec.apparmor.text().to_owned(),
        egress: match spec.egress {
            None => 0,
            Some(Egress::Allow) => 1,
            Some(Egress::Deny) => 2,
        },
    }
}

fn image(image: &ImageConfig) -> schema::Image {
    schema::Image {
        env: environment(&image.env),
        user: image.user.clone(),
        working_dir: image.working_dir.clone(),
        command: image.command.clone(),
    }
}

fn network(network: &NetworkInfo) -> schema::Network {
    schema::Network {
        properties: pairs(network.properties.iter()),
        bind_mounts: network.bind_mounts.iter().map(bind).collect(),
        mapped_ports: network
            .mapped_ports
            .iter()
            .map(|port| mapped(port.host_port, port.container_port, port.transport))
            .collect(),
        host_ip: network.host_ip.clone(),
        container_ip: network.container_ip.clone(),
        container_ipv6: network.container_ipv6.clone(),
        external_ip: network.external_ip.clone(),
    }
}

fn limits(limits: &Limits) -> LimitSet {
    LimitSet {
        bandwidth_rate: limits.bandwidth.rate,
        bandwidth_burst: limits.bandwidth.burst,
        cpu_shares: limits.cpu.shares.map_or(0, CpuShares::get),
        cpu_quota_us: limits.cpu.quota_us,
        disk_bytes: limits.disk.bytes,
        disk_inodes: limits.disk.inodes,
        disk_exclusive: limits.disk.scope == DiskScope::Exclusive,
        memory_bytes: limits.memory.bytes,
        pids_max: limits.pids.max,
        io_weight: limits.io.weight.map_or(0, IoWeight::get),
        io_read_bps: limits.io.read_bps,
        io_write_bps: limits.io.write_bps,
        io_read_iops: limits.io.read_iops,
        io_write_iops: limits.io.write_iops,
    }
}

fn rule(rule: &NetOutRule) -> Rule {
    Rule {
        protocol: match rule.protocol {
            Protocol::All => 0,
            Protocol::Tcp => 1,
            Protocol::Udp => 2,
            Protocol::Icmp => 3,
            Protocol::Icmpv6 => 4,
        },
        networks: rule
            .networks
            .iter()
            .map(|range| Addresses { start: range.start.to_string(), end: range.end.to_string() })
            .collect(),
        ports: rule.ports.iter().map(|range| ports(range.start, range.end)).collect(),
        icmp_type: rule.icmp.map(|icmp| icmp.kind.into()),
        icmp_code: rule.icmp.and_then(|icmp| icmp.code).map(u32::from),
        log: rule.log,
    }
}

fn bind(mount: &BindMount) -> Bind {
    Bind {
        source: mount.source.as_os_str().as_bytes().to_vec(),
        target: mount.target.as_os_str().as_bytes().to_vec(),
        writable: mount.mode == BindMode::ReadWrite,
        from_container: mount.origin == BindOrigin::Container,
    }
}

fn environment(env: &Environment) -> Vec<Pair> {
    pairs(env.iter())
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Pair> {
    pairs.map(|(name, value)| Pair { name: name.to_owned(), value: value.to_owned() }).collect()
}

fn ports(first: u16, second: u16) -> Ports {
    Ports { first: first.into(), second: second.into(), udp: false }
}

fn mapped(host: u16, container: u16, transport: Transport) -> Ports {
    Ports { udp: transport == Transport::Udp, ..ports(host, container) }
}

fn span(duration: Duration) -> Span {
    Span { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}
