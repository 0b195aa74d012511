//! What is asked for at a create.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use gdn_types::{
    ApparmorProfile, BindMode, BindMount, BindOrigin, CapabilityProfile, ContainerSpec, Environment, Error,
    Handle, ImageRef, Result, SeccompProfile,
};

use super::network::egress;
use super::{all, enumeration, nanoseconds, properties, property_map, unless_default};
use crate::garden;

impl TryFrom<garden::ContainerSpec> for ContainerSpec {
    type Error = Error;

    fn try_from(wire: garden::ContainerSpec) -> Result<Self> {
        Ok(ContainerSpec {
            handle: if wire.handle.is_empty() { None } else { Some(Handle::parse(&wire.handle)?) },
            grace_time: wire.grace_time_ns.map(Duration::from_nanos),
            image: wire.image.map(ImageRef::from).unwrap_or_default(),
            bind_mounts: all(wire.bind_mounts)?,
            network: wire.network.map(Into::into).unwrap_or_default(),
            properties: properties(wire.properties)?,
            env: Environment::parse(wire.env)?,
            privileged: wire.privileged,
            limits: wire.limits.map(TryInto::try_into).transpose()?.unwrap_or_default(),
            netin: all(wire.netin)?,
            netout: all(wire.netout)?,
            sysctls: wire.sysctls.into_iter().map(|sysctl| (sysctl.name, sysctl.value)).collect(),
            seccomp: SeccompProfile::parse(&wire.seccomp)?,
            capabilities: match enumeration("capability profile", wire.capabilities)? {
                garden::CapabilityProfile::Unspecified | garden::CapabilityProfile::Strict => {
                    CapabilityProfile::Strict
                }
                garden::CapabilityProfile::Garden => CapabilityProfile::Garden,
            },
            apparmor: ApparmorProfile::parse(&wire.apparmor)?,
            egress: egress(wire.egress)?,
        })
    }
}

impl TryFrom<ContainerSpec> for garden::ContainerSpec {
    type Error = Error;

    /// Fails for a bind mount whose path is not UTF-8.
    fn try_from(spec: ContainerSpec) -> Result<Self> {
        Ok(garden::ContainerSpec {
            handle: spec.handle.map(|handle| handle.to_string()).unwrap_or_default(),
            grace_time_ns: spec.grace_time.map(nanoseconds),
            image: unless_default(spec.image),
            bind_mounts: all(spec.bind_mounts)?,
            network: unless_default(spec.network),
            properties: property_map(&spec.properties),
            env: spec.env.entries().collect(),
            privileged: spec.privileged,
            limits: unless_default(spec.limits),
            netin: spec.netin.into_iter().map(Into::into).collect(),
            netout: spec.netout.into_iter().map(Into::into).collect(),
            sysctls: spec.sysctls.into_iter().map(|(name, value)| garden::Sysctl { name, value }).collect(),
            seccomp: spec.seccomp.text().to_owned(),
            capabilities: match spec.capabilities {
                CapabilityProfile::Strict => garden::CapabilityProfile::Strict,
                CapabilityProfile::Garden => garden::CapabilityProfile::Garden,
            }
            .into(),
            apparmor: spec.apparmor.text().to_owned(),
            egress: spec.egress.map_or(garden::Egress::Unspecified, Into::into).into(),
        })
    }
}

impl From<garden::ImageRef> for ImageRef {
    fn from(wire: garden::ImageRef) -> Self {
        ImageRef { uri: wire.uri, username: wire.username, password: wire.password }
    }
}

impl From<ImageRef> for garden::ImageRef {
    fn from(image: ImageRef) -> Self {
        garden::ImageRef { uri: image.uri, username: image.username, password: image.password }
    }
}

/// Without the credentials, as [`ImageRef`]'s own.
impl fmt::Debug for garden::ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ImageRef::from(self.clone()).fmt(f)
    }
}

impl TryFrom<garden::BindMount> for BindMount {
    type Error = Error;

    fn try_from(wire: garden::BindMount) -> Result<Self> {
        let mode = match enumeration("bind mount mode", wire.mode)? {
            garden::BindMode::Unspecified | garden::BindMode::ReadOnly => BindMode::ReadOnly,
            garden::BindMode::ReadWrite => BindMode::ReadWrite,
        };
        let origin = match enumeration("bind mount origin", wire.origin)? {
            garden::BindOrigin::Unspecified | garden::BindOrigin::Host => BindOrigin::Host,
            garden::BindOrigin::Container => BindOrigin::Container,
        };
        Ok(BindMount { origin, ..BindMount::new(wire.source, wire.target, mode)? })
    }
}

impl TryFrom<BindMount> for garden::BindMount {
    type Error = Error;

    fn try_from(mount: BindMount) -> Result<Self> {
        let mode = match mount.mode {
            BindMode::ReadOnly => garden::BindMode::ReadOnly,
            BindMode::ReadWrite => garden::BindMode::ReadWrite,
        };
        let origin = match mount.origin {
            BindOrigin::Host => garden::BindOrigin::Host,
            BindOrigin::Container => garden::BindOrigin::Container,
        };
        Ok(garden::BindMount {
            source: text("bind mount source", &mount.source)?,
            target: text("bind mount target", &mount.target)?,
            mode: mode.into(),
            origin: origin.into(),
        })
    }
}

fn text(field: &str, path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| Error::invalid(format!("{field} {path:?} is not UTF-8")))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdn_types::{
        BandwidthLimits, CpuLimits, CpuShares, DiskLimits, DiskScope, Egress, ErrorKind, IoLimits, IoWeight,
        Limits, MemoryLimits, NetIn, NetOutRule, NetworkMode, PidLimits, Properties, Transport,
    };

    fn full() -> ContainerSpec {
        ContainerSpec {
            handle: Some(Handle::parse("web-1").unwrap()),
            grace_time: Some(Duration::from_nanos(1)),
            image: ImageRef { uri: "oci:///x".into(), username: "u".into(), password: "hunter2".into() },
            bind_mounts: vec![
                BindMount::new("/a", "/b", BindMode::ReadWrite).unwrap(),
                BindMount {
                    origin: BindOrigin::Container,
                    ..BindMount::new("/c", "/d", BindMode::ReadOnly).unwrap()
                },
            ],
            network: NetworkMode::Pool("10.0.0.1".into()),
            properties: Properties::from_pairs([("k", "v"), ("empty", "")]).unwrap(),
            env: Environment::parse(["A=1", "B="]).unwrap(),
            privileged: true,
            limits: Limits {
                bandwidth: BandwidthLimits { rate: 1, burst: 2 },
                cpu: CpuLimits { shares: CpuShares::new(3), quota_us: 4 },
                disk: DiskLimits { bytes: 5, inodes: 6, scope: DiskScope::Exclusive },
                memory: MemoryLimits { bytes: 7 },
                pids: PidLimits { max: 8 },
                io: IoLimits {
                    weight: Some(IoWeight::ORDINARY),
                    read_bps: 11,
                    write_bps: 12,
                    read_iops: 13,
                    write_iops: 14,
                },
            },
            netin: vec![NetIn { host_port: 0, container_port: 80, transport: Transport::Udp }],
            netout: vec![NetOutRule { log: true, ..NetOutRule::default() }],
            sysctls: vec![("net.ipv4.ip_forward".into(), "1".into())],
            seccomp: SeccompProfile::Custom("{}".into()),
            capabilities: CapabilityProfile::Garden,
            apparmor: ApparmorProfile::Named("confined".into()),
            egress: Some(Egress::Deny),
        }
    }

    #[test]
    fn a_spec_reads_back_as_it_was_sent() {
        for spec in [ContainerSpec::default(), full()] {
            let wire = garden::ContainerSpec::try_from(spec.clone()).unwrap();
            assert_eq!(ContainerSpec::try_from(wire).unwrap(), spec);
        }
    }

    #[test]
    fn capabilities_that_nobody_asked_for_are_strict() {
        assert_eq!(
            ContainerSpec::try_from(garden::ContainerSpec::default()).unwrap().capabilities,
            CapabilityProfile::Strict
        );
        let unknown = garden::ContainerSpec { capabilities: 9, ..Default::default() };
        assert!(ContainerSpec::try_from(unknown).unwrap_err().message().contains("unknown value 9"));
    }

    #[test]
    fn an_absent_grace_time_is_not_a_zero_one() {
        for grace_time in [None, Some(Duration::ZERO)] {
            let wire = garden::ContainerSpec::try_from(ContainerSpec { grace_time, ..full() }).unwrap();
            assert_eq!(ContainerSpec::try_from(wire).unwrap().grace_time, grace_time);
        }
    }

    #[test]
    fn what_cannot_be_meant_is_an_invalid_argument_that_names_it() {
        let bad = [
            (garden::ContainerSpec { handle: "..".into(), ..Default::default() }, "\"..\""),
            (garden::ContainerSpec { env: vec!["nope".into()], ..Default::default() }, "nope"),
            (
                garden::ContainerSpec {
                    bind_mounts: vec![garden::BindMount {
                        source: "rel".into(),
                        target: "/t".into(),
                        mode: 0,
                        origin: 0,
                    }],
                    ..Default::default()
                },
                "rel",
            ),
            (
                garden::ContainerSpec {
                    bind_mounts: vec![garden::BindMount {
                        source: "/s".into(),
                        target: "/t".into(),
                        mode: 9,
                        origin: 0,
                    }],
                    ..Default::default()
                },
                "unknown value 9",
            ),
            (
                garden::ContainerSpec {
                    netin: vec![garden::PortMap { host_port: 65_536, ..Default::default() }],
                    ..Default::default()
                },
                "65536",
            ),
        ];
        for (wire, named) in bad {
            let error = ContainerSpec::try_from(wire).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(named), "{}", error.message());
        }
    }

    #[test]
    fn a_debug_print_of_a_request_does_not_tell_the_password() {
        let wire = garden::ContainerSpec::try_from(full()).unwrap();
        assert!(!format!("{wire:?}").contains("hunter2"));
    }
}
