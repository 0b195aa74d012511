//! What the table holds of one container: one element in each of the shared sets; and, where it has rules of its own, a
//! chain and the sets that the chain looks into.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gdn_nft::{
    Batch, Chain, Element, Field, Load, Protocol, Rule, Set, Table, Value, Verdict, destination_in, l4proto,
    nfproto, oifname_begins,
};
use gdn_types::{ContainerId, Egress, PortMapping};

use super::skeleton::{self, Shared, number_of};
use crate::netout::{Added, Class, Destinations, Family, Hash, Piece, SetKind, Span, Traffic, Way};
use crate::record::Reservation;

/// Bytes of a handle that a log line begins with, as with the reference engine.
const LOG_PREFIX: usize = 28;
/// Bytes of a comment that `nft` shows.
const MOST_COMMENT: usize = 127;
/// Length of the prefix of a subnet that has room for one container and its gateway.
const ROOM_FOR_ONE: u8 = 30;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// One container in the table.
#[derive(Clone, Copy)]
pub(super) struct Guest<'a> {
    pub(super) table: &'a Table,
    pub(super) id: &'a ContainerId,
    /// The host's end of its link, and with what all such names begin.
    pub(super) link: &'a str,
    pub(super) prefix: &'a str,
    /// Whether the operator denies anything.
    pub(super) denies: bool,
    pub(super) reservation: &'a Reservation,
}

impl Guest<'_> {
    /// Everything of it.
    pub(super) fn add(&self, batch: &mut Batch, destinations: &Destinations) {
        let sets = destinations.kinds();
        self.add_sets(batch, destinations);
        self.change_chain(batch, None, Some(&sets));
        for (set, element) in self.shared_elements().into_iter().chain(self.standing(&sets)) {
            batch.add_new_elements(self.table, &set, &[element]);
        }
        for port in &self.reservation.ports {
            self.add_port(batch, *port);
        }
    }

    /// The set that decides over what no rule of its own allows, with its element there. Links that are in none of them
    /// are refused it.
    fn standing(&self, sets: &BTreeSet<SetKind>) -> Option<(Set, Element)> {
        let set = match self.reservation.egress {
            Egress::Allow => skeleton::open(),
            Egress::Deny if sets.is_empty() => skeleton::hermetic(),
            Egress::Deny => return None,
        };
        Some((set, Element::new([Value::IfName(self.link.to_owned())]).comment(self.comment())))
    }

    fn change_standing(&self, batch: &mut Batch, before: &BTreeSet<SetKind>, after: &BTreeSet<SetKind>) {
        match (self.standing(before), self.standing(after)) {
            (Some((set, element)), None) => {
                batch.delete_elements(self.table, &set, &[element]);
            }
            (None, Some((set, element))) => {
                batch.add_new_elements(self.table, &set, &[element]);
            }
            // How egress is decided stays for a container's life, so these are the same.
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Whether shared rules cannot decide for it. With each new container the kernel follows the ways through all chains of
    /// containers, so those that need none have none.
    fn has_chain(&self, sets: &BTreeSet<SetKind>) -> bool {
        !sets.is_empty() || self.denies && self.may_have_neighbours()
    }

    /// Whether it may reach others of its subnet.
    fn may_have_neighbours(&self) -> bool {
        self.reservation.egress == Egress::Allow
            && self.reservation.lease.subnet.prefix_length() < ROOM_FOR_ONE
    }

    /// From the chain that looks into the sets `before`, or none, to that which looks into those of `after`.
    fn change_chain(
        &self,
        batch: &mut Batch,
        before: Option<&BTreeSet<SetKind>>,
        after: Option<&BTreeSet<SetKind>>,
    ) {
        let before = before.is_some_and(|sets| self.has_chain(sets));
        let after = after.filter(|sets| self.has_chain(sets));
        let chain = self.chain();
        match (before, after) {
            (false, Some(sets)) => {
                batch.add_chain(self.table, &Chain::new(&chain));
                self.rules(batch, sets);
                batch.add_new_elements(self.table, &skeleton::owners(), &[self.owner()]);
            }
            (true, Some(sets)) => {
                batch.flush_chain(self.table, &chain);
                self.rules(batch, sets);
            }
            (true, None) => {
                batch.delete_elements(self.table, &skeleton::owners(), &[self.owner()]);
                batch.flush_chain(self.table, &chain).delete_chain(self.table, &chain);
            }
            (false, None) => {}
        }
    }

    /// Puts the sets of `destinations` in the place of those of an earlier generation.
    pub(super) fn replace(
        &self,
        batch: &mut Batch,
        destinations: &Destinations,
        earlier: &Guest<'_>,
        sets: &BTreeSet<SetKind>,
    ) {
        self.add_sets(batch, destinations);
        self.change_chain(batch, Some(sets), Some(&destinations.kinds()));
        for kind in sets {
            batch.delete_set(self.table, earlier.set(*kind).name());
        }
        self.change_standing(batch, sets, &destinations.kinds());
    }

    fn add_sets(&self, batch: &mut Batch, destinations: &Destinations) {
        for (kind, pieces) in destinations.sets() {
            let set = self.set(kind);
            let elements: Vec<Element> = pieces.iter().map(|piece| element(kind, piece)).collect();
            batch.add_set(self.table, &set).add_new_elements(self.table, &set, &elements);
        }
    }

    /// Takes out what [`add`](Self::add) and the later calls put in.
    pub(super) fn remove(&self, batch: &mut Batch, sets: &BTreeSet<SetKind>) {
        for port in &self.reservation.ports {
            self.remove_port(batch, *port);
        }
        for (set, element) in self.shared_elements().into_iter().chain(self.standing(sets)) {
            batch.delete_elements(self.table, &set, &[element]);
        }
        self.change_chain(batch, Some(sets), None);
        for kind in sets {
            batch.delete_set(self.table, self.set(*kind).name());
        }
    }

    /// Adds what rules added; `before` are the sets that were there.
    pub(super) fn allow(&self, batch: &mut Batch, before: &BTreeSet<SetKind>, added: &Added) {
        for (kind, pieces) in added {
            let set = self.set(*kind);
            if !before.contains(kind) {
                batch.add_set(self.table, &set);
            }
            let elements: Vec<Element> = pieces.iter().map(|piece| element(*kind, piece)).collect();
            batch.add_new_elements(self.table, &set, &elements);
        }
        let all: BTreeSet<SetKind> = before.iter().chain(added.keys()).copied().collect();
        self.change_standing(batch, before, &all);
        if all.len() > before.len() {
            self.change_chain(batch, Some(before), Some(&all));
        }
    }

    /// Takes back what [`allow`](Self::allow) added; `before` are the sets that were there.
    pub(super) fn forbid(&self, batch: &mut Batch, before: &BTreeSet<SetKind>, added: &Added) {
        let all: BTreeSet<SetKind> = before.iter().chain(added.keys()).copied().collect();
        if all.len() > before.len() {
            self.change_chain(batch, Some(&all), Some(before));
        }
        for (kind, pieces) in added {
            let set = self.set(*kind);
            if before.contains(kind) {
                let elements: Vec<Element> = pieces.iter().map(|piece| element(*kind, piece)).collect();
                batch.delete_elements(self.table, &set, &elements);
            } else {
                batch.delete_set(self.table, set.name());
            }
        }
        self.change_standing(batch, &all, before);
    }

    pub(super) fn add_port(&self, batch: &mut Batch, port: PortMapping) {
        for (set, element) in self.port_elements(port) {
            batch.add_new_elements(self.table, &set, &[element]);
        }
    }

    pub(super) fn remove_port(&self, batch: &mut Batch, port: PortMapping) {
        for (set, element) in self.port_elements(port) {
            batch.delete_elements(self.table, &set, &[element]);
        }
    }

    /// Whose an element or a rule is, for people who list the table: what fits of the handle.
    fn comment(&self) -> &str {
        let handle = self.reservation.handle.as_str();
        &handle[..handle.len().min(MOST_COMMENT)]
    }

    fn chain(&self) -> String {
        format!("c-{}", self.id)
    }

    fn set(&self, kind: SetKind) -> Set {
        let SetKind { traffic: Traffic { family, class, log }, way } = kind;
        let (digit, address) = match family {
            Family::V4 => ('4', Field::Ipv4),
            Family::V6 => ('6', Field::Ipv6),
        };
        let (letter, fields) = match (class, family) {
            (Class::Any, _) => ('a', vec![address, Field::Protocol]),
            (Class::Service, _) => ('s', vec![address, Field::Protocol, Field::Port]),
            (Class::Icmp, Family::V4) => ('i', vec![address, Field::IcmpType, Field::IcmpCode]),
            (Class::Icmp, Family::V6) => ('i', vec![address, Field::Icmp6Type, Field::Icmp6Code]),
        };
        let log = if log { "l" } else { "" };
        // Emptying a set of many ranges takes the kernel a second, dropping it microseconds: other rules get other sets.
        let generation = self.reservation.generation;
        let begin = format!("{log}{letter}{digit}");
        let end = format!("-{}-{generation}", self.id);
        match way {
            Way::Ranges => Set::new(&format!("{begin}{end}"), fields).intervals(),
            Way::Hash(Hash { bits, exact }, room) => {
                let fields = fields.into_iter().take(1 + usize::from(exact));
                Set::new(&format!("{begin}n{bits}x{exact}r{room}{end}"), fields).room(room)
            }
        }
    }

    /// The chain's rules; what they let go is decided by shared rules. Sets whose traffic is logged come first, so that what
    /// two rules allow is logged if one says so.
    fn rules(&self, batch: &mut Batch, sets: &BTreeSet<SetKind>) {
        let chain = self.chain();
        if self.may_have_neighbours() {
            let subnet = self.reservation.lease.subnet;
            // Among containers: what of the subnet is no container's leads out of the host like any other address.
            let neighbours = Rule::new(&chain)
                .matches(oifname_begins(self.prefix))
                .matches(destination_in(subnet.base().into(), subnet.prefix_length()));
            batch.add_rule(self.table, &neighbours.accept().comment(self.comment()));
        }
        let logged_first =
            sets.iter().filter(|kind| kind.traffic.log).chain(sets.iter().filter(|kind| !kind.traffic.log));
        for kind in logged_first {
            batch.add_rule(self.table, &self.lookup(&chain, *kind));
        }
    }

    fn lookup(&self, chain: &str, kind: SetKind) -> Rule {
        let SetKind { traffic: Traffic { family, class, log }, way } = kind;
        let (protocol, address) = match (family, way) {
            (Family::V4, Way::Ranges) => (Protocol::Ipv4, Load::IpDestination),
            (Family::V6, Way::Ranges) => (Protocol::Ipv6, Load::Ip6Destination),
            (Family::V4, Way::Hash(Hash { bits, .. }, _)) => {
                (Protocol::Ipv4, Load::IpDestinationNetwork(bits))
            }
            (Family::V6, Way::Hash(Hash { bits, .. }, _)) => {
                (Protocol::Ipv6, Load::Ip6DestinationNetwork(bits))
            }
        };
        let (transport, key) = match (class, family) {
            (Class::Any, _) => (None, vec![address, Load::L4Proto]),
            (Class::Service, _) => (None, vec![address, Load::L4Proto, Load::DestinationPort]),
            (Class::Icmp, Family::V4) => (Some(ICMP), vec![address, Load::IcmpType, Load::IcmpCode]),
            (Class::Icmp, Family::V6) => (Some(ICMPV6), vec![address, Load::Icmp6Type, Load::Icmp6Code]),
        };
        let fields = match way {
            Way::Ranges => key.len(),
            Way::Hash(Hash { exact, .. }, _) => 1 + usize::from(exact),
        };
        let of_family = Rule::new(chain).matches(nfproto(protocol));
        let rule = match transport {
            Some(transport) => of_family.matches(l4proto(transport)),
            None => of_family,
        };
        let rule = rule.in_set(self.set(kind).name(), key.into_iter().take(fields));
        let handle = self.reservation.handle.as_str();
        if !log {
            return rule.accept().comment(self.comment());
        }
        let begin = &handle[..handle.len().min(LOG_PREFIX)];
        rule.log(&format!("{begin} ")).accept().comment(self.comment())
    }

    /// What leads to the chain, and back where no rule of it decides.
    fn owner(&self) -> Element {
        let link = Value::IfName(self.link.to_owned());
        Element::new([link]).verdict(Verdict::Jump(self.chain())).comment(self.comment())
    }

    fn shared_elements(&self) -> Vec<(Set, Element)> {
        let link = || Value::IfName(self.link.to_owned());
        let mut elements = Vec::new();
        for (gateway, address) in self.reservation.ends() {
            let sets = Shared::of(Family::of(address));
            let mac = Value::Ether(crate::links::mac_of(self.reservation).0);
            elements.extend([
                (sets.guests, Element::new([link(), mac, address.into()])),
                (sets.masked, Element::new([address.into()])),
                (sets.hairpins, Element::new([address.into(), address.into()])),
                (sets.gateways, Element::new([link(), gateway.into()])),
            ]);
        }
        elements
    }

    /// A mapped port of each family that the container has.
    fn port_elements(&self, port: PortMapping) -> Vec<(Set, Element)> {
        let PortMapping { host_port, container_port, transport } = port;
        let element = |(_, address): (IpAddr, IpAddr)| {
            let element = Element::new([Value::Byte(number_of(transport)), Value::Port(host_port)])
                .data([address.into(), Value::Port(container_port)])
                .comment(self.comment());
            (Shared::of(Family::of(address)).mapped, element)
        };
        self.reservation.ends().map(element).collect()
    }
}

/// A piece as an element of its set.
fn element(SetKind { traffic, way }: SetKind, piece: &Piece) -> Element {
    let Piece { addresses, second, third } = *piece;
    let bytes = |span: Span<u16>| (Value::Byte(low_byte(span.low)), Value::Byte(low_byte(span.high)));
    let ports = |span: Span<u16>| (Value::Port(span.low), Value::Port(span.high));
    let addresses = addresses_of(traffic.family, addresses);
    // Ranges of several fields are another structure in the kernel than those of one: the same for all classes.
    let whole = (Value::Byte(0), Value::Byte(u8::MAX));
    let (fields, count) = match traffic.class {
        Class::Any => ([addresses, whole.clone(), whole], 2),
        Class::Service => ([addresses, bytes(second), ports(third)], 3),
        Class::Icmp => ([addresses, bytes(second), bytes(third)], 3),
    };
    match way {
        Way::Ranges => Element::range(fields.into_iter().take(count)),
        Way::Hash(Hash { exact, .. }, _) => {
            Element::new(fields.into_iter().take(1 + usize::from(exact)).map(|(first, _)| first))
        }
    }
}

/// A range of addresses as values.
pub(super) fn addresses_of(family: Family, span: Span) -> (Value, Value) {
    let address = |number: u128| match family {
        Family::V4 => Value::Ipv4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        Family::V6 => Value::Ipv6(Ipv6Addr::from(number)),
    };
    (address(span.low), address(span.high))
}

fn low_byte(number: u16) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
