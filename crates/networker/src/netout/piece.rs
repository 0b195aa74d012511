//! Boxes in the space of address, protocol and port.

/// A number from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) low: u128,
    pub(crate) high: u128,
}

impl Span {
    /// A span; `low` is at most `high`.
    pub(crate) fn new(low: impl Into<u128>, high: impl Into<u128>) -> Self {
        Span { low: low.into(), high: high.into() }
    }

    /// One number.
    pub(crate) fn one(number: impl Into<u128>) -> Self {
        let number = number.into();
        Span { low: number, high: number }
    }

    pub(crate) fn overlaps(self, other: Span) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// What one element of a firewall set covers: addresses, and two more fields that depend on the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Piece(pub(crate) [Span; 3]);

impl Piece {
    /// Its addresses.
    pub(crate) fn addresses(&self) -> Span {
        self.0[0]
    }

    pub(crate) fn overlaps(&self, other: &Piece) -> bool {
        self.0.iter().zip(other.0).all(|(mine, other)| mine.overlaps(other))
    }

    /// What is left of it without another, in pieces that do not overlap: at most six.
    pub(crate) fn without(mut self, hole: &Piece, rest: &mut Vec<Piece>) {
        if !self.overlaps(hole) {
            rest.push(self);
            return;
        }
        for field in 0..3 {
            let (mine, hole) = (self.0[field], hole.0[field]);
            if mine.low < hole.low {
                let mut below = self;
                below.0[field].high = hole.low - 1;
                rest.push(below);
                self.0[field].low = hole.low;
            }
            if mine.high > hole.high {
                let mut above = self;
                above.0[field].low = hole.high + 1;
                rest.push(above);
                self.0[field].high = hole.high;
            }
        }
    }
}
