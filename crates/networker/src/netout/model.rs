//! The sets compared with a model: each rule asked for itself.

use gdn_types::{IcmpRule, PortRange};

use super::*;

/// A packet: family, destination, protocol, and port or ICMP type and code.
type Packet = (Family, u128, u8, [u8; 2]);

/// Whether the kernel finds a packet in a set: as the chain's rules look into it.
fn finds(kind: SetKind, pieces: &BTreeSet<Piece>, packet: Packet) -> bool {
    let (family, address, protocol, [one, two]) = packet;
    let port = u16::from_be_bytes([one, two]);
    let details = match kind.traffic.class {
        Class::Any => [u16::from(protocol), 0],
        Class::Service => [u16::from(protocol), port],
        Class::Icmp => [u16::from(one), u16::from(two)],
    };
    let icmp = if family == Family::V4 { 1 } else { 58 };
    if family != kind.traffic.family || (kind.traffic.class == Class::Icmp && protocol != icmp) {
        return false;
    }
    pieces.iter().any(|piece| match (kind.way, kind.traffic.class) {
        (Way::Ranges, Class::Any) => piece.addresses.overlaps(Span::one(address)),
        (Way::Ranges, _) => {
            piece.overlaps(&Piece::new(Span::one(address), Span::one(details[0]), Span::one(details[1])))
        }
        (Way::Hash(Hash { bits, exact }, _), _) => {
            let cut = u32::from(family.bits() - bits);
            let network = address.checked_shr(cut).unwrap_or(0).checked_shl(cut).unwrap_or(0);
            let equal = [piece.second.low == details[0], piece.third.low == details[1]];
            piece.addresses.low == network && equal.iter().take(exact.into()).all(|equal| *equal)
        }
    })
}

fn allows(rule: &NetOutRule, (family, address, protocol, [one, two]): Packet) -> bool {
    let of_protocol = match rule.protocol {
        Protocol::All => true,
        Protocol::Tcp => protocol == TCP,
        Protocol::Udp => protocol == UDP,
        Protocol::Icmp => protocol == 1 && family == Family::V4,
        Protocol::Icmpv6 => protocol == 58 && family == Family::V6,
    };
    let port = u16::from_be_bytes([one, two]);
    let to_port =
        rule.ports.is_empty() || rule.ports.iter().any(|range| (range.start..=range.end).contains(&port));
    let of_kind = rule.icmp.is_none_or(|icmp| icmp.kind == one && icmp.code.is_none_or(|code| code == two));
    let there = rule.networks.is_empty()
        || rule.networks.iter().any(|range| {
            let (of, span) = span_of(*range).unwrap();
            of == family && span.overlaps(Span::one(address))
        });
    of_protocol && to_port && of_kind && there
}

fn address(family: Family, last: u8) -> IpAddr {
    match family {
        Family::V4 => std::net::Ipv4Addr::from(0x0a00_0000 + u32::from(last)).into(),
        Family::V6 => std::net::Ipv6Addr::from((0xfd00_u128 << 112) + u128::from(last)).into(),
    }
}

fn rules() -> impl proptest::strategy::Strategy<Value = NetOutRule> {
    use proptest::prelude::*;
    let networks = prop_oneof![
        (0_u8..32, 0_u32..6).prop_map(|(last, bits)| {
            let first = last >> bits << bits;
            (first, first + u8::try_from((1_u32 << bits) - 1).unwrap())
        }),
        (0_u8..32, 0_u8..9).prop_map(|(last, more)| (last, last + more)),
    ];
    let ports = prop_oneof![
        Just(Vec::new()),
        (80_u16..84).prop_map(|port| vec![PortRange { start: port, end: port }]),
        (80_u16..84, 0_u16..3).prop_map(|(port, more)| vec![PortRange { start: port, end: port + more }]),
    ];
    (any::<bool>(), 0_u8..4, networks, ports, any::<bool>(), 0_u8..3).prop_map(
        |(six, protocol, (low, high), ports, log, icmp)| {
            let family = if six { Family::V6 } else { Family::V4 };
            let protocol = match (protocol, six) {
                (0, _) => Protocol::All,
                (1, _) => Protocol::Tcp,
                (2, _) => Protocol::Udp,
                (_, false) => Protocol::Icmp,
                (_, true) => Protocol::Icmpv6,
            };
            let of_ports = matches!(protocol, Protocol::Tcp | Protocol::Udp);
            let of_icmp = matches!(protocol, Protocol::Icmp | Protocol::Icmpv6) && icmp > 0;
            NetOutRule {
                protocol,
                networks: vec![IpRange { start: address(family, low), end: address(family, high) }],
                ports: if of_ports { ports } else { Vec::new() },
                icmp: of_icmp.then(|| IcmpRule { kind: 0, code: (icmp > 1).then_some(81) }),
                log,
            }
        },
    )
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(24))]

    /// In whichever sets the pieces are, and in whichever order rules came: what one rule allows is found, and logged
    /// if one of them says so; nothing else is found; no set has what overlaps.
    #[test]
    fn what_the_kernel_finds_is_what_one_of_the_rules_allows(
        first in proptest::collection::vec(rules(), 0..100),
        later in proptest::collection::vec(proptest::collection::vec(rules(), 1..100), 0..3),
    ) {
        let mut all = Destinations::default();
        let mut kernel: BTreeMap<SetKind, BTreeSet<Piece>> = BTreeMap::new();
        for part in std::iter::once(&first).chain(&later) {
            for (kind, pieces) in all.add(part).unwrap() {
                for piece in pieces {
                    proptest::prop_assert!(kernel.entry(kind).or_default().insert(piece));
                }
            }
        }
        let known: BTreeMap<SetKind, BTreeSet<Piece>> =
            all.sets().map(|(kind, pieces)| (kind, pieces.iter().copied().collect())).collect();
        proptest::prop_assert_eq!(&known, &kernel);
        let rules: Vec<&NetOutRule> = first.iter().chain(later.iter().flatten()).collect();
        for family in [Family::V4, Family::V6] {
            for last in 0..42 {
                for (protocol, port) in [(TCP, 0), (TCP, 81), (UDP, 82), (1, 81), (58, 81), (58, 83), (47, 0)] {
                    let number = span_of(IpRange { start: address(family, last), end: address(family, last) });
                    let packet = (family, number.unwrap().1.low, protocol, [0, port]);
                    let found = |log: bool| {
                        kernel.iter().filter(|(kind, _)| kind.traffic.log == log)
                            .any(|(kind, pieces)| finds(*kind, pieces, packet))
                    };
                    let allowed = |log: bool| {
                        rules.iter().filter(|rule| rule.log == log).any(|rule| allows(rule, packet))
                    };
                    for log in [true, false] {
                        proptest::prop_assert_eq!(found(log), allowed(log), "{:?} {}", packet, log);
                    }
                }
            }
        }
    }
}
