use proptest::prelude::*;

use super::*;
use crate::encode::encode;

fn full() -> ContainerRecord {
    let handle = Handle::parse("web-1").unwrap();
    ContainerRecord {
        id: ContainerId::from_bits(42),
        handle: handle.clone(),
        state: ContainerState::Created,
        stopped: true,
        spec: ContainerSpec {
            handle: Some(handle),
            grace_time: Some(Duration::new(5, 7)),
            image: ImageRef { uri: "docker://x".into(), username: "u".into(), password: String::new() },
            bind_mounts: vec![BindMount {
                source: OsString::from_vec(vec![b'/', 0xff]).into(),
                target: "/t".into(),
                mode: BindMode::ReadWrite,
                origin: BindOrigin::Container,
            }],
            network: NetworkMode::Pool("10.0.0.0/30".into()),
            properties: Properties::from_pairs([("a", "1")]).unwrap(),
            env: Environment::parse(["B=2", "A=1"]).unwrap(),
            privileged: true,
            limits: Limits {
                bandwidth: BandwidthLimits { rate: 1, burst: 2 },
                cpu: CpuLimits { shares: CpuShares::new(3), quota_us: 4 },
                disk: DiskLimits { bytes: 5, inodes: 6, scope: DiskScope::Exclusive },
                memory: MemoryLimits { bytes: u64::MAX },
                pids: PidLimits { max: 8 },
                io: IoLimits {
                    weight: IoWeight::new(10).unwrap(),
                    read_bps: 11,
                    write_bps: 12,
                    read_iops: 13,
                    write_iops: u64::MAX,
                },
            },
            netin: vec![NetIn { host_port: 65535, container_port: 0, transport: Transport::Udp }],
            netout: vec![NetOutRule {
                protocol: Protocol::Icmpv6,
                networks: vec![IpRange { start: "::1".parse().unwrap(), end: "::2".parse().unwrap() }],
                ports: vec![PortRange { start: 1, end: 2 }],
                icmp: Some(IcmpRule { kind: 8, code: Some(0) }),
                log: true,
            }],
            sysctls: vec![("net.core.somaxconn".into(), "9".into())],
            seccomp: SeccompProfile::Custom("{}".into()),
            capabilities: CapabilityProfile::Garden,
            apparmor: ApparmorProfile::Named("confined".into()),
            egress: Some(Egress::Deny),
        },
        properties: Properties::from_pairs([("a", "1"), ("garden.state", "created")]).unwrap(),
        grace_time: Duration::MAX,
        boot_id: "boot".into(),
        created_at_ms: 1,
        image: ImageConfig {
            env: Environment::parse(["P=/"]).unwrap(),
            user: "alice".into(),
            working_dir: "/w".into(),
            command: vec!["sh".into(), String::new()],
        },
        network: NetworkInfo {
            properties: Properties::from_pairs([("garden.network.host-ip", "10.0.0.1")]).unwrap(),
            bind_mounts: vec![BindMount::new("/h", "/etc/hosts", BindMode::ReadOnly).unwrap()],
            mapped_ports: vec![PortMapping { host_port: 1, container_port: 2, transport: Transport::Udp }],
            host_ip: "h".into(),
            container_ip: "c".into(),
            container_ipv6: "6".into(),
            external_ip: "e".into(),
        },
        ids: Some(HostIds::new(100_000, 65_536).unwrap()),
        events: vec![NotedEvent { text: "Out of memory".into(), kills: 2 }],
    }
}

#[test]
fn every_field_of_a_record_reads_back() {
    let record = full();
    assert_eq!(decode("web-1", &encode(&record)).unwrap(), record);
}

#[test]
fn the_password_is_not_in_the_bytes() {
    let mut record = full();
    record.spec.image.password = "hunter2-hunter2".into();
    let bytes = encode(&record);
    assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    assert_eq!(decode("web-1", &bytes).unwrap().spec.image.password, "");
}

#[test]
fn a_later_version_a_foreign_handle_and_unknown_numbers_are_told() {
    let message = schema::Record::decode(&encode(&full())[..]).unwrap();
    let reason = |change: fn(&mut schema::Record)| {
        let mut changed = message.clone();
        change(&mut changed);
        decode("web-1", &changed.encode_to_vec()).unwrap_err().report()
    };
    assert!(reason(|record| record.version = 4).contains("version 4"));
    assert!(reason(|record| record.version = 0).contains("version 0"));
    assert!(reason(|record| record.handle = "other".into()).contains("other"));
    assert!(reason(|record| record.id = "nope".into()).contains("nope"));
    assert!(reason(|record| record.state = 9).contains("9"));
    assert!(reason(|record| record.ids = Some(schema::Ids { first: 7, count: 1 })).contains("from 7 on"));
    assert!(reason(|record| record.spec.network_mode = 9).contains("9"));
    assert!(reason(|record| record.spec.capabilities = 9).contains("capability profile 9"));
    assert!(reason(|record| record.spec.netin[0].first = 65_536).contains("65536"));
    assert!(reason(|record| record.spec.netout[0].networks[0].end = "x".into()).contains("\"x\""));
}

/// A record as builds wrote it that knew no capability and AppArmor profiles: field for field, by the wire format of protobuf.
const EARLIER: &[u8] = b"\x08\x01\x12\x0b22222222222\x1a\x05web-1\x20\x02\
    \x32\x10\x08\x01\x1a\x08oci:///x\x50\x01\x5a\x00\x42\x00\x4a\x04boot\x50\x07\x5a\x00\x62\x00";

#[test]
fn a_record_of_an_earlier_build_reads_as_what_its_container_was_made_with() {
    let record = decode("web-1", EARLIER).unwrap();
    assert_eq!(record.id, ContainerId::from_bits(0));
    assert_eq!((record.state, record.created_at_ms), (ContainerState::Created, 7));
    assert_eq!((record.spec.image.uri.as_str(), record.spec.privileged), ("oci:///x", true));
    assert_eq!(record.spec.capabilities, CapabilityProfile::Strict);
    assert_eq!(record.spec.apparmor, ApparmorProfile::Engine);
    assert_eq!(record.ids, None);
    // And one without any of the new wishes is written as it was.
    assert_eq!(encode(&record), EARLIER);
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(bytes: Vec<u8>) {
        let _ = decode("web-1", &bytes);
    }

    #[test]
    fn a_flipped_byte_never_makes_decoding_panic(at: prop::sample::Index, with: u8) {
        let mut bytes = encode(&full());
        let at = at.index(bytes.len());
        bytes[at] = with;
        let _ = decode("web-1", &bytes);
    }
}
