//! Frames, byte by byte: what no honest program sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl Mac {
    /// Everybody on a link.
    pub(crate) const ALL: Mac = Mac([0xff; 6]);
    /// All IPv6 hosts of a link.
    pub(crate) const ALL_NODES: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

    /// As `ip` prints it.
    ///
    /// # Panics
    /// When it is not of that form.
    pub(crate) fn parse(text: &str) -> Self {
        let parts: Vec<u8> =
            text.trim().split(':').map(|part| u8::from_str_radix(part, 16).unwrap()).collect();
        Mac(parts.try_into().unwrap())
    }
}

/// Numbers of what is in a frame.
pub(crate) mod kind {
    /// IPv4.
    pub(crate) const IPV4: u16 = 0x0800;
    /// ARP.
    pub(crate) const ARP: u16 = 0x0806;
    /// The tag of a virtual LAN.
    pub(crate) const VLAN: u16 = 0x8100;
    /// IPv6.
    pub(crate) const IPV6: u16 = 0x86dd;
}

/// Numbers of what is in a packet.
pub(crate) mod protocol {
    /// Options of IPv6 for every router.
    pub(crate) const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub(crate) const ICMP: u8 = 1;
    /// IPv4 in a packet.
    pub(crate) const IPIP: u8 = 4;
    /// TCP.
    pub(crate) const TCP: u8 = 6;
    /// UDP.
    pub(crate) const UDP: u8 = 17;
    /// IPv6 in a packet.
    pub(crate) const IPV6: u8 = 41;
    /// A fragment of IPv6.
    pub(crate) const FRAGMENT: u8 = 44;
    /// Generic routing encapsulation.
    pub(crate) const GRE: u8 = 47;
    /// ICMPv6.
    pub(crate) const ICMPV6: u8 = 58;
    /// Options of IPv6 for who receives it.
    pub(crate) const DESTINATION: u8 = 60;
    /// SCTP.
    pub(crate) const SCTP: u8 = 132;
    /// For experiments.
    pub(crate) const TEST: u8 = 253;
}

/// A frame.
pub(crate) fn frame(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind.to_be_bytes(), payload].concat()
}

/// A frame in a virtual LAN.
pub(crate) fn tagged(to: Mac, from: Mac, lan: u16, kind: u16, payload: &[u8]) -> Vec<u8> {
    let inner = [&lan.to_be_bytes()[..], &kind.to_be_bytes(), payload].concat();
    frame(to, from, kind::VLAN, &inner)
}

/// What ARP asks (1) or tells (2), with something behind it that nobody reads.
pub(crate) fn arp(
    operation: u8,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
    trailer: &[u8],
) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let ends = [sender, target].map(|(mac, address)| [&mac.0[..], &address.octets()].concat());
    [&head[..], &ends.concat(), trailer].concat()
}

/// A packet of IPv4 with whatever its header is to say.
#[derive(Clone, Debug)]
pub(crate) struct Ipv4 {
    /// Its source.
    pub(crate) source: Ipv4Addr,
    /// Its destination.
    pub(crate) destination: Ipv4Addr,
    /// What is in it.
    pub(crate) protocol: u8,
    /// The number that fragments share.
    pub(crate) id: u16,
    /// More fragments follow.
    pub(crate) more: bool,
    /// Where the fragment belongs, in units of eight bytes.
    pub(crate) offset: u16,
    /// Options, a multiple of four bytes.
    pub(crate) options: Vec<u8>,
}

impl Ipv4 {
    /// A whole packet without options.
    pub(crate) fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Ipv4 { source, destination, protocol, id: 7, more: false, offset: 0, options: Vec::new() }
    }

    /// The packet with its content.
    pub(crate) fn around(&self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let length = u16::try_from(header + payload.len()).unwrap();
        let words = u8::try_from(header / 4).unwrap();
        let fragment = u16::from(self.more) << 13 | self.offset;
        let mut packet = [
            &[0x40 | words, 0][..],
            &length.to_be_bytes(),
            &self.id.to_be_bytes(),
            &fragment.to_be_bytes(),
            &[64, self.protocol, 0, 0],
            &self.source.octets(),
            &self.destination.octets(),
            &self.options,
        ]
        .concat();
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(payload);
        packet
    }
}

/// A packet of IPv6, with the number of its first header behind the fixed one.
pub(crate) fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let head = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, hops]].concat();
    [&head[..], &source.octets(), &destination.octets(), payload].concat()
}

/// A packet of the addresses' family.
///
/// # Panics
/// When they are of two.
pub(crate) fn packet(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Ipv4::new(source, destination, protocol).around(payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => ipv6(source, destination, protocol, 64, payload),
        _ => panic!("{source} and {destination} are of two families"),
    }
}

/// What the kernel calls the family of an address.
pub(crate) fn kind_of(address: IpAddr) -> u16 {
    if address.is_ipv4() { kind::IPV4 } else { kind::IPV6 }
}

/// A datagram, to be put into a packet of these addresses.
pub(crate) fn udp(source: IpAddr, destination: IpAddr, port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let head = [40_000_u16.to_be_bytes(), port.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    summed(source, destination, protocol::UDP, [&head[..], payload].concat(), 6)
}

/// A segment of TCP with these flags, to be put into a packet of these addresses.
pub(crate) fn tcp(source: IpAddr, destination: IpAddr, port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let ports = [40_001_u16.to_be_bytes(), port.to_be_bytes()].concat();
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
    summed(source, destination, protocol::TCP, [&ports[..], &rest, payload].concat(), 16)
}

/// A message of ICMP: type, code, the rest of its head, and what follows.
pub(crate) fn icmp(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], &rest, payload].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// A message of ICMPv6, to be put into a packet of these addresses.
pub(crate) fn icmp6(source: Ipv6Addr, destination: Ipv6Addr, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let message = [&[kind, code, 0, 0][..], body].concat();
    summed(source.into(), destination.into(), protocol::ICMPV6, message, 2)
}

/// Writes the sum of a packet's content to its place.
fn summed(source: IpAddr, destination: IpAddr, protocol: u8, mut content: Vec<u8>, place: usize) -> Vec<u8> {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let pseudo = [&address(source)[..], &address(destination), &[0, protocol], &length, &content].concat();
    content[place..place + 2].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    content
}

/// The sum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("it has been folded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_sum_up_to_nothing() {
        let (one, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let datagram = udp(one.into(), other.into(), 53, b"odd");
        let whole = Ipv4::new(one, other, protocol::UDP).around(&datagram);
        assert_eq!(checksum(&whole[..20]), 0);
        let length = u8::try_from(datagram.len()).unwrap();
        let pseudo = [&one.octets()[..], &other.octets(), &[0, protocol::UDP, 0, length], &datagram].concat();
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(checksum(&icmp(8, 0, [0; 4], b"four")), 0);
    }

    /// The example of RFC 1071, section 3.
    #[test]
    fn the_sum_is_that_of_the_standard() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn fragments_and_options_are_where_the_header_says() {
        let (one, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let odd = Ipv4 { more: true, offset: 3, options: vec![1; 4], ..Ipv4::new(one, other, 17) };
        let packet = odd.around(b"12345678");
        assert_eq!((packet[0], packet[6], packet[7], packet.len()), (0x46, 0x20, 3, 32));
        assert_eq!(&packet[24..], b"12345678");
    }
}
