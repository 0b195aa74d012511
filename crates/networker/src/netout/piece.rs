//! Boxes in the space of address, protocol and port.

use std::ops::{Add, Sub};

/// A number from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span<N = u128> {
    pub(crate) low: N,
    pub(crate) high: N,
}

impl<N: Copy + Ord> Span<N> {
    /// A span; `low` is at most `high`.
    pub(crate) fn new(low: impl Into<N>, high: impl Into<N>) -> Self {
        Span { low: low.into(), high: high.into() }
    }

    /// One number.
    pub(crate) fn one(number: impl Into<N>) -> Self {
        let number = number.into();
        Span { low: number, high: number }
    }

    pub(crate) fn is_one(self) -> bool {
        self.low == self.high
    }

    pub(crate) fn overlaps(self, other: Span<N>) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

impl<N: Copy + Ord + From<u8> + Add<Output = N> + Sub<Output = N>> Span<N> {
    /// What is below another that it overlaps, what is above it, and what they have in common.
    fn split(self, other: Span<N>) -> (Option<Self>, Option<Self>, Self) {
        let one = N::from(1);
        let below = (self.low < other.low).then(|| Span { low: self.low, high: other.low - one });
        let above = (self.high > other.high).then(|| Span { low: other.high + one, high: self.high });
        (below, above, Span { low: self.low.max(other.low), high: self.high.min(other.high) })
    }
}

/// What one element of a firewall set covers: addresses, and two more fields that depend on the set. Sets have thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Piece {
    pub(crate) addresses: Span,
    pub(crate) second: Span<u16>,
    pub(crate) third: Span<u16>,
}

impl Piece {
    pub(crate) fn new(addresses: Span, second: Span<u16>, third: Span<u16>) -> Self {
        Piece { addresses, second, third }
    }

    pub(crate) fn overlaps(&self, other: &Piece) -> bool {
        self.addresses.overlaps(other.addresses)
            && self.second.overlaps(other.second)
            && self.third.overlaps(other.third)
    }

    /// What is left of it without another, in pieces that do not overlap: at most six.
    pub(crate) fn without(self, hole: &Piece, rest: &mut Vec<Piece>) {
        if !self.overlaps(hole) {
            rest.push(self);
            return;
        }
        let (below, above, addresses) = self.addresses.split(hole.addresses);
        rest.extend(below.into_iter().chain(above).map(|addresses| Piece { addresses, ..self }));
        let (below, above, second) = self.second.split(hole.second);
        rest.extend(below.into_iter().chain(above).map(|second| Piece { addresses, second, ..self }));
        let (below, above, _) = self.third.split(hole.third);
        rest.extend(below.into_iter().chain(above).map(|third| Piece { addresses, second, third }));
    }
}
