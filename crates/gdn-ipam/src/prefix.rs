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

    /// Whether any address lies in both.
    pub fn overlaps(self, other: Prefix) -> bool {
        self.contains(other) || other.contains(self)
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
    /// Prefixes in use that overlap the range and are none of its parts: adopted from a life with other parts.
    across: BTreeSet<Prefix>,
    /// Numbers that were given back, below `next`.
    free: BTreeSet<u64>,
    /// Every number from here on is free, unless it was adopted.
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
        Ok(PrefixPool {
            range,
            length,
            in_use: BTreeSet::new(),
            across: BTreeSet::new(),
            free: BTreeSet::new(),
            next: 0,
        })
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
        let again = self.free.iter().copied().find(|number| self.is_clear(*number));
        let number = match again {
            Some(number) => number,
            None => self.never_used()?,
        };
        self.free.remove(&number);
        self.in_use.insert(number);
        Ok(self.prefix(number))
    }

    /// Takes back what was handed out in an earlier life. A prefix that does not touch the range is none of this pool's.
    ///
    /// # Errors
    /// [`Error::PrefixTaken`].
    pub fn adopt(&mut self, prefix: Prefix) -> Result<()> {
        let is_new = match self.number(prefix) {
            Some(number) => {
                self.free.remove(&number);
                self.in_use.insert(number)
            }
            None if self.range.overlaps(prefix) => self.across.insert(prefix),
            None => true,
        };
        if is_new { Ok(()) } else { Err(Error::PrefixTaken(prefix)) }
    }

    /// Makes a prefix free. Answers whether it was in use.
    pub fn release(&mut self, prefix: Prefix) -> bool {
        let Some(number) = self.number(prefix) else { return self.across.remove(&prefix) };
        let was_in_use = self.in_use.remove(&number);
        if was_in_use && number < self.next {
            self.free.insert(number);
        }
        was_in_use
    }

    /// The lowest number that was never given back. What lies across an adopted prefix stays free for later.
    fn never_used(&mut self) -> Result<u64> {
        while self.next < self.capacity() {
            let number = self.next;
            if !self.in_use.contains(&number) {
                if self.is_clear(number) {
                    return Ok(number);
                }
                // An adopted prefix that covers much of the range must not be gone through part by part.
                if let Some(wide) = self.across.iter().find(|other| other.contains(self.prefix(number))) {
                    let last = self.number_at(wide.base | !mask(wide.length));
                    self.next = last.saturating_add(1);
                    continue;
                }
                self.free.insert(number);
            }
            self.next += 1;
        }
        Err(Error::NoPrefix)
    }

    fn is_clear(&self, number: u64) -> bool {
        self.across.is_empty() || !self.across.iter().any(|other| other.overlaps(self.prefix(number)))
    }

    /// Every prefix in use, in order.
    pub fn in_use(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.in_use.iter().map(|number| self.prefix(*number))
    }

    fn prefix(&self, number: u64) -> Prefix {
        let base = self.range.base + (u128::from(number) << (128 - u32::from(self.length)));
        Prefix { base, length: self.length }
    }

    fn number(&self, prefix: Prefix) -> Option<u64> {
        if prefix.length != self.length || !self.range.contains(prefix) {
            return None;
        }
        let number = self.number_at(prefix.base);
        (number < self.capacity()).then_some(number)
    }

    /// The number of the part that has an address of the range.
    fn number_at(&self, address: u128) -> u64 {
        let number = (address - self.range.base) >> (128 - u32::from(self.length));
        u64::try_from(number).unwrap_or(u64::MAX)
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

    /// A life with other parts, or with another range, must not be handed out again, nor be gone through.
    #[test]
    fn what_was_handed_out_in_other_parts_is_kept_clear_of() {
        let mut pool = PrefixPool::new("fd00::/48".parse().unwrap(), 80).unwrap();
        let wide: Prefix = "fd00::/64".parse().unwrap();
        pool.adopt(wide).unwrap();
        assert_eq!(pool.acquire().unwrap().to_string(), "fd00:0:0:1::/80");
        assert!(pool.release(wide));
        let mut wider = PrefixPool::new("fd12:3456::/32".parse().unwrap(), 64).unwrap();
        wider.adopt("fd12:3456:789a::/64".parse().unwrap()).unwrap();
        assert_eq!(wider.acquire().unwrap().to_string(), "fd12:3456::/64");
        let mut narrow = PrefixPool::new("fd00::/64".parse().unwrap(), 66).unwrap();
        narrow.adopt("fd00:0:0:0:0:0:0:4/126".parse().unwrap()).unwrap();
        assert_eq!(narrow.acquire().unwrap().to_string(), "fd00::4000:0:0:0/66");
        assert!(narrow.release("fd00::4/126".parse().unwrap()));
        assert_eq!(narrow.acquire().unwrap().to_string(), "fd00::/66");
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
