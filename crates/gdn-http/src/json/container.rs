//! What a create and the small changes of a container are asked with.

use std::time::Duration;

use gdn_types::{
    BindMode, BindMount, BindOrigin, CapabilityProfile, ContainerSpec, CpuLimits, CpuShares, DiskLimits,
    DiskScope, Environment, Error, Handle, ImageRef, Limits, MemoryLimits, NetworkMode, PidLimits,
    Properties, Result,
};

use super::fields::{Fields, first_document, number};
use super::network::{net_in, net_out_rule};

/// Garden: `ContainerSpec`.
///
/// Soft limits, limits of inodes and of bandwidth are accepted and have no effect, as with the reference engine.
pub(crate) fn container_spec(mut wire: Fields) -> Result<ContainerSpec> {
    let handle = wire.string("handle")?;
    let grace_time = wire.number("grace_time")?;
    let network = wire.string("network")?;
    Ok(ContainerSpec {
        handle: if handle.is_empty() { None } else { Some(Handle::parse(&handle)?) },
        grace_time: (grace_time > 0).then(|| Duration::from_nanos(grace_time)),
        image: image(&mut wire)?,
        bind_mounts: wire.objects("bind_mounts", bind_mount)?,
        network: if network.is_empty() { NetworkMode::Default } else { NetworkMode::Pool(network) },
        properties: Properties::from_pairs(wire.map("properties")?)?,
        env: Environment::parse(wire.strings("env")?)?,
        privileged: wire.boolean("privileged")?,
        limits: limits(wire.object("limits")?)?,
        netin: wire.objects("netin", net_in)?,
        netout: wire.objects("netout_rules", net_out_rule)?,
        // What this protocol's clients find in /proc/self/status.
        capabilities: CapabilityProfile::Garden,
        ..ContainerSpec::default()
    })
}

/// The image, by its own name or by the older one.
fn image(wire: &mut Fields) -> Result<ImageRef> {
    let rootfs = wire.string("rootfs")?;
    let mut image = image_ref(wire.object("image")?)?;
    if !rootfs.is_empty() {
        if !image.uri.is_empty() {
            return Err(Error::invalid("Cannot provide both Image.URI and RootFSPath"));
        }
        image.uri = rootfs;
    }
    Ok(image)
}

/// Garden: `ImageRef`.
pub(super) fn image_ref(mut wire: Fields) -> Result<ImageRef> {
    Ok(ImageRef {
        uri: wire.string("uri")?,
        username: wire.string("username")?,
        password: wire.string("password")?,
    })
}

/// Garden: `BindMount`.
pub(super) fn bind_mount(mut wire: Fields) -> Result<BindMount> {
    let mode = match wire.number::<u64>("mode")? {
        0 => BindMode::ReadOnly,
        1 => BindMode::ReadWrite,
        other => return Err(Error::invalid(format!("bind mount mode {other} is neither 0 nor 1"))),
    };
    let mut mount = BindMount::new(wire.string("src_path")?, wire.string("dst_path")?, mode)?;
    // On the wire since long, and without effect, as with the reference engine.
    mount.origin = match wire.number::<u64>("origin")? {
        0 | 1 => BindOrigin::Host,
        other => return Err(Error::invalid(format!("bind mount origin {other} is neither 0 nor 1"))),
    };
    Ok(mount)
}

fn limits(mut wire: Fields) -> Result<Limits> {
    let mut disk = wire.object("disk_limits")?;
    let scope = match disk.number::<u64>("scope")? {
        0 => DiskScope::Total,
        1 => DiskScope::Exclusive,
        other => return Err(Error::invalid(format!("disk limit scope {other} is neither 0 nor 1"))),
    };
    Ok(Limits {
        cpu: cpu_limits(wire.object("cpu_limits")?)?,
        disk: DiskLimits { bytes: disk.number("byte_hard")?, inodes: 0, scope },
        memory: memory_limits(wire.object("memory_limits")?)?,
        pids: PidLimits { max: wire.object("pid_limits")?.number("max")? },
        ..Limits::default()
    })
}

/// Garden: `CPULimits`; the newer name wins.
pub(super) fn cpu_limits(mut wire: Fields) -> Result<CpuLimits> {
    let (weight, shares) = (wire.number("weight")?, wire.number("limit_in_shares")?);
    Ok(CpuLimits { shares: CpuShares::new(if weight > 0 { weight } else { shares }), quota_us: 0 })
}

/// Garden: `MemoryLimits`.
pub(super) fn memory_limits(mut wire: Fields) -> Result<MemoryLimits> {
    Ok(MemoryLimits { bytes: wire.number("limit_in_bytes")? })
}

/// A grace time: a bare number of nanoseconds; 0 is for ever.
pub(crate) fn grace_time(body: &[u8]) -> Result<Duration> {
    let value = first_document(body)?;
    if value.is_null() {
        return Ok(Duration::ZERO);
    }
    number("grace time", &value).map(Duration::from_nanos)
}

/// Whether a stop is to kill at once.
pub(crate) fn kill(body: &[u8]) -> Result<bool> {
    Fields::parse(body)?.boolean("kill")
}

/// The value of a property.
pub(crate) fn property(body: &[u8]) -> Result<String> {
    Fields::parse(body)?.string("value")
}

#[cfg(test)]
mod tests {
    use gdn_types::{IcmpRule, NetIn, PortRange, Protocol};

    use super::*;

    fn spec(text: &str) -> Result<ContainerSpec> {
        container_spec(Fields::parse(text.as_bytes())?)
    }

    #[test]
    fn an_empty_create_of_the_go_client_means_the_defaults() {
        let text = r#"{"image":{},"limits":{"bandwidth_limits":{},"cpu_limits":{},"disk_limits":{},"memory_limits":{},"pid_limits":{}}}"#;
        let expected = ContainerSpec { capabilities: CapabilityProfile::Garden, ..ContainerSpec::default() };
        assert_eq!(spec(text).unwrap(), expected);
        assert_eq!(spec("{}").unwrap(), expected);
    }

    #[test]
    fn every_member_of_a_create_is_read() {
        let spec = spec(
            r#"{"handle":"h","grace_time":1500,"rootfs":"raw:///r","image":{"username":"u","password":"p"},
            "bind_mounts":[{"src_path":"/a","dst_path":"/b","mode":1,"origin":1},{"src_path":"/c","dst_path":"/d"}],
            "network":"10.2.0.0/30","properties":{"concourse:x":"1"},"env":["A=1","B=2","A=3"],"privileged":true,
            "limits":{"cpu_limits":{"limit_in_shares":10,"weight":20},"disk_limits":{"byte_hard":9,"inode_hard":1,"scope":1},
            "memory_limits":{"limit_in_bytes":18446744073709551615},"pid_limits":{"max":3}},
            "netin":[{"host_port":0,"container_port":8080}],
            "netout_rules":[{"protocol":3,"icmps":{"type":8,"code":0},"log":true},{"protocol":1,"ports":[{"start":80,"end":80}]}]}"#,
        )
        .unwrap();
        assert_eq!(spec.handle.unwrap().as_str(), "h");
        assert_eq!(spec.grace_time, Some(Duration::from_nanos(1500)));
        assert_eq!((&*spec.image.uri, &*spec.image.username, &*spec.image.password), ("raw:///r", "u", "p"));
        assert_eq!(
            (spec.bind_mounts[0].mode, spec.bind_mounts[1].mode),
            (BindMode::ReadWrite, BindMode::ReadOnly)
        );
        assert_eq!(spec.network, NetworkMode::Pool("10.2.0.0/30".to_owned()));
        assert_eq!(spec.properties.get("concourse:x"), Some("1"));
        assert_eq!(spec.env.entries().collect::<Vec<_>>(), ["A=3", "B=2"]);
        assert!(spec.privileged);
        assert_eq!(spec.limits.cpu.shares, CpuShares::new(20));
        assert_eq!(spec.limits.disk, DiskLimits { bytes: 9, inodes: 0, scope: DiskScope::Exclusive });
        assert_eq!((spec.limits.memory.bytes, spec.limits.pids.max), (u64::MAX, 3));
        assert_eq!(spec.netin, [NetIn { host_port: 0, container_port: 8080, ..NetIn::default() }]);
        assert_eq!(spec.netout[0].icmp, Some(IcmpRule { kind: 8, code: Some(0) }));
        assert_eq!((spec.netout[0].protocol, spec.netout[0].log), (Protocol::Icmp, true));
        assert_eq!(spec.netout[1].ports, [PortRange { start: 80, end: 80 }]);
    }

    #[test]
    fn two_root_file_systems_are_refused_with_the_known_text() {
        let error = spec(r#"{"rootfs":"a","image":{"uri":"b"}}"#).unwrap_err();
        assert_eq!(error.message(), "Cannot provide both Image.URI and RootFSPath");
        assert_eq!(spec(r#"{"rootfs":"a"}"#).unwrap().image.uri, "a");
    }

    #[test]
    fn wild_values_are_refused() {
        for text in [
            r#"{"handle":".."}"#,
            r#"{"handle":7}"#,
            r#"{"bind_mounts":[{"src_path":"a","dst_path":"/b"}]}"#,
            r#"{"bind_mounts":[{"src_path":"/a","dst_path":"/b","mode":2}]}"#,
            r#"{"env":["NOVALUE"]}"#,
            r#"{"grace_time":-1}"#,
            r#"{"limits":{"disk_limits":{"scope":2}}}"#,
            r#"{"netin":[{"host_port":65536}]}"#,
        ] {
            spec(text).unwrap_err();
        }
    }

    #[test]
    fn a_grace_time_is_a_bare_number() {
        assert_eq!(grace_time(b"1000000000\n").unwrap(), Duration::from_secs(1));
        assert_eq!(grace_time(b"0").unwrap(), Duration::ZERO);
        for wrong in ["", "-1", "{}", "\"1\"", "1.5"] {
            grace_time(wrong.as_bytes()).unwrap_err();
        }
    }
}
