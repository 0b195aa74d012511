//! What is durable of a container's network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gdn_ipam::{Lease, Prefix};
use gdn_types::{
    BandwidthLimits, Egress, Error, Handle, IcmpRule, IpRange, NetOutRule, PortMapping, PortRange, Protocol,
    Result, Transport, push_address,
};
use prost::Message;
use prost::encoding::{self, WireType, encode_key, encode_varint, uint32};

use crate::pools::Addresses;

/// The latest form on disk that this build reads. What earlier builds understand wholly is written as what they know.
const VERSION: u32 = 2;
/// The first form.
const PLAIN: u32 = 1;

/// A container's place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) handle: Handle,
    pub(crate) lease: Lease,
    pub(crate) prefix: Option<Prefix>,
    pub(crate) ports: Vec<PortMapping>,
    pub(crate) egress: Egress,
    /// How many times the rules were replaced as a whole.
    pub(crate) generation: u64,
    /// Limits of what it sends and receives.
    pub(crate) bandwidth: BandwidthLimits,
}

impl Reservation {
    /// The form on disk.
    pub(crate) fn encode(&self) -> Vec<u8> {
        Stored {
            version: self.version(),
            handle: self.handle.to_string(),
            subnet: self.lease.subnet.to_string(),
            address: self.lease.address.to_string(),
            prefix: self.prefix.map(|prefix| prefix.to_string()).unwrap_or_default(),
            ports: self
                .ports
                .iter()
                .map(|port| Pair {
                    first: port.host_port.into(),
                    second: port.container_port.into(),
                    udp: port.transport == Transport::Udp,
                })
                .collect(),
            denies: self.egress == Egress::Deny,
            generation: self.generation,
            rate: self.bandwidth.rate,
            burst: self.bandwidth.burst,
        }
        .encode_to_vec()
    }

    /// A build that knows no limits would drop them when it writes the record, and take ports of UDP for ports of TCP.
    fn version(&self) -> u32 {
        let udp = self.ports.iter().any(|port| port.transport == Transport::Udp);
        if self.is_limited() || udp { VERSION } else { PLAIN }
    }

    /// Whether what goes through its link is limited.
    pub(crate) fn is_limited(&self) -> bool {
        self.bandwidth.rate > 0
    }

    /// Reads the form on disk back.
    ///
    /// # Errors
    /// `Internal`, saying what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::decode(bytes).map_err(|error| Error::internal(format!("no record: {error}")))?;
        must_be_known(stored.version, VERSION)?;
        let subnet = parsed("subnet", &stored.subnet)?;
        let lease = Lease { subnet, address: parsed::<Ipv4Addr>("address", &stored.address)? };
        let prefix: Option<Prefix> = match stored.prefix.as_str() {
            "" => None,
            text => Some(parsed("prefix", text)?),
        };
        let mapping = |pair: &Pair| -> Result<PortMapping> {
            let transport = if pair.udp { Transport::Udp } else { Transport::Tcp };
            Ok(PortMapping { host_port: small(pair.first)?, container_port: small(pair.second)?, transport })
        };
        Ok(Reservation {
            handle: Handle::parse(&stored.handle)?,
            lease,
            prefix,
            ports: stored.ports.iter().map(mapping).collect::<Result<_>>()?,
            egress: if stored.denies { Egress::Deny } else { Egress::Allow },
            generation: stored.generation,
            bandwidth: BandwidthLimits { rate: stored.rate, burst: stored.burst },
        })
    }

    /// What it holds of the pools of addresses.
    pub(crate) fn held(&self) -> Addresses {
        Addresses { lease: self.lease, prefix: self.prefix }
    }

    /// Gateway and address, of each family that the container has.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + use<> {
        let six = self.prefix.map(|prefix| (prefix.gateway().into(), prefix.address().into()));
        std::iter::once((self.lease.gateway().into(), self.lease.address.into())).chain(six)
    }

    /// The container's addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ends().map(|(_, address)| address)
    }

    /// The container's IPv6 address.
    pub(crate) fn address6(&self) -> Option<Ipv6Addr> {
        self.prefix.map(Prefix::address)
    }
}

/// Rules that came together, in the form on disk.
///
/// As [`Rules`] would be written, field by field: thousands of rules at once are common, and strings and lists of each would
/// take longer than all else that is done with it.
pub(crate) fn encode_rules(rules: &[NetOutRule]) -> Vec<u8> {
    // A network of IPv4 and a port take some forty bytes.
    let mut bytes = Vec::with_capacity(16 + rules.len() * 48);
    uint32::encode(1, &PLAIN, &mut bytes);
    let (mut rule, mut part, mut text) = (Vec::new(), Vec::new(), String::new());
    for NetOutRule { protocol, networks, ports, icmp, log } in rules {
        rule.clear();
        put_number(1, number_of(*protocol), &mut rule);
        for range in networks {
            part.clear();
            for (tag, address) in [(1, range.start), (2, range.end)] {
                text.clear();
                push_address(&mut text, address);
                encoding::string::encode(tag, &text, &mut part);
            }
            put_message(2, &part, &mut rule);
        }
        for range in ports {
            part.clear();
            put_number(1, range.start.into(), &mut part);
            put_number(2, range.end.into(), &mut part);
            put_message(3, &part, &mut rule);
        }
        if let Some(icmp) = icmp {
            uint32::encode(4, &icmp.kind.into(), &mut rule);
            icmp.code.iter().for_each(|code| uint32::encode(5, &u32::from(*code), &mut rule));
        }
        if *log {
            encoding::bool::encode(6, log, &mut rule);
        }
        put_message(2, &rule, &mut bytes);
    }
    bytes
}

/// A number that is left out where it is 0.
fn put_number(tag: u32, number: u32, to: &mut Vec<u8>) {
    if number != 0 {
        uint32::encode(tag, &number, to);
    }
}

fn put_message(tag: u32, message: &[u8], to: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(message.len() as u64, to);
    to.extend_from_slice(message);
}

/// Reads the form on disk back.
///
/// # Errors
/// `Internal`, saying what is wrong with it.
pub(crate) fn decode_rules(bytes: &[u8]) -> Result<Vec<NetOutRule>> {
    let stored = Rules::decode(bytes).map_err(|error| Error::internal(format!("no rules: {error}")))?;
    must_be_known(stored.version, PLAIN)?;
    stored.rules.iter().map(rule_back).collect()
}

/// 0 is no version: it marks bytes that are no record.
fn must_be_known(version: u32, latest: u32) -> Result<()> {
    match (PLAIN..=latest).contains(&version) {
        true => Ok(()),
        false => Err(Error::internal(format!("of version {version}, the latest known is {latest}"))),
    }
}

fn parsed<T: std::str::FromStr>(what: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::internal(format!("{what} {text:?} cannot be read")))
}

fn small<T: TryFrom<u32>>(number: u32) -> Result<T> {
    T::try_from(number).map_err(|_| Error::internal(format!("{number} is out of range")))
}

fn number_of(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::All => 0,
        Protocol::Tcp => 1,
        Protocol::Udp => 2,
        Protocol::Icmp => 3,
        Protocol::Icmpv6 => 4,
    }
}

fn rule_back(rule: &Rule) -> Result<NetOutRule> {
    let address = |text: &str| parsed::<IpAddr>("address", text);
    Ok(NetOutRule {
        protocol: match rule.protocol {
            0 => Protocol::All,
            1 => Protocol::Tcp,
            2 => Protocol::Udp,
            3 => Protocol::Icmp,
            4 => Protocol::Icmpv6,
            other => return Err(Error::internal(format!("{other} is no protocol"))),
        },
        networks: rule
            .networks
            .iter()
            .map(|range| Ok(IpRange { start: address(&range.start)?, end: address(&range.end)? }))
            .collect::<Result<_>>()?,
        ports: rule
            .ports
            .iter()
            .map(|range| Ok(PortRange { start: small(range.first)?, end: small(range.second)? }))
            .collect::<Result<_>>()?,
        icmp: match rule.icmp_type {
            Some(kind) => Some(IcmpRule { kind: small(kind)?, code: rule.icmp_code.map(small).transpose()? }),
            None => None,
        },
        log: rule.log,
    })
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(string, tag = "2")]
    handle: String,
    #[prost(string, tag = "3")]
    subnet: String,
    #[prost(string, tag = "4")]
    address: String,
    #[prost(string, tag = "5")]
    prefix: String,
    #[prost(message, repeated, tag = "6")]
    ports: Vec<Pair>,
    #[prost(bool, tag = "7")]
    denies: bool,
    #[prost(uint64, tag = "8")]
    generation: u64,
    #[prost(uint64, tag = "9")]
    rate: u64,
    #[prost(uint64, tag = "10")]
    burst: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Rules {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, repeated, tag = "2")]
    rules: Vec<Rule>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(uint32, tag = "1")]
    first: u32,
    #[prost(uint32, tag = "2")]
    second: u32,
    /// Of a port that is mapped.
    #[prost(bool, tag = "3")]
    udp: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Rule {
    #[prost(uint32, tag = "1")]
    protocol: u32,
    #[prost(message, repeated, tag = "2")]
    networks: Vec<Range>,
    #[prost(message, repeated, tag = "3")]
    ports: Vec<Pair>,
    #[prost(uint32, optional, tag = "4")]
    icmp_type: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    icmp_code: Option<u32>,
    #[prost(bool, tag = "6")]
    log: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Range {
    #[prost(string, tag = "1")]
    start: String,
    #[prost(string, tag = "2")]
    end: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Reservation {
        Reservation {
            handle: Handle::parse("web").unwrap(),
            lease: Lease { subnet: "10.254.0.0/30".parse().unwrap(), address: Ipv4Addr::new(10, 254, 0, 2) },
            prefix: None,
            ports: Vec::new(),
            egress: Egress::Allow,
            generation: 0,
            bandwidth: BandwidthLimits::default(),
        }
    }

    #[test]
    fn a_reservation_reads_back_as_it_was_written() {
        let range = IpRange { start: "10.0.0.1".parse().unwrap(), end: "10.0.0.9".parse().unwrap() };
        let six = IpRange { start: "fd00::1".parse().unwrap(), end: "fd00::1".parse().unwrap() };
        let rules = vec![
            NetOutRule::default(),
            NetOutRule {
                protocol: Protocol::Udp,
                networks: vec![range, six],
                ports: vec![PortRange { start: 1, end: 65535 }],
                icmp: None,
                log: true,
            },
            NetOutRule {
                protocol: Protocol::Icmp,
                icmp: Some(IcmpRule { kind: 8, code: Some(0) }),
                ..NetOutRule::default()
            },
            NetOutRule {
                protocol: Protocol::Icmpv6,
                icmp: Some(IcmpRule { kind: 128, code: None }),
                ..NetOutRule::default()
            },
        ];
        let lease = Lease { subnet: "10.254.0.0/30".parse().unwrap(), address: Ipv4Addr::new(10, 254, 0, 2) };
        let reservation = Reservation {
            handle: Handle::parse("web").unwrap(),
            lease,
            prefix: Some("fd00:0:0:7::/64".parse().unwrap()),
            ports: vec![
                PortMapping { host_port: 61001, container_port: 8080, transport: Transport::Tcp },
                PortMapping { host_port: 61001, container_port: 53, transport: Transport::Udp },
            ],
            egress: Egress::Deny,
            generation: 7,
            bandwidth: BandwidthLimits { rate: 1 << 40, burst: 3 },
        };
        assert_eq!(Reservation::decode(&reservation.encode()).unwrap(), reservation);
        assert_eq!(decode_rules(&encode_rules(&rules)).unwrap(), rules);
        // Written by hand, and just so.
        let known = Rules::decode(&encode_rules(&rules)[..]).unwrap();
        assert_eq!(known.encode_to_vec(), encode_rules(&rules));
        let bandwidth = BandwidthLimits::default();
        let plain = Reservation { prefix: None, egress: Egress::Allow, bandwidth, ..reservation };
        assert_eq!(Reservation::decode(&plain.encode()).unwrap(), plain);
        assert_eq!(plain.address6(), None);
    }

    #[test]
    fn only_what_earlier_builds_do_not_know_is_written_as_a_version_of_its_own() {
        let plain = plain();
        assert_eq!(Stored::decode(&plain.encode()[..]).unwrap().version, PLAIN);
        let bandwidth = BandwidthLimits { rate: 1, burst: 0 };
        let limited = Reservation { bandwidth, ..plain };
        assert_eq!(Stored::decode(&limited.encode()[..]).unwrap().version, VERSION);
        let ports = vec![PortMapping { host_port: 1, container_port: 1, transport: Transport::Udp }];
        let named = Reservation { ports, ..self::plain() };
        assert_eq!(Stored::decode(&named.encode()[..]).unwrap().version, VERSION);
    }

    #[test]
    fn what_is_no_reservation_is_refused() {
        for bytes in [&b"x"[..], b"", &[8, 9]] {
            assert!(Reservation::decode(bytes).is_err());
            assert!(decode_rules(bytes).is_err());
        }
    }
}
