//! Conditions of rules, one readable function each.

use std::net::IpAddr;
use std::ops::BitOr;

use super::load::mask_of;
use super::{Expression, Load, PayloadBase};
use crate::name::check_interface;
use crate::set::interface;
use crate::{Error, Result};

/// Number of TCP among transport protocols.
pub(crate) const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// A network protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Protocol {
    pub(crate) fn of(address: IpAddr) -> Protocol {
        if address.is_ipv6() { Protocol::Ipv6 } else { Protocol::Ipv4 }
    }

    /// `NFPROTO_*`.
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Ipv4 => 2,
            Protocol::Ipv6 => 10,
        }
    }
}

/// What has to be true of a packet for an expression to make sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requirements {
    pub(crate) network: Option<Protocol>,
    pub(crate) transport: Option<u8>,
    pub(crate) ethernet: bool,
}

impl Requirements {
    pub(crate) const NONE: Requirements = Requirements { network: None, transport: None, ethernet: false };
    pub(crate) const IPV4: Requirements =
        Requirements { network: Some(Protocol::Ipv4), ..Requirements::NONE };
    pub(crate) const IPV6: Requirements =
        Requirements { network: Some(Protocol::Ipv6), ..Requirements::NONE };
    pub(crate) const ICMP: Requirements = Requirements { transport: Some(ICMP), ..Requirements::NONE };
    pub(crate) const ICMP6: Requirements = Requirements { transport: Some(ICMP6), ..Requirements::NONE };
    pub(crate) const ETHERNET: Requirements = Requirements { ethernet: true, ..Requirements::NONE };
}

/// States of connections, to be or-ed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtState(u32);

#[allow(missing_docs, reason = "the names of nft(8), CT EXPRESSIONS")]
impl CtState {
    pub const INVALID: CtState = CtState(1);
    pub const ESTABLISHED: CtState = CtState(2);
    pub const RELATED: CtState = CtState(4);
    pub const NEW: CtState = CtState(8);
    pub const UNTRACKED: CtState = CtState(64);
}

impl BitOr for CtState {
    type Output = CtState;
    fn bitor(self, other: CtState) -> CtState {
        CtState(self.0 | other.0)
    }
}

/// Properties of connections, to be or-ed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtStatus(u32);

impl CtStatus {
    /// Its source address is translated.
    pub const SNAT: CtStatus = CtStatus(16);
    /// Its destination address is translated.
    pub const DNAT: CtStatus = CtStatus(32);
}

impl BitOr for CtStatus {
    type Output = CtStatus;
    fn bitor(self, other: CtStatus) -> CtStatus {
        CtStatus(self.0 | other.0)
    }
}

/// A condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub(crate) requires: Requirements,
    /// A condition that is a requirement itself is written once per rule.
    pub(crate) test: Option<Test>,
    pub(crate) fault: Option<Error>,
}

/// A comparison of what is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    load: Load,
    mask: Option<Vec<u8>>,
    equal: bool,
    value: Vec<u8>,
}

impl Match {
    fn equal(load: Load, value: Vec<u8>) -> Match {
        let test = Test { load, mask: None, equal: true, value };
        Match { requires: load.requirements(), test: Some(test), fault: None }
    }

    fn masked(load: Load, mask: Vec<u8>, equal: bool, value: Vec<u8>) -> Match {
        let test = Test { load, mask: Some(mask), equal, value };
        Match { requires: load.requirements(), test: Some(test), fault: None }
    }

    fn checked(mut self, result: Result<()>) -> Match {
        self.fault = result.err();
        self
    }

    /// The opposite. What makes the comparison possible stays: not a source of 10.0.0.1 is a source of IPv4 still.
    pub fn negated(mut self) -> Match {
        match (&mut self.test, self.requires) {
            (Some(test), _) => test.equal = !test.equal,
            (test @ None, Requirements { network: Some(protocol), .. }) => {
                *test = Some(Test {
                    load: Load::NfProto,
                    mask: None,
                    equal: false,
                    value: vec![protocol.number()],
                });
                self.requires = Requirements::NONE;
            }
            (test @ None, Requirements { transport, .. }) => {
                let value = vec![transport.unwrap_or(0)];
                *test = Some(Test { load: Load::L4Proto, mask: None, equal: false, value });
                self.requires = Requirements::NONE;
            }
        }
        self
    }
}

impl Test {
    pub(crate) fn expressions(self) -> impl Iterator<Item = Expression> {
        let load = Expression::Load { what: self.load, word: 0 };
        let and = self.mask.map(|mask| Expression::And { word: 0, mask });
        let compare = Expression::Compare { word: 0, equal: self.equal, value: self.value };
        [Some(load), and, Some(compare)].into_iter().flatten()
    }
}

/// The interface it came in by has this name (at most 15 bytes).
pub fn iifname(name: &str) -> Match {
    Match::equal(Load::IifName, interface(name)).checked(check_interface(name))
}

/// The interface it came in by has a name that begins so.
pub fn iifname_begins(beginning: &str) -> Match {
    Match::equal(Load::IifName, beginning.as_bytes().to_vec()).checked(check_interface(beginning))
}

/// The interface it goes out by has this name (at most 15 bytes).
pub fn oifname(name: &str) -> Match {
    Match::equal(Load::OifName, interface(name)).checked(check_interface(name))
}

/// The interface it goes out by has a name that begins so.
pub fn oifname_begins(beginning: &str) -> Match {
    Match::equal(Load::OifName, beginning.as_bytes().to_vec()).checked(check_interface(beginning))
}

/// The interface it came in by is of this kind (`ARPHRD_*`; 1 is Ethernet, 772 the loopback).
pub fn iif_type(kind: u16) -> Match {
    Match::equal(Load::IifType, kind.to_ne_bytes().to_vec())
}

/// It is of this network protocol.
pub fn nfproto(protocol: Protocol) -> Match {
    let requires = Requirements { network: Some(protocol), ..Requirements::NONE };
    Match { requires, test: None, fault: None }
}

/// It is of this transport protocol (6 is TCP, 17 UDP).
pub fn l4proto(protocol: u8) -> Match {
    let requires = Requirements { transport: Some(protocol), ..Requirements::NONE };
    Match { requires, test: None, fault: None }
}

/// It has this mark.
pub fn mark(mark: u32) -> Match {
    Match::equal(Load::Mark, mark.to_ne_bytes().to_vec())
}

/// It has this source address.
pub fn source(address: IpAddr) -> Match {
    let load = if address.is_ipv6() { Load::Ip6Source } else { Load::IpSource };
    Match::equal(load, octets(address))
}

/// It has this destination address.
pub fn destination(address: IpAddr) -> Match {
    let load = if address.is_ipv6() { Load::Ip6Destination } else { Load::IpDestination };
    Match::equal(load, octets(address))
}

/// Its source address begins with the first `prefix` bits of this one; bits behind them do not count.
pub fn source_in(address: IpAddr, prefix: u8) -> Match {
    let load = if address.is_ipv6() { Load::Ip6Source } else { Load::IpSource };
    in_prefix(load, address, prefix)
}

/// Its destination address begins with the first `prefix` bits of this one; bits behind them do not count.
pub fn destination_in(address: IpAddr, prefix: u8) -> Match {
    let load = if address.is_ipv6() { Load::Ip6Destination } else { Load::IpDestination };
    in_prefix(load, address, prefix)
}

/// Its destination is an address of this host.
pub fn destination_is_local() -> Match {
    const RTN_LOCAL: u32 = 2;
    Match::equal(Load::DestinationType, RTN_LOCAL.to_ne_bytes().to_vec())
}

/// It has this source port. The rule has to see to the protocol.
pub fn source_port(port: u16) -> Match {
    Match::equal(Load::SourcePort, port.to_be_bytes().to_vec())
}

/// It has this destination port. The rule has to see to the protocol.
pub fn destination_port(port: u16) -> Match {
    Match::equal(Load::DestinationPort, port.to_be_bytes().to_vec())
}

/// It has this source hardware address.
pub fn ether_source(address: [u8; 6]) -> Match {
    Match::equal(Load::EtherSource, address.to_vec())
}

/// It is an ICMP message of this type.
pub fn icmp_type(kind: u8) -> Match {
    Match::equal(Load::IcmpType, vec![kind])
}

/// It is an ICMP message of this code.
pub fn icmp_code(code: u8) -> Match {
    Match::equal(Load::IcmpCode, vec![code])
}

/// It is an ICMPv6 message of this type.
pub fn icmp6_type(kind: u8) -> Match {
    Match::equal(Load::Icmp6Type, vec![kind])
}

/// Its connection has one of these states.
pub fn ct_state(states: CtState) -> Match {
    Match::masked(Load::CtState, states.0.to_ne_bytes().to_vec(), false, vec![0; 4])
}

/// Its connection has one of these properties.
pub fn ct_status(properties: CtStatus) -> Match {
    Match::masked(Load::CtStatus, properties.0.to_ne_bytes().to_vec(), false, vec![0; 4])
}

/// A header has these bytes (at most 16) at this offset.
pub fn payload(base: PayloadBase, offset: u32, bytes: &[u8]) -> Match {
    const LIMIT: usize = 16;
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let fine = (1..=LIMIT).contains(&bytes.len());
    let fault = Error::TooLong { what: "payload comparison in bytes", limit: LIMIT };
    Match::equal(Load::Payload { base, offset, length }, bytes.to_vec()).checked(if fine {
        Ok(())
    } else {
        Err(fault)
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn in_prefix(load: Load, address: IpAddr, prefix: u8) -> Match {
    let value = octets(address);
    let Some(mask) = mask_of(usize::from(prefix), value.len()) else { return Match::equal(load, value) };
    let value = value.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
    Match::masked(load, mask, true, value)
}
