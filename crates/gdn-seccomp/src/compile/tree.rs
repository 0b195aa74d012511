//! The tree that finds what happens at a call's number.

use super::graph::{Graph, Step};
use crate::program::operations::{JUMP_EQUAL, JUMP_GREATER_EQUAL};

/// Numbers that are found one by one rather than by cutting ranges around them, at most. Each costs one comparison where two
/// cuts cost two, but the numbers around it have to pass it: by the costs of both, three is best for the default profile.
const SINGLES: usize = 3;
/// Numbers from here on do not count when a range is cut in halves: the kernel tries out the calls it has when a filter is
/// loaded, and those end below; what x32 has for itself comes later.
const TRIED: u32 = 512;

/// Numbers that share what happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// The first of them.
    pub(super) first: u32,
    /// The first that is not one of them.
    pub(super) end: u32,
    /// What happens.
    pub(super) leaf: Step,
}

impl Range {
    /// Numbers in it that the kernel tries out.
    fn weight(&self) -> u32 {
        self.end.min(TRIED).saturating_sub(self.first)
    }

    fn is_single(&self) -> bool {
        self.end - self.first == 1
    }
}

/// Leads from a number in the accumulator to its leaf. Ranges are sorted, not empty, and have no gaps.
pub(super) fn search(graph: &mut Graph, ranges: &[Range]) -> Step {
    if let Some(step) = singles(graph, ranges) {
        return step;
    }
    let (lower, upper) = ranges.split_at(middle(ranges));
    let (below, above) = (search(graph, lower), search(graph, upper));
    graph.compare(JUMP_GREATER_EQUAL, upper[0].first, above, below)
}

/// Where to cut so that both sides have about as many numbers.
fn middle(ranges: &[Range]) -> usize {
    let all: u32 = ranges.iter().map(Range::weight).sum();
    let mut below = 0;
    let cuts = (1..ranges.len()).map(|cut| {
        below += ranges[cut - 1].weight();
        (below.abs_diff(all - below), cut)
    });
    cuts.min().map_or(1, |(_, cut)| cut)
}

/// When all numbers but a few share their leaf, compares with these few; `None` when it is not so.
fn singles(graph: &mut Graph, ranges: &[Range]) -> Option<Step> {
    let common = ranges.iter().max_by_key(|range| range.end - range.first)?.leaf;
    let others = || ranges.iter().rev().filter(|range| range.leaf != common);
    if others().count() > SINGLES || !others().all(Range::is_single) {
        return None;
    }
    let compare = |otherwise, range: &Range| graph.compare(JUMP_EQUAL, range.first, range.leaf, otherwise);
    Some(others().fold(common, compare))
}
