//! Pieces that do not overlap, found by address.

use std::collections::BTreeMap;

use super::piece::Piece;

/// A growing set of boxes, no two of which overlap: a firewall set refuses elements that do.
///
/// Boxes are kept by how many addresses they span, in powers of two, and within that by their lowest address. Those that
/// overlap a given one are found by one look per power, so that a rule costs the same with ten and ten thousand others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pieces {
    levels: BTreeMap<u32, BTreeMap<(u128, u64), Piece>>,
    /// Tells pieces of the same lowest address apart.
    next: u64,
    count: usize,
}

impl Pieces {
    /// Adds what is not covered yet of a box, and tells it.
    pub(crate) fn add(&mut self, piece: Piece, added: &mut Vec<Piece>) {
        let holes = self.overlapping(&piece);
        if holes.is_empty() {
            self.insert(piece);
            added.push(piece);
            return;
        }
        let (mut rest, mut next) = (vec![piece], Vec::new());
        for hole in holes {
            for piece in rest.drain(..) {
                piece.without(&hole, &mut next);
            }
            std::mem::swap(&mut rest, &mut next);
            if rest.is_empty() {
                break;
            }
        }
        rest.iter().for_each(|piece| self.insert(*piece));
        added.extend(rest);
    }

    /// Takes pieces out again that [`add`](Self::add) has told.
    pub(crate) fn remove(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            let low = piece.addresses.low;
            let Some(level) = self.levels.get_mut(&level(piece)) else { continue };
            let found = level.range((low, 0)..=(low, u64::MAX)).find(|(_, other)| *other == piece);
            if let Some(key) = found.map(|(key, _)| *key) {
                level.remove(&key);
                self.count -= 1;
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.levels.values().flat_map(BTreeMap::values)
    }

    fn overlapping(&self, piece: &Piece) -> Vec<Piece> {
        let span = piece.addresses;
        let mut found = Vec::new();
        for (level, pieces) in &self.levels {
            // No piece of this level reaches the box from further below.
            let reach = u128::MAX >> (127 - level);
            let from = (span.low.saturating_sub(reach), 0);
            found.extend(
                pieces
                    .range(from..=(span.high, u64::MAX))
                    .map(|(_, other)| *other)
                    .filter(|other| other.overlaps(piece)),
            );
        }
        found
    }

    fn insert(&mut self, piece: Piece) {
        let key = (piece.addresses.low, self.next);
        self.next += 1;
        self.count += 1;
        self.levels.entry(level(&piece)).or_default().insert(key, piece);
    }
}

/// The greatest power of two that is not above the number of addresses less one; 0 for one and two addresses.
fn level(piece: &Piece) -> u32 {
    let span = piece.addresses;
    (span.high - span.low).max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::super::piece::Span;
    use super::*;

    fn boxed([a, b, c, d, e, f]: [u8; 6]) -> Piece {
        let span = |one: u8, other: u8| Span::new(one.min(other), one.max(other));
        Piece::new(Span::new(a.min(b), a.max(b)), span(c, d), span(e, f))
    }

    fn add(pieces: &mut Pieces, piece: Piece) -> Vec<Piece> {
        let mut added = Vec::new();
        pieces.add(piece, &mut added);
        added
    }

    #[test]
    fn what_is_covered_already_adds_nothing() {
        let mut pieces = Pieces::default();
        let all = boxed([0, 255, 0, 9, 0, 9]);
        assert_eq!(add(&mut pieces, all), [all]);
        assert!(add(&mut pieces, boxed([3, 4, 5, 6, 7, 8])).is_empty());
        assert_eq!((pieces.len(), pieces.iter().count()), (1, 1));
        pieces.remove(&[all]);
        assert_eq!((pieces.len(), pieces.iter().count()), (0, 0));
    }

    #[test]
    fn the_whole_space_of_addresses_is_a_piece_like_others() {
        let everywhere = Piece::new(Span::new(0_u8, u128::MAX), Span::one(6_u8), Span::new(1_u8, 80_u8));
        let mut pieces = Pieces::default();
        add(&mut pieces, everywhere);
        let inside = Piece::new(Span::one(u128::MAX), Span::one(6_u8), Span::one(80_u8));
        assert!(add(&mut pieces, inside).is_empty());
        let half = Piece::new(Span::one(7_u8), Span::one(6_u8), Span::new(80_u8, 81_u8));
        assert_eq!(add(&mut pieces, half).len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn pieces_cover_exactly_what_was_added_and_never_overlap(
            added in proptest::collection::vec(proptest::array::uniform6(0_u8..12), 1..12),
        ) {
            let mut pieces = Pieces::default();
            let boxes: Vec<Piece> = added.into_iter().map(boxed).collect();
            let mut answered = Vec::new();
            for piece in &boxes {
                pieces.add(*piece, &mut answered);
            }
            let mut kept: Vec<Piece> = pieces.iter().copied().collect();
            kept.sort();
            answered.sort();
            proptest::prop_assert_eq!(&kept, &answered);
            proptest::prop_assert_eq!(kept.len(), pieces.len());
            for point in 0..12_u16.pow(3) {
                let at =
                    Piece::new(Span::one(point / 144), Span::one(point / 12 % 12), Span::one(point % 12));
                let covering = kept.iter().filter(|piece| piece.overlaps(&at)).count();
                let wanted = boxes.iter().any(|piece| piece.overlaps(&at));
                proptest::prop_assert_eq!(covering, usize::from(wanted));
            }
        }
    }
}
