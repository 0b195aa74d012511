//! Rows and campaigns as data.

use crate::{Bed, Stage};

/// One kind of attack.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// As in the campaign's document: `S4.01`.
    pub id: &'static str,
    /// What must hold.
    pub title: &'static str,
    /// Where the attack was seen, if anywhere.
    pub reference: &'static str,
    /// How many cases it plays. A run that plays another number fails.
    pub cases: usize,
    /// How many attempts each case makes by default; 1 where chance plays no part.
    pub attempts: u32,
    /// Plays it.
    pub play: fn(&mut Stage<'_>),
}

/// Rows of one subject.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// `S4`.
    pub id: &'static str,
    /// Its subject.
    pub title: &'static str,
    /// What it is played on.
    pub bed: fn() -> Bed,
    /// Its rows, in order.
    pub rows: &'static [Row],
}
