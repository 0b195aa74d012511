//! What of a packet can be loaded into registers.

use super::Requirements;
use crate::attribute::Writer;

/// A header of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadBase {
    /// The link's, as Ethernet.
    Link,
    /// IPv4's or IPv6's.
    Network,
    /// TCP's, UDP's, ICMP's.
    Transport,
}

/// A property of a packet, to be compared or looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Load {
    /// The name of the interface it came in by; empty for packets of this host.
    IifName,
    /// The name of the interface it goes out by.
    OifName,
    /// The kind of the interface it came in by (`ARPHRD_*`; 1 is Ethernet), 2 bytes of the host's order.
    IifType,
    /// The network protocol, 1 byte: 2 is IPv4, 10 is IPv6.
    NfProto,
    /// The transport protocol, 1 byte.
    L4Proto,
    /// Its mark.
    Mark,
    /// IPv4 source address. Packets of other protocols are not matched.
    IpSource,
    /// IPv4 destination address. Packets of other protocols are not matched.
    IpDestination,
    /// IPv6 source address. Packets of other protocols are not matched.
    Ip6Source,
    /// IPv6 destination address. Packets of other protocols are not matched.
    Ip6Destination,
    /// The first bits of the IPv4 destination address, so many, and zeros: the first address of its network. Packets of
    /// other protocols are not matched.
    IpDestinationNetwork(u8),
    /// The first bits of the IPv6 destination address, so many, and zeros: the first address of its network. Packets of
    /// other protocols are not matched.
    Ip6DestinationNetwork(u8),
    /// Source port of TCP, UDP and others that have it at the same place; the rule has to see to the protocol.
    SourcePort,
    /// Destination port of TCP, UDP and others that have it at the same place; the rule has to see to the protocol.
    DestinationPort,
    /// Source hardware address. Packets that came by other links than Ethernet are not matched.
    EtherSource,
    /// Type of an ICMP message. Other packets are not matched.
    IcmpType,
    /// Code of an ICMP message. Other packets are not matched.
    IcmpCode,
    /// Type of an ICMPv6 message. Other packets are not matched.
    Icmp6Type,
    /// Code of an ICMPv6 message. Other packets are not matched.
    Icmp6Code,
    /// State of its connection, a mask of 4 bytes.
    CtState,
    /// Status of its connection, a mask of 4 bytes.
    CtStatus,
    /// Kind of its destination address (`RTN_*`; 2 is local), 4 bytes of the host's order.
    DestinationType,
    /// Bytes of a header.
    Payload {
        /// Which header.
        base: PayloadBase,
        /// Bytes before them in the header.
        offset: u32,
        /// How many, at most 16.
        length: u8,
    },
}

enum Kind {
    Meta(u32),
    Ct(u32),
    Fib { result: u32, flags: u32 },
    Payload { base: PayloadBase, offset: u32 },
}

impl Load {
    /// How the kernel is told, and how many bytes it gives.
    fn kind(self) -> (Kind, usize) {
        use PayloadBase::{Link, Network, Transport};
        let payload = |base, offset, length| (Kind::Payload { base, offset }, length);
        match self {
            Load::Mark => (Kind::Meta(3), 4),
            Load::IifName => (Kind::Meta(6), 16),
            Load::OifName => (Kind::Meta(7), 16),
            Load::IifType => (Kind::Meta(8), 2),
            Load::NfProto => (Kind::Meta(15), 1),
            Load::L4Proto => (Kind::Meta(16), 1),
            Load::IpSource => payload(Network, 12, 4),
            Load::IpDestination | Load::IpDestinationNetwork(_) => payload(Network, 16, 4),
            Load::Ip6Source => payload(Network, 8, 16),
            Load::Ip6Destination | Load::Ip6DestinationNetwork(_) => payload(Network, 24, 16),
            Load::SourcePort => payload(Transport, 0, 2),
            Load::DestinationPort => payload(Transport, 2, 2),
            Load::EtherSource => payload(Link, 6, 6),
            Load::IcmpType | Load::Icmp6Type => payload(Transport, 0, 1),
            Load::IcmpCode | Load::Icmp6Code => payload(Transport, 1, 1),
            Load::CtState => (Kind::Ct(0), 4),
            Load::CtStatus => (Kind::Ct(2), 4),
            Load::DestinationType => (Kind::Fib { result: 3, flags: 2 }, 4),
            Load::Payload { base, offset, length } => payload(base, offset, usize::from(length)),
        }
    }

    /// Bytes it gives.
    pub(crate) fn length(self) -> usize {
        self.kind().1
    }

    /// Words of 4 bytes it takes.
    pub(crate) fn words(self) -> usize {
        self.length().div_ceil(4)
    }

    /// Which of its bits count, where not all do.
    pub(crate) fn mask(self) -> Option<Vec<u8>> {
        match self {
            Load::IpDestinationNetwork(bits) | Load::Ip6DestinationNetwork(bits) => {
                mask_of(usize::from(bits), self.length())
            }
            _ => None,
        }
    }

    /// What has to be true of a packet for it to make sense.
    pub(crate) fn requirements(self) -> Requirements {
        match self {
            Load::IpSource | Load::IpDestination | Load::IpDestinationNetwork(_) => Requirements::IPV4,
            Load::Ip6Source | Load::Ip6Destination | Load::Ip6DestinationNetwork(_) => Requirements::IPV6,
            Load::IcmpType | Load::IcmpCode => Requirements::ICMP,
            Load::Icmp6Type | Load::Icmp6Code => Requirements::ICMP6,
            Load::EtherSource => Requirements::ETHERNET,
            _ => Requirements::NONE,
        }
    }

    /// The kernel's name of the expression.
    pub(crate) fn expression(self) -> &'static str {
        match self.kind().0 {
            Kind::Meta(_) => "meta",
            Kind::Ct(_) => "ct",
            Kind::Fib { .. } => "fib",
            Kind::Payload { .. } => "payload",
        }
    }

    /// Writes the expression's attributes.
    pub(crate) fn write(self, to: &mut Writer<'_>, register: u32) {
        let (kind, length) = self.kind();
        to.number32(1, register);
        match kind {
            Kind::Meta(key) | Kind::Ct(key) => to.number32(2, key),
            Kind::Fib { result, flags } => {
                to.number32(2, result);
                to.number32(3, flags);
            }
            Kind::Payload { base, offset } => {
                to.number32(2, base as u32);
                to.number32(3, offset);
                to.number32(4, u32::try_from(length).unwrap_or(u32::MAX));
            }
        }
    }
}

/// A mask of the first `bits` bits; `None` where that is all of them.
pub(crate) fn mask_of(bits: usize, bytes: usize) -> Option<Vec<u8>> {
    (bits < bytes * 8).then(|| (0..bytes).map(|at| mask_byte(bits.saturating_sub(at * 8))).collect())
}

/// A byte with its first `bits` bits set.
fn mask_byte(bits: usize) -> u8 {
    const MASKS: [u8; 8] = [0, 0x80, 0xc0, 0xe0, 0xf0, 0xf8, 0xfc, 0xfe];
    MASKS.get(bits).copied().unwrap_or(0xff)
}
