//! How a piece is found: by ranges, or by a hash.
//!
//! The kernel keeps elements of several ranges in a structure that it copies for each change: some microseconds for each
//! element that is there already. A hash takes one more element in a microsecond however many there are, but finds only what
//! is equal. Most rules of large sets name networks (`10.1.2.0/24`) or single addresses, and one port or all: those are equal
//! once the packet's address is cut to the network's length. So each length has a hash of its own, for which the rule that
//! looks into it cuts the address first.
//!
//! Each hash is one more look-up for the first packet of a connection and two more objects in the table, so a container
//! with few rules has none, and none has more than [`MOST_HASHES`] for the same kind of traffic, each with its rooms.
//!
//! A hash whose room the kernel is told takes thousands of elements in half the time of one that grows with them, and has
//! memory for all of them from its beginning. So rooms are made as they are needed: when one is full, the next is larger.

use std::collections::{BTreeMap, BTreeSet};

use super::piece::{Piece, Span};
use super::{Class, Family, MOST_PIECES};

/// So many pieces are quick enough as ranges, and few containers have more.
const FEW: usize = 64;
/// Look-ups that a packet costs besides the one of ranges, while no room is full. Rules of large platforms have some five
/// lengths.
const MOST_HASHES: usize = 8;
/// Elements for which there may be room. The last has room for all that a container may have.
const ROOMS: [usize; 4] = [256, 1024, 4096, MOST_PIECES];

/// How the kernel finds the pieces of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    /// By ranges of each field: any piece can be there.
    Ranges,
    /// By a hash, in one of its rooms: for so many elements.
    Hash(Hash, usize),
}

/// By the first address of its network and the numbers behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hash {
    /// How many first bits the networks have in common.
    pub(crate) bits: u8,
    /// How many of the fields behind the address are one number each; those after them are whatever they may be.
    pub(crate) exact: u8,
}

/// Pieces of one kind of traffic, each in one of its sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ways(BTreeMap<Way, Vec<Piece>>);

impl Hash {
    /// The hash that a piece could be in.
    pub(crate) fn of(family: Family, class: Class, piece: &Piece) -> Option<Self> {
        let Piece { addresses, second, third } = *piece;
        let bits = network_bits(family, addresses)?;
        let (all_second, all_third) = class.whole();
        let exact = match (second, third) {
            (second, third) if second == all_second && third == all_third => 0,
            (second, third) if second.is_one() && third == all_third => 1,
            (second, third) if second.is_one() && third.is_one() => 2,
            _ => return None,
        };
        Some(Hash { bits, exact })
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
        let mut hashed: BTreeMap<Hash, Vec<Piece>> = BTreeMap::new();
        let mut ranges = Vec::new();
        for piece in pieces {
            match Hash::of(family, class, piece) {
                Some(hash) => hashed.entry(hash).or_default().push(*piece),
                None => ranges.push(*piece),
            }
        }
        let open = self.hashes_with(&hashed, pieces.len());
        let mut placed = BTreeMap::new();
        for (hash, pieces) in hashed {
            match open.contains(&hash) {
                true => self.place(hash, pieces, &mut placed),
                false => ranges.extend(pieces),
            }
        }
        if !ranges.is_empty() {
            placed.insert(Way::Ranges, ranges);
        }
        for (way, pieces) in &placed {
            self.0.entry(*way).or_default().extend_from_slice(pieces);
        }
        placed
    }

    /// The hashes there are. Where there are many pieces, also those that most of the new ones could be in.
    fn hashes_with(&self, hashed: &BTreeMap<Hash, Vec<Piece>>, new: usize) -> BTreeSet<Hash> {
        let mut hashes: BTreeSet<Hash> = self.hashes().map(|(hash, _, _)| hash).collect();
        let ranges = self.0.get(&Way::Ranges).map_or(0, Vec::len);
        if ranges + new <= FEW {
            return hashes;
        }
        let mut most: Vec<(Hash, usize)> =
            hashed.iter().map(|(hash, pieces)| (*hash, pieces.len())).collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (hash, _) in most {
            if hashes.len() < MOST_HASHES {
                hashes.insert(hash);
            }
        }
        hashes
    }

    /// Puts pieces into the rooms of a hash, and what is left into a new one.
    fn place(&self, hash: Hash, mut pieces: Vec<Piece>, placed: &mut BTreeMap<Way, Vec<Piece>>) {
        let mut largest = 0;
        for (_, room, taken) in self.hashes().filter(|(found, _, _)| *found == hash) {
            largest = room;
            let rest = pieces.split_off(pieces.len().min(room.saturating_sub(taken)));
            if !pieces.is_empty() {
                placed.insert(Way::Hash(hash, room), pieces);
            }
            pieces = rest;
        }
        if !pieces.is_empty() {
            let fits = |room: &usize| *room > largest && *room >= pieces.len();
            let room = ROOMS.into_iter().find(fits).unwrap_or(MOST_PIECES);
            placed.insert(Way::Hash(hash, room), pieces);
        }
    }

    /// Each room of each hash, in order, and how many are in it.
    fn hashes(&self) -> impl Iterator<Item = (Hash, usize, usize)> {
        self.0.iter().filter_map(|(way, pieces)| match way {
            Way::Ranges => None,
            Way::Hash(hash, room) => Some((*hash, *room, pieces.len())),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn service(low: u32, high: u32, ports: (u16, u16)) -> Piece {
        Piece::new(Span::new(low, high), Span::one(6_u8), Span::new(ports.0, ports.1))
    }

    fn hash(piece: &Piece) -> Option<Hash> {
        Hash::of(Family::V4, Class::Service, piece)
    }

    #[test]
    fn networks_with_one_port_or_all_can_be_hashed_and_nothing_else() {
        let of = |bits, exact| Some(Hash { bits, exact });
        assert_eq!(hash(&service(7, 7, (80, 80))), of(32, 2));
        assert_eq!(hash(&service(0x0a00_0000, 0x0aff_ffff, (0, u16::MAX))), of(8, 1));
        assert_eq!(hash(&service(0, u32::MAX, (80, 80))), of(0, 2));
        assert_eq!(hash(&service(8, 11, (80, 80))), of(30, 2));
        for other in [service(9, 12, (80, 80)), service(8, 10, (80, 80)), service(8, 11, (80, 81))] {
            assert_eq!(hash(&other), None);
        }
        let everything = Piece::new(Span::new(0_u8, u128::MAX), Span::one(0_u8), Span::one(0_u8));
        assert_eq!(Hash::of(Family::V6, Class::Any, &everything), of(0, 0));
        let code = Piece::new(Span::one(1_u8), Span::one(8_u8), Span::new(0_u8, 255_u8));
        assert_eq!(Hash::of(Family::V6, Class::Icmp, &code), of(128, 1));
    }

    fn hosts(from: u32, to: u32) -> Vec<Piece> {
        (from..to).map(|at| service(at, at, (80, 80))).collect()
    }

    fn add(ways: &mut Ways, pieces: &[Piece]) -> Vec<(Way, usize)> {
        let placed = ways.add(Family::V4, Class::Service, pieces);
        placed.into_iter().map(|(way, pieces)| (way, pieces.len())).collect()
    }

    #[test]
    fn a_few_pieces_are_ranges_and_many_go_to_the_hashes_that_most_of_them_share() {
        let mut ways = Ways::default();
        assert_eq!(add(&mut ways, &hosts(0, 64)), [(Way::Ranges, 64)]);
        let host = Way::Hash(Hash { bits: 32, exact: 2 }, 256);
        assert_eq!(add(&mut ways, &hosts(64, 65)), [(host, 1)]);
        // One network of each length: only so many get a hash.
        let networks: Vec<Piece> =
            (0..20).map(|bit| service(1 << 31 | 1 << bit, (1 << 31 | 2 << bit) - 1, (80, 80))).collect();
        let placed = ways.add(Family::V4, Class::Service, &networks);
        assert_eq!(placed.keys().filter(|way| **way != Way::Ranges).count(), MOST_HASHES);
        for (way, pieces) in placed {
            ways.remove(way, &pieces);
        }
        let left: Vec<(Way, usize)> = ways.iter().map(|(way, pieces)| (way, pieces.len())).collect();
        assert_eq!(left, [(Way::Ranges, 64), (host, 1)]);
    }

    #[test]
    fn a_room_that_is_full_is_followed_by_a_larger_one_and_none_takes_more_than_it_has_room_for() {
        let mut ways = Ways::default();
        let room = |elements| Way::Hash(Hash { bits: 32, exact: 2 }, elements);
        assert_eq!(add(&mut ways, &hosts(0, 200)), [(room(256), 200)]);
        assert_eq!(add(&mut ways, &hosts(200, 300)), [(room(256), 56), (room(1024), 44)]);
        assert_eq!(add(&mut ways, &hosts(300, 6_000)), [(room(1024), 980), (room(MOST_PIECES), 4_720)]);
        let rest = hosts(6_000, u32::try_from(MOST_PIECES).unwrap());
        assert_eq!(add(&mut ways, &rest), [(room(MOST_PIECES), rest.len())]);
        for (_, elements, taken) in ways.hashes() {
            assert!(taken <= elements, "{taken} in a room for {elements}");
        }
    }
}
