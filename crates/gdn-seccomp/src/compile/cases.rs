//! The leaves of the tree: rules that look at arguments.
//!
//! The machine's words have 32 bits, arguments 64: each comparison is made of one for each half, the upper first.

use super::graph::{Graph, Step, Word};
use crate::profile::{Condition, Rule, Test};
use crate::program::offsets;
use crate::program::operations::{JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL};

/// The cases in order, then what happens otherwise.
pub(super) fn leaf(graph: &mut Graph, rule: &Rule) -> Step {
    let otherwise = graph.give(rule.otherwise.value());
    rule.cases.iter().rev().fold(otherwise, |next, case| {
        let action = graph.give(case.action.value());
        case.when.iter().rev().fold(action, |holds, condition| check(graph, condition, holds, next))
    })
}

/// Goes one way when the condition holds, and the other when it does not.
fn check(graph: &mut Graph, condition: &Condition, yes: Step, no: Step) -> Step {
    // Little-endian: the lower half comes first.
    let offset = offsets::ARGUMENTS + 8 * u32::from(condition.argument);
    let half = |offset| Word { offset, mask: u32::MAX };
    let halves = (half(offset), half(offset + 4));
    match condition.test {
        Test::Equal(value) => masked(graph, halves, u64::MAX, value, yes, no),
        Test::NotEqual(value) => masked(graph, halves, u64::MAX, value, no, yes),
        Test::Masked { mask, value } => masked(graph, halves, mask, value, yes, no),
        Test::Greater(value) => above(graph, halves, value, JUMP_GREATER, yes, no),
        Test::GreaterOrEqual(value) => above(graph, halves, value, JUMP_GREATER_EQUAL, yes, no),
        Test::LessOrEqual(value) => above(graph, halves, value, JUMP_GREATER, no, yes),
        Test::Less(value) => above(graph, halves, value, JUMP_GREATER_EQUAL, no, yes),
    }
}

/// Compares the bits of a mask. A half of which no bit counts is left out.
fn masked(graph: &mut Graph, halves: (Word, Word), mask: u64, value: u64, yes: Step, no: Step) -> Step {
    if value & !mask != 0 {
        return no;
    }
    let (low, high) = halves;
    let halves = [(low, lower(mask), lower(value)), (high, upper(mask), upper(value))];
    halves.into_iter().filter(|(_, mask, _)| *mask != 0).fold(yes, |yes, (word, mask, value)| {
        graph.test_word(Word { mask, ..word }, JUMP_EQUAL, value, yes, no)
    })
}

/// Whether the argument is above the value; `on_low` says whether equal is above.
fn above(graph: &mut Graph, (low, high): (Word, Word), value: u64, on_low: u16, yes: Step, no: Step) -> Step {
    let lower_half = graph.test_word(low, on_low, lower(value), yes, no);
    let not_greater = graph.compare(JUMP_EQUAL, upper(value), lower_half, no);
    graph.test_word(high, JUMP_GREATER, upper(value), yes, not_greater)
}

#[allow(clippy::cast_possible_truncation, reason = "the half that is wanted")]
fn lower(value: u64) -> u32 {
    value as u32
}

fn upper(value: u64) -> u32 {
    lower(value >> 32)
}
