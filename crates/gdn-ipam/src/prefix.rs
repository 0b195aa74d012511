//! IPv6 prefixes, one for each container.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::{Error, Result};

/// An IPv6 network: an address without bits behind the prefix, and the prefix' length (1 to 126).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    base: u128,
    length: u8,
}

impl Prefix {
    /// The longest prefix that leaves room for a gateway and one container.
    pub const SMALLEST: u8 = 126;

    /// The network's own address.
    pub fn base(self) -> Ipv6Addr {
        self.base.into()
    }

    /// Length of the prefix in bits.
    pub fn length(self) -> u8 {
        self.length
    }

    /// The host's address in it.
    pub fn gateway(self) -> Ipv6Addr {
        (self.base + 1).into()
    }

    /// The container's address in it.
    pub fn address(self) -> Ipv6Addr {
        (self.base + 2).into()
    }

    /// Whether the other lies in it wholly.
    pub fn contains(self, other: Prefix) -> bool {
        other.length >= self.length && other.base & mask(self.length) == self.base
    }
}

fn mask(length: u8) -> u128 {
    // The length is at least 1 everywhere, so the shift is below 128.
    u128::MAX << (128 - u32::from(length))
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason| Error::InvalidNetwork { text: text.chars().take(64).collect(), reason };
        let (address, length) = text.split_once('/').ok_or_else(|| wrong("the prefix length is missing"))?;
        let address: Ipv6Addr = address.parse().map_err(|_| wrong("the address is not IPv6"))?;
        let length: u8 = length.parse().map_err(|_| wrong("the prefix length is no number"))?;
        if !(1..=Self::SMALLEST).contains(&length) {
            return Err(wrong("the prefix length must be between 1 and 126"));
        }
        let base = u128::from(address);
        if base & mask(length) != base {
            return Err(wrong("bits behind the prefix are set"));
        }
        Ok(Prefix { base, length })
    }
}

/// Hands out prefixes of one length out of a range, lowest first.
#[derive(Clone, Debug)]
pub struct PrefixPool {
    range: Prefix,
    length: u8,
    /// Numbers in use; those of the range only.
    in_use: BTreeSet<u64>,
    /// Numbers that are free although a higher one was in use once.
    free: BTreeSet<u64>,
    /// The lowest number above all that were ever in use.
    next: u64,
}

/// So many prefixes at most are handed out of a range: numbers, and the holes between them, stay small.
const MOST_BITS: u8 = 32;

impl PrefixPool {
    /// A pool that hands out prefixes of `length` bits: `/64` is what routers expect, `/126` is the smallest.
    ///
    /// # Errors
    /// [`Error::InvalidPool`] when `length` is above 126 or not longer than the range's own.
    pub fn new(range: Prefix, length: u8) -> Result<Self> {
        if length > Prefix::SMALLEST || length < range.length {
            return Err(Error::InvalidPool {
                pool: format!("{range} in parts of /{length}"),
                reason: "the parts must be between the range itself and /126",
            });
        }
        Ok(PrefixPool { range, length, in_use: BTreeSet::new(), free: BTreeSet::new(), next: 0 })
    }

    /// How many prefixes the range has, at most 2^32.
    pub fn capacity(&self) -> u64 {
        1 << (self.length - self.range.length).min(MOST_BITS)
    }

    /// Hands out the lowest free prefix.
    ///
    /// # Errors
    /// [`Error::NoPrefix`].
    pub fn acquire(&mut self) -> Result<Prefix> {
        let number = self.free.first().copied().unwrap_or(self.next);
        if number >= self.capacity() {
            return Err(Error::NoPrefix);
        }
        self.take(number);
        Ok(self.prefix(number))
    }

    /// Takes back what was handed out in an earlier life. A prefix that lies outside the range, or has another length, is
    /// none of this pool's and needs no keeping clear of.
    ///
    /// # Errors
    /// [`Error::PrefixTaken`].
    pub fn adopt(&mut self, prefix: Prefix) -> Result<()> {
        let Some(number) = self.number(prefix) else { return Ok(()) };
        if self.in_use.contains(&number) {
            return Err(Error::PrefixTaken(prefix));
        }
        self.take(number);
        Ok(())
    }

    /// Makes a prefix free. Answers whether it was in use.
    pub fn release(&mut self, prefix: Prefix) -> bool {
        let Some(number) = self.number(prefix) else { return false };
        let was_in_use = self.in_use.remove(&number);
        if was_in_use {
            self.free.insert(number);
        }
        was_in_use
    }

    /// Every prefix in use, in order.
    pub fn in_use(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.in_use.iter().map(|number| self.prefix(*number))
    }

    fn take(&mut self, number: u64) {
        self.in_use.insert(number);
        self.free.remove(&number);
        self.free.extend(self.next..number);
        self.next = self.next.max(number + 1);
    }

    fn prefix(&self, number: u64) -> Prefix {
        let base = self.range.base + (u128::from(number) << (128 - u32::from(self.length)));
        Prefix { base, length: self.length }
    }

    fn number(&self, prefix: Prefix) -> Option<u64> {
        if prefix.length != self.length || !self.range.contains(prefix) {
            return None;
        }
        let number = (prefix.base - self.range.base) >> (128 - u32::from(self.length));
        u64::try_from(number).ok().filter(|number| *number < self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_lowest_first_and_again_once_they_are_free() {
        let mut pool = PrefixPool::new("fd00:1::/124".parse().unwrap(), 126).unwrap();
        let all: Vec<String> = (0..4).map(|_| pool.acquire().unwrap().to_string()).collect();
        assert_eq!(all, ["fd00:1::/126", "fd00:1::4/126", "fd00:1::8/126", "fd00:1::c/126"]);
        assert_eq!(pool.acquire(), Err(Error::NoPrefix));
        let second: Prefix = all[1].parse().unwrap();
        assert!(pool.release(second) && !pool.release(second));
        assert_eq!(pool.acquire(), Ok(second));
        assert_eq!(second.gateway().to_string(), "fd00:1::5");
        assert_eq!(second.address().to_string(), "fd00:1::6");
    }

    #[test]
    fn an_adopted_prefix_is_not_handed_out_and_a_foreign_one_is_none_of_ours() {
        let mut pool = PrefixPool::new("fd00::/48".parse().unwrap(), 64).unwrap();
        pool.adopt("fd00:0:0:1::/64".parse().unwrap()).unwrap();
        pool.adopt("fd01::/64".parse().unwrap()).unwrap();
        assert!(matches!(pool.adopt("fd00:0:0:1::/64".parse().unwrap()), Err(Error::PrefixTaken(_))));
        assert_eq!(pool.acquire().unwrap().to_string(), "fd00::/64");
        assert_eq!(pool.acquire().unwrap().to_string(), "fd00:0:0:2::/64");
        assert_eq!(pool.in_use().count(), 3);
    }

    #[test]
    fn a_range_that_is_no_pool_is_refused() {
        for text in ["", "::/0", "fd00::1/64", "fd00::/127", "10.0.0.0/8"] {
            assert!(text.parse::<Prefix>().unwrap_err().to_string().contains(text));
        }
        assert!(PrefixPool::new("fd00::/64".parse().unwrap(), 48).is_err());
        assert!(PrefixPool::new("fd00::/64".parse().unwrap(), 127).is_err());
        assert_eq!(PrefixPool::new("fd00::/8".parse().unwrap(), 126).unwrap().capacity(), 1 << 32);
    }
}
