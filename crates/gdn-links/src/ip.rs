//! Addresses, prefixes and routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::AddressFamily;

use crate::{Error, LinkIndex, Result};

/// One of the two families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family an address belongs to.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// The length of an address in bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    pub(crate) const fn unspecified(self) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// An address that no host has: of the range that was never given out (240.0.0.0/4), and of the one to be discarded
    /// (100::/64, RFC 6666). Only a default route leads there.
    pub(crate) const fn far_away(self) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::new(240, 0, 0, 1)),
            Family::V6 => IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)),
        }
    }

    pub(crate) const fn number(self) -> AddressFamily {
        match self {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        }
    }
}

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// An address and a length in bits.
    ///
    /// # Errors
    /// [`Error::InvalidPrefix`] when the length is greater than the address has bits.
    pub fn new(address: IpAddr, length: u8) -> Result<Self> {
        if length > Family::of(address).bits() {
            return Err(Error::InvalidPrefix { address, length });
        }
        Ok(Prefix { address, length })
    }

    /// One address alone: `/32` or `/128`.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Prefix { address, length: Family::of(address).bits() }
    }

    /// All addresses of a family.
    #[must_use]
    pub const fn all(family: Family) -> Self {
        Prefix { address: family.unspecified(), length: 0 }
    }

    /// The address as given.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many leading bits count.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Which family it belongs to.
    #[must_use]
    pub const fn family(self) -> Family {
        Family::of(self.address)
    }

    /// Whether an address is in both.
    #[must_use]
    pub fn overlaps(self, other: Prefix) -> bool {
        let common = self.length.min(other.length);
        self.family() == other.family() && leading(self.address, common) == leading(other.address, common)
    }
}

/// The first bits of an address as a number.
fn leading(address: IpAddr, length: u8) -> u128 {
    let (bits, all) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    bits.checked_shr(u32::from(all - length)).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// An address to give to a link.
///
/// IPv6 addresses are given without duplicate address detection. The routes that belong to them are added by the kernel's
/// worker a moment later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address and the length of its subnet.
    pub prefix: Prefix,
    /// The address of the other end of a point-to-point link. The kernel then adds a route to it by itself, behind those that
    /// are there already.
    pub peer: Option<IpAddr>,
}

impl Address {
    /// A single address without a subnet.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Address { prefix: Prefix::host(address), peer: None }
    }
}

/// A route to be added to or removed from the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub(crate) destination: Prefix,
    pub(crate) link: LinkIndex,
    pub(crate) via: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
}

impl Route {
    /// Destinations that are reached on the link itself (scope link).
    #[must_use]
    pub const fn on_link(destination: Prefix, link: LinkIndex) -> Self {
        Route { destination, link, via: None, source: None }
    }

    /// Destinations that are reached through a gateway on the link. The kernel must know a route to the gateway.
    #[must_use]
    pub const fn via(destination: Prefix, gateway: IpAddr, link: LinkIndex) -> Self {
        Route { destination, link, via: Some(gateway), source: None }
    }

    /// The source address of what the host itself sends this way.
    #[must_use]
    pub const fn with_source(self, source: IpAddr) -> Self {
        Route { source: Some(source), ..self }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " on link {}", self.link)
    }
}

/// How far an address is good for (`rt_scope_t` of rtnetlink(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere the routes lead, and site-local ones.
    Global,
    /// On the link only.
    Link,
    /// In this namespace only.
    Host,
}

/// An address a link has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The link that has it.
    pub link: LinkIndex,
    /// The address and the length of its subnet.
    pub prefix: Prefix,
    /// How far it is good for.
    pub scope: Scope,
}

/// The way that packets to far away take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbound {
    /// Through which link.
    pub link: LinkIndex,
    /// Through which gateway.
    pub via: Option<IpAddr>,
    /// The address that the host's own packets have that go this way: what others see of it.
    pub source: Option<IpAddr>,
}

/// A route in the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteEntry {
    /// Where it leads.
    pub destination: Prefix,
    /// Through which link; none for routes that refuse. Of several next hops the first.
    pub link: Option<LinkIndex>,
    /// Through which gateway.
    pub via: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    }

    #[test]
    fn prefixes_overlap_when_one_holds_the_other() {
        for (a, b, is_common) in [
            ("10.0.0.0/8", "10.1.2.3/32", true),
            ("10.1.2.3/32", "10.0.0.0/8", true),
            ("10.0.0.0/9", "10.128.0.0/9", false),
            ("0.0.0.0/0", "192.0.2.1/32", true),
            ("0.0.0.0/0", "::/0", false),
            ("fd00::/8", "fd12::1/128", true),
            ("::/0", "fd12::1/128", true),
            ("fd00::/64", "fd00:0:0:1::/64", false),
        ] {
            assert_eq!(prefix(a).overlaps(prefix(b)), is_common, "{a} and {b}");
        }
    }

    #[test]
    fn a_prefix_is_not_longer_than_its_address() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(Prefix::new(address, 33), Err(Error::InvalidPrefix { address, length: 33 }));
        assert_eq!(Prefix::host(address).to_string(), "127.0.0.1/32");
        assert_eq!(Prefix::all(Family::V6).to_string(), "::/0");
    }
}
