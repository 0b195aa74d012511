//! Subnets and the addresses in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::{Error, Network, Result, Subnet};

/// Addresses of one dynamic subnet: a `/30`.
const STEP: u32 = 4;

/// An address that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// The subnet.
    pub subnet: Subnet,
    /// The container's address in it.
    pub address: Ipv4Addr,
}

impl Lease {
    /// The host's address in the subnet.
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet.gateway()
    }
}

/// Hands out subnets of a range, lowest first, and addresses of subnets that clients name.
#[derive(Clone, Debug)]
pub struct SubnetPool {
    range: Subnet,
    /// Subnets in use, with their addresses in use: never an empty set.
    in_use: BTreeMap<Subnet, BTreeSet<Ipv4Addr>>,
    /// Those of them that lie in the range without being one of its own: adopted from a life with another range.
    across: BTreeSet<Subnet>,
    /// Numbers of dynamic subnets that were given back, below `next`.
    free: BTreeSet<u32>,
    /// Every number from here on is free, unless it was adopted.
    next: u32,
}

impl SubnetPool {
    /// A pool that hands out the `/30` subnets of a range.
    pub fn new(range: Subnet) -> Self {
        SubnetPool { range, in_use: BTreeMap::new(), across: BTreeSet::new(), free: BTreeSet::new(), next: 0 }
    }

    /// The range.
    pub fn range(&self) -> Subnet {
        self.range
    }

    /// How many dynamic subnets the range has.
    pub fn capacity(&self) -> u64 {
        1 << (Subnet::SMALLEST - self.range.prefix_length())
    }

    /// Every address that is in use, in order.
    pub fn in_use(&self) -> impl Iterator<Item = Lease> + '_ {
        self.in_use.iter().flat_map(|(subnet, addresses)| {
            addresses.iter().map(|address| Lease { subnet: *subnet, address: *address })
        })
    }

    /// Hands out what was asked for.
    ///
    /// # Errors
    /// [`Error::NoSubnet`] or [`Error::NoAddress`] when nothing is left; [`Error::AddressTaken`],
    /// [`Error::AddressReserved`], [`Error::OverlapsRange`] and [`Error::OverlapsSubnet`] for what cannot be given.
    pub fn acquire(&mut self, network: &Network) -> Result<Lease> {
        let lease = match *network {
            Network::Dynamic => self.lowest_subnet()?,
            Network::Subnet(subnet) => {
                self.permit(subnet)?;
                self.lowest_address(subnet)?
            }
            Network::Address(subnet, address) => {
                self.permit(subnet)?;
                Lease { subnet, address }
            }
        };
        self.take(lease)?;
        Ok(lease)
    }

    /// Takes back what was handed out in an earlier life.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), except that a subnet of the range may be named: it was dynamic then, or the range has
    /// changed since.
    pub fn adopt(&mut self, lease: Lease) -> Result<()> {
        self.apart_from_others(lease.subnet)?;
        self.take(lease)
    }

    /// Makes an address free. Answers whether it was in use.
    pub fn release(&mut self, lease: &Lease) -> bool {
        let Some(addresses) = self.in_use.get_mut(&lease.subnet) else { return false };
        let was_in_use = addresses.remove(&lease.address);
        if addresses.is_empty() {
            self.in_use.remove(&lease.subnet);
            self.across.remove(&lease.subnet);
            if let Some(number) = self.number(lease.subnet).filter(|number| *number < self.next) {
                self.free.insert(number);
            }
        }
        was_in_use
    }

    /// Whether anybody has an address of the subnet.
    pub fn has(&self, subnet: Subnet) -> bool {
        self.in_use.contains_key(&subnet)
    }

    fn lowest_subnet(&mut self) -> Result<Lease> {
        let again = self.free.iter().copied().find(|number| self.is_clear(*number));
        let number = match again {
            Some(number) => number,
            None => self.never_used()?,
        };
        let subnet = self.dynamic(number);
        Ok(Lease { subnet, address: (u32::from(subnet.base()) + 2).into() })
    }

    /// The lowest number that was never given back. What lies across an adopted subnet stays free for later.
    fn never_used(&mut self) -> Result<u32> {
        while u64::from(self.next) < self.capacity() {
            let number = self.next;
            if !self.in_use.contains_key(&self.dynamic(number)) {
                if self.is_clear(number) {
                    return Ok(number);
                }
                self.free.insert(number);
            }
            self.next += 1;
        }
        Err(Error::NoSubnet)
    }

    /// Whether no adopted subnet lies across a dynamic one.
    fn is_clear(&self, number: u32) -> bool {
        self.across.is_empty() || !self.across.iter().any(|other| other.overlaps(self.dynamic(number)))
    }

    /// The dynamic subnet of a number below the capacity.
    fn dynamic(&self, number: u32) -> Subnet {
        Subnet::of_four(u32::from(self.range.base()) + number * STEP)
    }

    fn lowest_address(&self, subnet: Subnet) -> Result<Lease> {
        let taken = self.in_use.get(&subnet);
        let hosts = u32::from(subnet.gateway()) + 1..u32::from(subnet.broadcast());
        let free = hosts.map(Ipv4Addr::from).find(|address| !taken.is_some_and(|set| set.contains(address)));
        free.map(|address| Lease { subnet, address }).ok_or(Error::NoAddress)
    }

    /// Whether clients may name the subnet.
    fn permit(&self, subnet: Subnet) -> Result<()> {
        if subnet.overlaps(self.range) {
            return Err(Error::OverlapsRange { requested: subnet, range: self.range });
        }
        self.apart_from_others(subnet)
    }

    fn apart_from_others(&self, requested: Subnet) -> Result<()> {
        if self.in_use.contains_key(&requested) {
            return Ok(());
        }
        match self.in_use.keys().find(|existing| existing.overlaps(requested)) {
            Some(existing) => Err(Error::OverlapsSubnet { requested, existing: *existing }),
            None => Ok(()),
        }
    }

    fn take(&mut self, lease: Lease) -> Result<()> {
        let Lease { subnet, address } = lease;
        let reserved = |reason| Err(Error::AddressReserved { address, reason, subnet });
        if !subnet.contains(address) {
            return reserved("outside");
        }
        if address == subnet.base() {
            return reserved("the network address");
        }
        if address == subnet.gateway() {
            return reserved("the gateway");
        }
        if address == subnet.broadcast() {
            return reserved("the broadcast address");
        }
        if !self.in_use.entry(subnet).or_default().insert(address) {
            return Err(Error::AddressTaken(address));
        }
        match self.number(subnet) {
            Some(number) => {
                self.free.remove(&number);
            }
            None if subnet.overlaps(self.range) => {
                self.across.insert(subnet);
            }
            None => {}
        }
        Ok(())
    }

    /// The number of a dynamic subnet.
    fn number(&self, subnet: Subnet) -> Option<u32> {
        let dynamic = subnet.prefix_length() == Subnet::SMALLEST && self.range.contains(subnet.base());
        dynamic.then(|| (u32::from(subnet.base()) - u32::from(self.range.base())) / STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> SubnetPool {
        SubnetPool::new("10.254.0.0/28".parse().unwrap())
    }

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap()
    }

    fn address(pool: &mut SubnetPool, text: &str) -> Result<String> {
        pool.acquire(&network(text)).map(|lease| lease.address.to_string())
    }

    #[test]
    fn dynamic_subnets_come_lowest_first_and_again_once_they_are_free() {
        let mut pool = pool();
        let leases: Vec<Lease> = (0..4).map(|_| pool.acquire(&Network::Dynamic).unwrap()).collect();
        let addresses: Vec<String> = leases.iter().map(|lease| lease.address.to_string()).collect();
        assert_eq!(addresses, ["10.254.0.2", "10.254.0.6", "10.254.0.10", "10.254.0.14"]);
        assert_eq!(pool.acquire(&Network::Dynamic), Err(Error::NoSubnet));
        assert!(pool.release(&leases[2]) && pool.release(&leases[1]) && !pool.release(&leases[1]));
        assert_eq!(address(&mut pool, "").unwrap(), "10.254.0.6");
        assert_eq!(address(&mut pool, "").unwrap(), "10.254.0.10");
    }

    #[test]
    fn containers_that_name_the_same_subnet_share_it() {
        let mut pool = pool();
        assert_eq!(address(&mut pool, "10.9.0.0/29").unwrap(), "10.9.0.2");
        assert_eq!(address(&mut pool, "10.9.0.4/29").unwrap(), "10.9.0.4");
        assert_eq!(address(&mut pool, "10.9.0.0/29").unwrap(), "10.9.0.3");
        assert_eq!(address(&mut pool, "10.9.0.0/29").unwrap(), "10.9.0.5");
        assert_eq!(address(&mut pool, "10.9.0.0/29").unwrap(), "10.9.0.6");
        assert_eq!(address(&mut pool, "10.9.0.0/29"), Err(Error::NoAddress));
        assert_eq!(address(&mut pool, "10.9.0.4/29"), Err(Error::AddressTaken(Ipv4Addr::new(10, 9, 0, 4))));
    }

    #[test]
    fn what_cannot_be_given_is_refused_with_the_documented_texts() {
        let mut pool = pool();
        address(&mut pool, "10.9.0.0/24").unwrap();
        for (text, said) in [
            (
                "10.254.0.0/30",
                "the requested subnet (10.254.0.0/30) overlaps the dynamic allocation range (10.254.0.0/28)",
            ),
            (
                "10.0.0.0/8",
                "the requested subnet (10.0.0.0/8) overlaps the dynamic allocation range (10.254.0.0/28)",
            ),
            ("10.9.0.0/30", "the requested subnet (10.9.0.0/30) overlaps an existing subnet (10.9.0.0/24)"),
            ("10.9.0.2/24", "the requested IP is already allocated: 10.9.0.2"),
            ("10.9.0.1/24", "the requested IP cannot be used: 10.9.0.1 is the gateway of 10.9.0.0/24"),
            (
                "10.9.0.255/24",
                "the requested IP cannot be used: 10.9.0.255 is the broadcast address of 10.9.0.0/24",
            ),
        ] {
            assert_eq!(address(&mut pool, text).unwrap_err().to_string(), said);
        }
        assert_eq!(pool.in_use().count(), 1);
    }

    #[test]
    fn what_was_handed_out_under_another_range_is_adopted_and_kept_clear_of() {
        let mut pool = pool();
        let wide = Lease { subnet: "10.254.0.0/29".parse().unwrap(), address: Ipv4Addr::new(10, 254, 0, 3) };
        pool.adopt(wide).unwrap();
        assert_eq!(address(&mut pool, "").unwrap(), "10.254.0.10");
        assert!(pool.release(&wide));
        assert_eq!(address(&mut pool, "").unwrap(), "10.254.0.2");
        assert_eq!(
            pool.adopt(wide).unwrap_err().to_string(),
            "the requested subnet (10.254.0.0/29) overlaps an existing subnet (10.254.0.0/30)"
        );
    }

    proptest::proptest! {
        /// Against the plain meaning: a set of leases, searched from the lowest.
        #[test]
        fn a_pool_holds_exactly_what_was_taken(
            calls in proptest::collection::vec((0_u8..6, 0_usize..12), 0..200),
        ) {
            let texts = ["", "", "10.9.0.0/29", "10.9.0.3/29", "10.8.0.0/30"];
            let mut pool = pool();
            let mut held: Vec<Lease> = Vec::new();
            for (call, which) in calls {
                if call == 5 {
                    if !held.is_empty() {
                        let lease = held.remove(which % held.len());
                        proptest::prop_assert!(pool.release(&lease));
                    }
                    continue;
                }
                if let Ok(lease) = pool.acquire(&network(texts[usize::from(call)])) {
                    proptest::prop_assert!(!held.contains(&lease));
                    if lease.subnet.overlaps(pool.range()) {
                        let lowest = (0..4).map(|n| u32::from(pool.range().base()) + n * STEP + 2)
                            .find(|address| held.iter().all(|lease| u32::from(lease.address) != *address));
                        proptest::prop_assert_eq!(lowest, Some(u32::from(lease.address)));
                    }
                    held.push(lease);
                }
            }
            held.sort();
            proptest::prop_assert_eq!(pool.in_use().collect::<Vec<_>>(), held);
        }
    }
}
