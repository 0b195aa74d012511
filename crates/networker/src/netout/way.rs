//! How a piece is found: by ranges, or by a hash.
//!
//! The kernel keeps elements of several ranges in a structure that it copies for each change: some microseconds for each
//! element that is there already. A hash takes one more element in a microsecond however many there are, but finds only what
//! is equal. Most rules of large sets name networks (`10.1.2.0/24`) or single addresses, and one port or all: those are equal
//! once the packet's address is cut to the network's length. So each length has a hash of its own, for which the rule that
//! looks into it cuts the address first.
//!
//! Each hash is one more look-up for the first packet of a connection and two more objects in the table, so a container
//! with few rules has none, and none has more than [`MOST_HASHES`] for the same kind of traffic.

use std::collections::{BTreeMap, BTreeSet};

use super::piece::{Piece, Span};
use super::{Class, Family};

/// So many pieces are quick enough as ranges, and few containers have more.
const FEW: usize = 64;
/// Look-ups that a packet costs besides the one of ranges. Rules of large platforms have some five lengths.
const MOST_HASHES: usize = 8;

/// How the kernel finds the pieces of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    /// By ranges of each field: any piece can be there.
    Ranges,
    /// By the first address of its network and the numbers behind it.
    Hash {
        /// How many first bits the networks have in common.
        bits: u8,
        /// How many of the fields behind the address are one number each; those after them are whatever they may be.
        exact: u8,
    },
}

/// Pieces of one kind of traffic, each in one of its sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ways(BTreeMap<Way, Vec<Piece>>);

impl Way {
    /// The hash that a piece could be in.
    pub(crate) fn hash_of(family: Family, class: Class, piece: &Piece) -> Option<Self> {
        let [addresses, second, third] = piece.0;
        let bits = network_bits(family, addresses)?;
        let (all_second, all_third) = class.whole();
        let exact = match (second, third) {
            (second, third) if second == all_second && third == all_third => 0,
            (second, third) if is_one(second) && third == all_third => 1,
            (second, third) if is_one(second) && is_one(third) => 2,
            _ => return None,
        };
        Some(Way::Hash { bits, exact })
    }
}

impl Ways {
    /// Puts pieces, which overlap none that are there, each into one of the sets, and answers which.
    pub(crate) fn add(
        &mut self,
        family: Family,
        class: Class,
        pieces: &[Piece],
    ) -> BTreeMap<Way, Vec<Piece>> {
        self.open_hashes(family, class, pieces);
        let mut placed: BTreeMap<Way, Vec<Piece>> = BTreeMap::new();
        for piece in pieces {
            let hash = Way::hash_of(family, class, piece).filter(|way| self.0.contains_key(way));
            let way = hash.unwrap_or(Way::Ranges);
            self.0.entry(way).or_default().push(*piece);
            placed.entry(way).or_default().push(*piece);
        }
        placed
    }

    /// Where there are many pieces, makes room for hashes of those lengths that most of the new ones have.
    fn open_hashes(&mut self, family: Family, class: Class, pieces: &[Piece]) {
        let ranges = self.0.get(&Way::Ranges).map_or(0, Vec::len);
        if ranges + pieces.len() <= FEW {
            return;
        }
        let mut counts: BTreeMap<Way, usize> = BTreeMap::new();
        for way in pieces.iter().filter_map(|piece| Way::hash_of(family, class, piece)) {
            *counts.entry(way).or_default() += 1;
        }
        let mut counts: Vec<(Way, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (way, _) in counts {
            let hashes = self.0.keys().filter(|way| **way != Way::Ranges).count();
            if hashes < MOST_HASHES {
                self.0.entry(way).or_default();
            }
        }
    }

    /// Takes pieces out again that [`add`](Self::add) has answered.
    pub(crate) fn remove(&mut self, way: Way, pieces: &[Piece]) {
        if let Some(set) = self.0.get_mut(&way) {
            let gone: BTreeSet<&Piece> = pieces.iter().collect();
            set.retain(|piece| !gone.contains(piece));
            if set.is_empty() {
                self.0.remove(&way);
            }
        }
    }

    /// The sets.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Way, &[Piece])> {
        self.0.iter().map(|(way, pieces)| (*way, pieces.as_slice()))
    }
}

/// How many first bits all addresses of a range have in common, if the range is all that have them.
fn network_bits(family: Family, Span { low, high }: Span) -> Option<u8> {
    let hosts = high - low;
    let is_network = hosts & hosts.wrapping_add(1) == 0 && low & hosts == 0;
    let width = family.bits();
    is_network.then(|| width - u8::try_from(hosts.count_ones()).unwrap_or(width))
}

fn is_one(span: Span) -> bool {
    span.low == span.high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(low: u32, high: u32, ports: (u16, u16)) -> Piece {
        Piece([Span::new(low, high), Span::one(6_u8), Span::new(ports.0, ports.1)])
    }

    fn way(piece: &Piece) -> Option<Way> {
        Way::hash_of(Family::V4, Class::Service, piece)
    }

    #[test]
    fn networks_with_one_port_or_all_can_be_hashed_and_nothing_else() {
        let hash = |bits, exact| Some(Way::Hash { bits, exact });
        assert_eq!(way(&service(7, 7, (80, 80))), hash(32, 2));
        assert_eq!(way(&service(0x0a00_0000, 0x0aff_ffff, (0, u16::MAX))), hash(8, 1));
        assert_eq!(way(&service(0, u32::MAX, (80, 80))), hash(0, 2));
        assert_eq!(way(&service(8, 11, (80, 80))), hash(30, 2));
        for other in [service(9, 12, (80, 80)), service(8, 10, (80, 80)), service(8, 11, (80, 81))] {
            assert_eq!(way(&other), None);
        }
        let everything = Piece([Span::new(0_u8, u128::MAX), Span::one(0_u8), Span::one(0_u8)]);
        assert_eq!(Way::hash_of(Family::V6, Class::Any, &everything), hash(0, 0));
        let code = Piece([Span::one(1_u8), Span::one(8_u8), Span::new(0_u8, 255_u8)]);
        assert_eq!(Way::hash_of(Family::V6, Class::Icmp, &code), hash(128, 1));
    }

    #[test]
    fn a_few_pieces_are_ranges_and_many_go_to_the_hashes_that_most_of_them_share() {
        let mut ways = Ways::default();
        let mut add = |pieces: &[Piece]| ways.add(Family::V4, Class::Service, pieces);
        let hosts =
            |from: u32, to: u32| -> Vec<Piece> { (from..to).map(|at| service(at, at, (80, 80))).collect() };
        assert_eq!(add(&hosts(0, 64)).into_keys().collect::<Vec<_>>(), [Way::Ranges]);
        let host = Way::Hash { bits: 32, exact: 2 };
        assert_eq!(add(&hosts(64, 65)).into_keys().collect::<Vec<_>>(), [host]);
        // One network of each length: only so many get a hash.
        let networks: Vec<Piece> =
            (0..20).map(|bit| service(1 << 31 | 1 << bit, (1 << 31 | 2 << bit) - 1, (80, 80))).collect();
        let placed = add(&networks);
        assert_eq!(placed.keys().filter(|way| **way != Way::Ranges).count(), MOST_HASHES);
        for (way, pieces) in placed {
            ways.remove(way, &pieces);
        }
        let left: Vec<(Way, usize)> = ways.iter().map(|(way, pieces)| (way, pieces.len())).collect();
        assert_eq!(left, [(Way::Ranges, 64), (host, 1)]);
    }
}
