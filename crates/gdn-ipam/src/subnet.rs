//! An IPv4 subnet.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::{Error, Result};

/// An IPv4 network with at least two addresses for hosts beside its own and its broadcast address: `/1` to `/30`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    base: u32,
    length: u8,
}

impl Subnet {
    /// The longest prefix that leaves room for a gateway and one container.
    pub const SMALLEST: u8 = 30;

    /// The subnet of this prefix length that has the address.
    ///
    /// # Errors
    /// [`Error::InvalidNetwork`] for a length outside `1..=30`.
    pub fn around(address: Ipv4Addr, length: u8) -> Result<Self> {
        if !(1..=Self::SMALLEST).contains(&length) {
            return Err(Error::InvalidNetwork {
                text: format!("{address}/{length}"),
                reason: "the prefix length must be between 1 and 30",
            });
        }
        Ok(Subnet { base: u32::from(address) & mask(length), length })
    }

    /// Why no container can have an address of it, if so: what is never an address of one host among others.
    pub fn is_special(self) -> Option<&'static str> {
        [
            (0x0000_0000, 8, "0.0.0.0/8 means this network"),
            (0x7f00_0000, 8, "127.0.0.0/8 is the host itself"),
            (0xa9fe_0000, 16, "169.254.0.0/16 is of links and of metadata services"),
            (0xe000_0000, 3, "addresses from 224.0.0.0 on are of groups and reserved"),
        ]
        .into_iter()
        .find(|(base, length, _)| Subnet { base: *base, length: *length }.overlaps(self))
        .map(|(_, _, reason)| reason)
    }

    /// The four addresses from a base whose two lowest bits are clear.
    pub(crate) fn of_four(base: u32) -> Self {
        Subnet { base, length: Self::SMALLEST }
    }

    /// The network's own address: the lowest.
    pub fn base(self) -> Ipv4Addr {
        self.base.into()
    }

    /// Length of the prefix in bits.
    pub fn prefix_length(self) -> u8 {
        self.length
    }

    /// The host's address in it: the lowest after the network's own.
    pub fn gateway(self) -> Ipv4Addr {
        (self.base + 1).into()
    }

    /// The highest address.
    pub fn broadcast(self) -> Ipv4Addr {
        (self.base | !mask(self.length)).into()
    }

    /// Whether the address lies in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.length) == self.base
    }

    /// Whether any address lies in both.
    pub fn overlaps(self, other: Subnet) -> bool {
        let shorter = mask(self.length.min(other.length));
        self.base & shorter == other.base & shorter
    }
}

fn mask(length: u8) -> u32 {
    // The length is at least 1 everywhere, so the shift is below 32.
    u32::MAX << (32 - u32::from(length))
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.length)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    /// Reads `a.b.c.d/n` without bits behind the prefix.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason| Error::InvalidNetwork { text: text.chars().take(64).collect(), reason };
        let (address, length) = text.split_once('/').ok_or_else(|| wrong("the prefix length is missing"))?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong("the address is not IPv4"))?;
        let length = length.parse().map_err(|_| wrong("the prefix length is no number"))?;
        let subnet = Subnet::around(address, length)?;
        if subnet.base() == address { Ok(subnet) } else { Err(wrong("bits behind the prefix are set")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_knows_its_special_addresses() {
        let subnet: Subnet = "10.2.0.4/30".parse().unwrap();
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 2, 0, 5));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(10, 2, 0, 7));
        assert!(subnet.contains(Ipv4Addr::new(10, 2, 0, 6)) && !subnet.contains(Ipv4Addr::new(10, 2, 0, 8)));
        assert_eq!(subnet.to_string(), "10.2.0.4/30");
    }

    #[test]
    fn subnets_overlap_when_one_lies_in_the_other() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        assert!(subnet("10.0.0.0/8").overlaps(subnet("10.254.0.0/22")));
        assert!(subnet("10.254.0.4/30").overlaps(subnet("10.254.0.0/29")));
        assert!(!subnet("10.254.0.0/30").overlaps(subnet("10.254.0.4/30")));
        assert!(subnet("128.0.0.0/1").overlaps(subnet("255.255.255.252/30")));
    }

    #[test]
    fn what_is_no_subnet_is_refused_by_name() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/31",
            "10.0.0.0/0",
            "10.0.0.1/30",
            "::/64",
            "10.0.0.0/x",
            "10.0.0.0/+8 ",
        ] {
            let error = text.parse::<Subnet>().unwrap_err();
            assert!(error.to_string().contains(text), "{text:?}: {error}");
        }
    }
}
