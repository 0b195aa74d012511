//! Fields of keys and data, and their values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `nft`'s `BYTEORDER_HOST_ENDIAN`.
pub(super) const HOST_ENDIAN: u32 = 1;
/// `nft`'s `BYTEORDER_BIG_ENDIAN`.
pub(super) const BIG_ENDIAN: u32 = 2;

/// One field of a key or of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// An interface's name, 16 bytes.
    IfName,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A hardware address, 6 bytes.
    Ether,
    /// A transport protocol, 1 byte (6 is TCP).
    Protocol,
    /// A port, 2 bytes.
    Port,
    /// The type of an ICMP message, 1 byte.
    IcmpType,
    /// The code of an ICMP message, 1 byte.
    IcmpCode,
    /// The type of an ICMPv6 message, 1 byte.
    Icmp6Type,
    /// The code of an ICMPv6 message, 1 byte.
    Icmp6Code,
    /// A packet's mark, 4 bytes of the host's order.
    Mark,
}

impl Field {
    /// Length in bytes, type as `nft` numbers it (`enum datatypes`), byte order.
    fn properties(self) -> (usize, u32, u32) {
        match self {
            Field::IfName => (16, 41, HOST_ENDIAN),
            Field::Ipv4 => (4, 7, BIG_ENDIAN),
            Field::Ipv6 => (16, 8, BIG_ENDIAN),
            Field::Ether => (6, 9, BIG_ENDIAN),
            Field::Protocol => (1, 12, BIG_ENDIAN),
            Field::Port => (2, 13, BIG_ENDIAN),
            Field::IcmpType => (1, 14, BIG_ENDIAN),
            Field::IcmpCode => (1, 32, BIG_ENDIAN),
            Field::Icmp6Type => (1, 29, BIG_ENDIAN),
            Field::Icmp6Code => (1, 33, BIG_ENDIAN),
            Field::Mark => (4, 19, HOST_ENDIAN),
        }
    }

    pub(crate) fn length(self) -> usize {
        self.properties().0
    }

    pub(crate) fn words(self) -> usize {
        self.length().div_ceil(4)
    }

    pub(crate) fn type_number(self) -> u32 {
        self.properties().1
    }

    pub(crate) fn byte_order(self) -> u32 {
        self.properties().2
    }
}

/// A value of a [`Field`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Value {
    /// An interface's name, at most 15 bytes.
    IfName(String),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// A hardware address.
    Ether([u8; 6]),
    /// A field of one byte: a protocol, or an ICMP type or code.
    Byte(u8),
    /// A port.
    Port(u16),
    /// A packet's mark.
    Mark(u32),
}

impl Value {
    /// The value's bytes, if it is one of this field.
    pub(crate) fn bytes_of(&self, field: Field) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write(field, &mut bytes).map(|()| bytes)
    }

    /// Appends the value's bytes, if it is one of this field. A large set has thousands: none gets memory of its own.
    pub(crate) fn write(&self, field: Field, to: &mut Vec<u8>) -> Option<()> {
        match (self, field) {
            (Value::IfName(name), Field::IfName) => to.extend(interface(name)),
            (Value::Ipv4(address), Field::Ipv4) => to.extend(address.octets()),
            (Value::Ipv6(address), Field::Ipv6) => to.extend(address.octets()),
            (Value::Ether(address), Field::Ether) => to.extend(address),
            (Value::Byte(byte), field) if field.length() == 1 => to.push(*byte),
            (Value::Port(port), Field::Port) => to.extend(port.to_be_bytes()),
            (Value::Mark(mark), Field::Mark) => to.extend(mark.to_ne_bytes()),
            _ => return None,
        }
        Some(())
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Value {
        match address {
            IpAddr::V4(address) => Value::Ipv4(address),
            IpAddr::V6(address) => Value::Ipv6(address),
        }
    }
}

/// An interface's name as the kernel compares it: filled with NUL up to 16 bytes.
pub(crate) fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(Field::IfName.length(), 0);
    bytes
}
