//! From the form on disk to the engine's words, believing nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use gdn_traits::{ContainerRecord, NetworkInfo, NotedEvent};
use gdn_types::{
    ApparmorProfile, BandwidthLimits, BindMode, BindMount, BindOrigin, CapabilityProfile, ContainerId,
    ContainerSpec, ContainerState, CpuLimits, CpuShares, DiskLimits, DiskScope, Egress, Environment, Error,
    Handle, HostIds, IcmpRule, ImageConfig, ImageRef, IoLimits, IoWeight, IpRange, Limits, MemoryLimits,
    NetIn, NetOutRule, NetworkMode, PidLimits, PortMapping, PortRange, Properties, Protocol, Result,
    SeccompProfile, Transport,
};
use prost::Message;

use crate::schema::{self, Addresses, Bind, LimitSet, Pair, Ports, Rule, Span};

/// Reads a record that is stored under `handle`.
///
/// # Errors
/// Says in its message what cannot be understood.
pub(crate) fn decode(handle: &str, bytes: &[u8]) -> Result<ContainerRecord> {
    let record = schema::Record::decode(bytes)
        .map_err(|error| Error::internal(format!("not a container record: {error}")))?;
    if !(1..=schema::VERSION).contains(&record.version) {
        let (version, supported) = (record.version, schema::VERSION);
        return Err(Error::internal(format!("record version {version}, at most {supported} is understood")));
    }
    if record.handle != handle {
        return Err(Error::internal(format!("record of handle {:?}", record.handle)));
    }
    let handle = Handle::parse(handle)?;
    Ok(ContainerRecord {
        id: ContainerId::parse(&record.id)?,
        state: state(record.state)?,
        stopped: record.stopped,
        spec: spec(&handle, record.spec)?,
        properties: properties(record.properties)?,
        grace_time: span(record.grace_time),
        boot_id: record.boot_id,
        created_at_ms: record.created_at_ms,
        image: image(record.image)?,
        network: network(record.network)?,
        ids: record.ids.map(|ids| HostIds::new(ids.first, ids.count)).transpose()?,
        events: record
            .events
            .into_iter()
            .map(|event| NotedEvent { text: event.text, kills: event.kills })
            .collect(),
        handle,
    })
}

fn state(state: u32) -> Result<ContainerState> {
    match state {
        1 => Ok(ContainerState::Claimed),
        2 => Ok(ContainerState::Created),
        3 => Ok(ContainerState::Destroying),
        other => Err(unknown("container state", other)),
    }
}

fn spec(handle: &Handle, spec: schema::Spec) -> Result<ContainerSpec> {
    Ok(ContainerSpec {
        handle: spec.has_handle.then(|| handle.clone()),
        grace_time: spec.grace_time.map(span),
        image: ImageRef { uri: spec.image_uri, username: spec.image_username, password: String::new() },
        bind_mounts: spec.bind_mounts.into_iter().map(bind).collect(),
        network: match spec.network_mode {
            0 => NetworkMode::Default,
            1 => NetworkMode::None,
            2 => NetworkMode::Pool(spec.network_pool),
            other => return Err(unknown("network mode", other)),
        },
        properties: properties(spec.properties)?,
        env: environment(spec.env)?,
        privileged: spec.privileged,
        limits: limits(spec.limits)?,
        netin: spec.netin.into_iter().map(netin).collect::<Result<_>>()?,
        netout: spec.netout.into_iter().map(rule).collect::<Result<_>>()?,
        sysctls: spec.sysctls.into_iter().map(|pair| (pair.name, pair.value)).collect(),
        seccomp: SeccompProfile::parse(&spec.seccomp)?,
        capabilities: match spec.capabilities {
            0 => CapabilityProfile::Strict,
            1 => CapabilityProfile::Garden,
            other => return Err(unknown("capability profile", other)),
        },
        apparmor: ApparmorProfile::parse(&spec.apparmor)?,
        egress: match spec.egress {
            0 => None,
            1 => Some(Egress::Allow),
            2 => Some(Egress::Deny),
            other => return Err(unknown("egress", other)),
        },
    })
}

fn image(image: schema::Image) -> Result<ImageConfig> {
    let (user, working_dir, command) = (image.user, image.working_dir, image.command);
    Ok(ImageConfig { env: environment(image.env)?, user, working_dir, command })
}

fn network(network: schema::Network) -> Result<NetworkInfo> {
    Ok(NetworkInfo {
        properties: properties(network.properties)?,
        bind_mounts: network.bind_mounts.into_iter().map(bind).collect(),
        mapped_ports: network.mapped_ports.into_iter().map(mapping).collect::<Result<_>>()?,
        host_ip: network.host_ip,
        container_ip: network.container_ip,
        container_ipv6: network.container_ipv6,
        external_ip: network.external_ip,
    })
}

fn limits(set: LimitSet) -> Result<Limits> {
    let scope = if set.disk_exclusive { DiskScope::Exclusive } else { DiskScope::Total };
    Ok(Limits {
        bandwidth: BandwidthLimits { rate: set.bandwidth_rate, burst: set.bandwidth_burst },
        cpu: CpuLimits { shares: CpuShares::new(set.cpu_shares), quota_us: set.cpu_quota_us },
        disk: DiskLimits { bytes: set.disk_bytes, inodes: set.disk_inodes, scope },
        memory: MemoryLimits { bytes: set.memory_bytes },
        pids: PidLimits { max: set.pids_max },
        io: IoLimits {
            weight: IoWeight::new(set.io_weight)?,
            read_bps: set.io_read_bps,
            write_bps: set.io_write_bps,
            read_iops: set.io_read_iops,
            write_iops: set.io_write_iops,
        },
    })
}

fn rule(rule: Rule) -> Result<NetOutRule> {
    Ok(NetOutRule {
        protocol: match rule.protocol {
            0 => Protocol::All,
            1 => Protocol::Tcp,
            2 => Protocol::Udp,
            3 => Protocol::Icmp,
            4 => Protocol::Icmpv6,
            other => return Err(unknown("protocol", other)),
        },
        networks: rule.networks.into_iter().map(range).collect::<Result<_>>()?,
        ports: rule
            .ports
            .into_iter()
            .map(|ports| Ok(PortRange { start: port(ports.first)?, end: port(ports.second)? }))
            .collect::<Result<_>>()?,
        icmp: rule.icmp_type.map(|kind| icmp(kind, rule.icmp_code)).transpose()?,
        log: rule.log,
    })
}

fn icmp(kind: u32, code: Option<u32>) -> Result<IcmpRule> {
    let byte = |number: u32| u8::try_from(number).map_err(|_| unknown("icmp number", number));
    Ok(IcmpRule { kind: byte(kind)?, code: code.map(byte).transpose()? })
}

fn range(addresses: Addresses) -> Result<IpRange> {
    let address = |text: &str| text.parse().map_err(|_| Error::internal(format!("address {text:?} is none")));
    Ok(IpRange { start: address(&addresses.start)?, end: address(&addresses.end)? })
}

fn netin(ports: Ports) -> Result<NetIn> {
    let PortMapping { host_port, container_port, transport } = mapping(ports)?;
    Ok(NetIn { host_port, container_port, transport })
}

fn mapping(ports: Ports) -> Result<PortMapping> {
    let transport = if ports.udp { Transport::Udp } else { Transport::Tcp };
    Ok(PortMapping { host_port: port(ports.first)?, container_port: port(ports.second)?, transport })
}

fn port(number: u32) -> Result<u16> {
    u16::try_from(number).map_err(|_| unknown("port", number))
}

fn bind(bind: Bind) -> BindMount {
    BindMount {
        source: OsString::from_vec(bind.source).into(),
        target: OsString::from_vec(bind.target).into(),
        mode: if bind.writable { BindMode::ReadWrite } else { BindMode::ReadOnly },
        origin: if bind.from_container { BindOrigin::Container } else { BindOrigin::Host },
    }
}

fn properties(pairs: Vec<Pair>) -> Result<Properties> {
    Properties::from_pairs(pairs.into_iter().map(|pair| (pair.name, pair.value)))
}

fn environment(pairs: Vec<Pair>) -> Result<Environment> {
    let mut env = Environment::default();
    for pair in pairs {
        env.set(&pair.name, &pair.value)?;
    }
    Ok(env)
}

fn span(span: Span) -> Duration {
    Duration::from_secs(span.seconds).saturating_add(Duration::from_nanos(span.nanos.into()))
}

fn unknown(what: &str, number: u32) -> Error {
    Error::internal(format!("{what} {number} is unknown"))
}

#[cfg(test)]
mod tests;
