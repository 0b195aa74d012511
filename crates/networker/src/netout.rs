//! What a container may reach: rules, cut into the elements of firewall sets.
//!
//! Every rule becomes boxes in the space of a set (addresses, protocol, port). Sets refuse elements that overlap, so of each
//! box only what is not covered yet becomes elements. Adding is all there is: a rule never takes anything away.

#[cfg(test)]
mod model;
mod piece;
mod pieces;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use gdn_types::{Error, ErrorKind, IpRange, NetOutRule, Protocol, Result};

pub(crate) use piece::{Piece, Span};
use pieces::Pieces;
use way::Ways;
pub(crate) use way::{Hash, Way};

/// Elements of all sets of one container, and boxes of one call: 3,000 rules of a large platform need as many, crossed ranges
/// some times that.
const MOST_PIECES: usize = 16_384;

/// Numbers of protocols, as in the header of a packet.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Address families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    fn all(self) -> Span {
        match self {
            Family::V4 => Span::new(0_u32, u32::MAX),
            Family::V6 => Span::new(0_u128, u128::MAX),
        }
    }

    /// Bits of an address.
    pub(crate) fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }
}

/// What the second and third field of a piece are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// Nothing: every protocol.
    Any,
    /// A protocol and a destination port.
    Service,
    /// An ICMP type and code.
    Icmp,
}

impl Class {
    /// Second and third field of a piece for which they do not matter.
    fn whole(self) -> (Span<u16>, Span<u16>) {
        let bytes = Span::new(0_u8, u8::MAX);
        match self {
            Class::Any => (Span::one(0_u8), Span::one(0_u8)),
            Class::Service => (bytes, Span::new(0_u16, u16::MAX)),
            Class::Icmp => (bytes, bytes),
        }
    }
}

/// One set of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SetKind {
    pub(crate) traffic: Traffic,
    pub(crate) way: Way,
}

/// What sets of a container are about. No two pieces of the same traffic overlap, whichever sets they are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Traffic {
    pub(crate) family: Family,
    pub(crate) class: Class,
    /// Whether what they allow is logged too.
    pub(crate) log: bool,
}

/// The pieces of a container's sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destinations(BTreeMap<Traffic, Allowed>);

/// The pieces of the same traffic.
#[derive(Clone, Debug, Default)]
struct Allowed {
    /// All of them, to find those that overlap.
    pieces: Pieces,
    /// The same in the sets in which the kernel has them.
    ways: Ways,
}

/// What rules added to each set.
pub(crate) type Added = BTreeMap<SetKind, Vec<Piece>>;

impl Destinations {
    /// Adds rules, all or none, and answers the new pieces.
    ///
    /// # Errors
    /// `InvalidArgument` for a rule that means nothing; `ResourceExhausted` for more pieces than a container may have.
    pub(crate) fn add(&mut self, rules: &[NetOutRule]) -> Result<Added> {
        let mut boxes = Boxes::default();
        for rule in rules {
            boxes.add(rule)?;
        }
        let mut new: BTreeMap<Traffic, Vec<Piece>> = BTreeMap::new();
        for (traffic, boxes) in boxes.of {
            let room = MOST_PIECES.saturating_sub(self.len());
            let (pieces, added) =
                (&mut self.0.entry(traffic).or_default().pieces, new.entry(traffic).or_default());
            for piece in boxes {
                pieces.add(piece, added);
                if added.len() > room {
                    new.iter().for_each(|(traffic, pieces)| self.forget(*traffic, pieces));
                    return Err(too_many());
                }
            }
        }
        let mut added = Added::new();
        for (traffic, pieces) in new {
            let ways = &mut self.0.entry(traffic).or_default().ways;
            let placed = ways.add(traffic.family, traffic.class, &pieces);
            added.extend(placed.into_iter().map(|(way, pieces)| (SetKind { traffic, way }, pieces)));
        }
        Ok(added)
    }

    /// Adds rules that were added before, in as many calls as it may have been. What one call takes is bounded before it is
    /// known how much of it is covered already.
    ///
    /// # Errors
    /// Those of [`add`](Self::add); what was added until then stays.
    pub(crate) fn add_known(&mut self, rules: &[NetOutRule]) -> Result<()> {
        match self.add(rules) {
            Err(error) if error.kind() == ErrorKind::ResourceExhausted => {
                rules.iter().try_for_each(|rule| self.add(std::slice::from_ref(rule)).map(drop))
            }
            other => other.map(drop),
        }
    }

    /// Undoes an [`add`](Self::add) whose pieces did not get into the kernel.
    pub(crate) fn take_back(&mut self, added: &Added) {
        for (SetKind { traffic, way }, pieces) in added {
            if let Some(allowed) = self.0.get_mut(traffic) {
                allowed.pieces.remove(pieces);
                allowed.ways.remove(*way, pieces);
            }
        }
    }

    /// The sets that have pieces.
    pub(crate) fn sets(&self) -> impl Iterator<Item = (SetKind, &[Piece])> {
        self.0.iter().flat_map(|(traffic, allowed)| {
            let sets = allowed.ways.iter();
            sets.map(|(way, pieces)| (SetKind { traffic: *traffic, way }, pieces))
        })
    }

    /// Which sets have pieces.
    pub(crate) fn kinds(&self) -> BTreeSet<SetKind> {
        self.sets().map(|(kind, _)| kind).collect()
    }

    fn forget(&mut self, traffic: Traffic, pieces: &[Piece]) {
        if let Some(allowed) = self.0.get_mut(&traffic) {
            allowed.pieces.remove(pieces);
        }
    }

    fn len(&self) -> usize {
        self.0.values().map(|allowed| allowed.pieces.len()).sum()
    }
}

fn too_many() -> Error {
    Error::new(
        ErrorKind::ResourceExhausted,
        format!("the rules of a container may have at most {MOST_PIECES} parts (networks times ports)"),
    )
}

/// What rules of one call allow, each network of a rule with each of its ports.
#[derive(Debug, Default)]
struct Boxes {
    of: BTreeMap<Traffic, Vec<Piece>>,
    count: usize,
}

impl Boxes {
    fn add(&mut self, rule: &NetOutRule) -> Result<()> {
        check(rule)?;
        let crossed = rule.networks.len().max(2).saturating_mul(rule.ports.len().max(1));
        if self.count.saturating_add(crossed) > MOST_PIECES {
            return Err(too_many());
        }
        // Without networks, all of the families that the protocol has.
        if rule.networks.is_empty() {
            families(rule).iter().for_each(|family| self.cross(*family, family.all(), rule));
        }
        for range in &rule.networks {
            let (family, span) = span_of(*range)?;
            if !families(rule).contains(&family) {
                let (IpRange { start, end }, protocol) = (range, rule.protocol);
                return Err(Error::invalid(format!(
                    "{start}-{end} has no addresses that {protocol:?} goes to"
                )));
            }
            self.cross(family, span, rule);
        }
        Ok(())
    }

    /// Addresses with whatever the rule says of them.
    fn cross(&mut self, family: Family, addresses: Span, rule: &NetOutRule) {
        let class = match rule.protocol {
            Protocol::All => Class::Any,
            Protocol::Tcp | Protocol::Udp => Class::Service,
            Protocol::Icmp | Protocol::Icmpv6 => Class::Icmp,
        };
        let boxes = self.of.entry(Traffic { family, class, log: rule.log }).or_default();
        let before = boxes.len();
        let number = if rule.protocol == Protocol::Tcp { TCP } else { UDP };
        match class {
            Class::Any => {
                let (second, third) = class.whole();
                boxes.push(Piece::new(addresses, second, third));
            }
            Class::Service if rule.ports.is_empty() => {
                boxes.push(Piece::new(addresses, Span::one(number), class.whole().1));
            }
            Class::Service => boxes.extend(
                rule.ports
                    .iter()
                    .map(|range| Piece::new(addresses, Span::one(number), Span::new(range.start, range.end))),
            ),
            Class::Icmp => {
                let [kind, code] = messages(rule);
                boxes.push(Piece::new(addresses, kind, code));
            }
        }
        self.count += boxes.len() - before;
    }
}

/// The families that the protocol of a rule has.
fn families(rule: &NetOutRule) -> &'static [Family] {
    match rule.protocol {
        Protocol::All | Protocol::Tcp | Protocol::Udp => &[Family::V4, Family::V6],
        Protocol::Icmp => &[Family::V4],
        Protocol::Icmpv6 => &[Family::V6],
    }
}

fn check(rule: &NetOutRule) -> Result<()> {
    let of_ports = matches!(rule.protocol, Protocol::Tcp | Protocol::Udp);
    if !rule.ports.is_empty() && !of_ports {
        // The reference engine's text, with its names.
        let name = match rule.protocol {
            Protocol::All => "ALL",
            _ => "ICMP",
        };
        return Err(Error::invalid(format!("Ports cannot be specified for Protocol {name}")));
    }
    for range in &rule.ports {
        if range.start == 0 || range.start > range.end {
            return Err(Error::invalid(format!("port range {}-{} has no port", range.start, range.end)));
        }
    }
    Ok(())
}

/// An address range as numbers.
pub(crate) fn span_of(range: IpRange) -> Result<(Family, Span)> {
    let IpRange { start, end } = range;
    let (family, span) = match (start, end) {
        (IpAddr::V4(start), IpAddr::V4(end)) => {
            (Family::V4, Span { low: u32::from(start).into(), high: u32::from(end).into() })
        }
        (IpAddr::V6(start), IpAddr::V6(end)) => {
            if [start, end].iter().any(|address| address.to_ipv4_mapped().is_some()) {
                return Err(Error::invalid(format!("{start}-{end}: write IPv4 addresses as such")));
            }
            (Family::V6, Span { low: start.into(), high: end.into() })
        }
        _ => return Err(Error::invalid(format!("{start}-{end} mixes IPv4 and IPv6"))),
    };
    if span.low > span.high {
        return Err(Error::invalid(format!("{start}-{end} ends before it begins")));
    }
    Ok((family, span))
}

fn messages(rule: &NetOutRule) -> [Span<u16>; 2] {
    let all = Span::new(0_u8, u8::MAX);
    match rule.icmp {
        None => [all, all],
        Some(icmp) => [Span::one(icmp.kind), icmp.code.map_or(all, Span::one)],
    }
}

#[cfg(test)]
mod tests {
    use gdn_types::{IcmpRule, PortRange};

    use super::*;

    fn range(start: &str, end: &str) -> IpRange {
        IpRange { start: start.parse().unwrap(), end: end.parse().unwrap() }
    }

    fn tcp(networks: &[IpRange], ports: &[(u16, u16)]) -> NetOutRule {
        let ports = ports.iter().map(|(start, end)| PortRange { start: *start, end: *end }).collect();
        NetOutRule { protocol: Protocol::Tcp, networks: networks.to_vec(), ports, ..NetOutRule::default() }
    }

    fn counts(added: &Added) -> Vec<(Family, Class, usize)> {
        added.iter().map(|(kind, pieces)| (kind.traffic.family, kind.traffic.class, pieces.len())).collect()
    }

    #[test]
    fn the_empty_rule_allows_everything_of_both_families() {
        let mut all = Destinations::default();
        let added = all.add(&[NetOutRule::default()]).unwrap();
        assert_eq!(counts(&added), [(Family::V4, Class::Any, 1), (Family::V6, Class::Any, 1)]);
        assert!(all.add(&[NetOutRule::default()]).unwrap().is_empty());
        assert_eq!(all.sets().count(), 2);
    }

    #[test]
    fn a_rule_is_every_network_with_every_port() {
        let networks = [range("10.0.0.0", "10.0.0.255"), range("fd00::1", "fd00::1")];
        let added = Destinations::default().add(&[tcp(&networks, &[(80, 80), (443, 444)])]).unwrap();
        assert_eq!(counts(&added), [(Family::V4, Class::Service, 2), (Family::V6, Class::Service, 2)]);
    }

    #[test]
    fn rules_that_overlap_add_what_is_new() {
        let mut some = Destinations::default();
        some.add(&[tcp(&[range("10.0.0.0", "10.0.0.9")], &[(80, 90)])]).unwrap();
        let added = some.add(&[tcp(&[range("10.0.0.5", "10.0.0.20")], &[(85, 95)])]).unwrap();
        assert_eq!(counts(&added), [(Family::V4, Class::Service, 2)]);
        some.take_back(&added);
        assert_eq!(some.len(), 1);
    }

    #[test]
    fn icmp_has_types_and_codes_and_one_family() {
        let rule = |protocol, icmp| NetOutRule { protocol, icmp, ..NetOutRule::default() };
        let echo = Some(IcmpRule { kind: 8, code: Some(0) });
        let added = Destinations::default().add(&[rule(Protocol::Icmp, echo)]).unwrap();
        let pieces: Vec<_> = added.values().flatten().collect();
        assert_eq!(pieces, [&Piece::new(Family::V4.all(), Span::one(8_u8), Span::one(0_u8))]);
        let added = Destinations::default().add(&[rule(Protocol::Icmpv6, None)]).unwrap();
        assert_eq!(counts(&added), [(Family::V6, Class::Icmp, 1)]);
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused_and_changes_nothing() {
        let mut none = Destinations::default();
        let all = NetOutRule { ports: vec![PortRange { start: 1, end: 2 }], ..NetOutRule::default() };
        let icmp_to_v6 = NetOutRule {
            protocol: Protocol::Icmp,
            networks: vec![range("fd00::1", "fd00::2")],
            ..NetOutRule::default()
        };
        for (rule, said) in [
            (all.clone(), "Ports cannot be specified for Protocol ALL"),
            (NetOutRule { protocol: Protocol::Icmp, ..all }, "Ports cannot be specified for Protocol ICMP"),
            (tcp(&[range("10.0.0.2", "10.0.0.1")], &[]), "10.0.0.2-10.0.0.1 ends before it begins"),
            (tcp(&[range("10.0.0.2", "fd00::1")], &[]), "mixes"),
            (tcp(&[range("::ffff:10.0.0.1", "::ffff:10.0.0.1")], &[]), "write IPv4 addresses as such"),
            (tcp(&[], &[(0, 7)]), "port range 0-7"),
            (tcp(&[], &[(9, 7)]), "port range 9-7"),
            (icmp_to_v6, "fd00::1-fd00::2"),
        ] {
            let error = none.add(&[tcp(&[], &[(80, 80)]), rule]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(said), "{error}");
        }
        assert_eq!(none.len(), 0);
    }

    #[test]
    fn rules_that_came_in_several_calls_are_restored_in_one() {
        let address = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(2 * n));
        let networks = |to: u32| (0..to).map(|n| IpRange { start: address(n), end: address(n) }).collect();
        let rules = [10_000, 10_001].map(|to| NetOutRule { networks: networks(to), ..NetOutRule::default() });
        let mut known = Destinations::default();
        for rule in &rules {
            known.add(std::slice::from_ref(rule)).unwrap();
        }
        let mut restored = Destinations::default();
        restored.add_known(&rules).unwrap();
        assert_eq!((known.len(), restored.len()), (10_001, 10_001));
    }

    #[test]
    fn a_container_may_not_have_pieces_without_end() {
        let mut many = Destinations::default();
        let rule = |n: u32| {
            let address: IpAddr = std::net::Ipv4Addr::from(2 * n).into();
            NetOutRule { networks: vec![IpRange { start: address, end: address }], ..NetOutRule::default() }
        };
        let rules: Vec<NetOutRule> = (0..16_384).map(rule).collect();
        for part in rules.chunks(10_000) {
            many.add(part).unwrap();
        }
        let error = many.add(&[rule(16_384), rule(16_385)]).unwrap_err();
        assert_eq!((error.kind(), many.len()), (ErrorKind::ResourceExhausted, MOST_PIECES));
        let crossed = NetOutRule {
            protocol: Protocol::Tcp,
            networks: rule(1).networks.repeat(2_000),
            ports: vec![PortRange { start: 1, end: 1 }; 4_000],
            ..NetOutRule::default()
        };
        let error = Destinations::default().add(&[crossed]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    }
}
