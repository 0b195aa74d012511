//! The leaves of the tree: rules that look at arguments.
//!
//! The machine's words have 32 bits, arguments 64: each comparison is made of one for each half, the upper first.

use super::give;
use crate::profile::{Case, Condition, Rule, Test};
use crate::program::operations::{AND, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL, LOAD};
use crate::program::{Instruction, offsets};

/// The cases in order, then what happens otherwise.
pub(super) fn leaf(rule: &Rule) -> Vec<Instruction> {
    let mut code: Vec<Instruction> = rule.cases.iter().flat_map(case).collect();
    code.push(give(rule.otherwise));
    code
}

/// Returns the action when all conditions hold; goes on behind it otherwise.
fn case(case: &Case) -> Vec<Instruction> {
    let mut code = vec![give(case.action)];
    for condition in case.when.iter().rev() {
        let behind = u8::try_from(code.len()).expect("the number of conditions was checked");
        let mut front = check(condition, behind);
        front.extend(code);
        code = front;
    }
    code
}

/// Where a comparison leads.
#[derive(Clone, Copy)]
struct Exits {
    /// Instructions of the check itself that are still to come behind this one.
    left: u8,
    /// Instructions behind the check, to be skipped when the condition does not hold.
    behind: u8,
}

impl Exits {
    /// The jump to right behind the check: the condition holds.
    fn holds(self) -> u8 {
        self.left
    }

    /// The jump to behind the case: it does not.
    fn fails(self) -> u8 {
        self.left + self.behind
    }
}

/// Goes on right behind itself when the condition holds, and skips `behind` more instructions otherwise.
fn check(condition: &Condition, behind: u8) -> Vec<Instruction> {
    // Little-endian: the lower half comes first.
    let low_at = offsets::ARGUMENTS + 8 * u32::from(condition.argument);
    let (low, high) = (Instruction::plain(LOAD, low_at), Instruction::plain(LOAD, low_at + 4));
    let exits = |left| Exits { left, behind };
    match condition.test {
        Test::Equal(value) => masked(low, high, u64::MAX, value, behind),
        Test::Masked { mask, value } => masked(low, high, mask, value, behind),
        Test::NotEqual(value) => vec![
            high,
            Instruction::compare(JUMP_EQUAL, upper(value), 0, exits(2).holds()),
            low,
            Instruction::compare(JUMP_EQUAL, lower(value), exits(0).fails(), exits(0).holds()),
        ],
        Test::Greater(value) => above(low, high, value, JUMP_GREATER, behind),
        Test::GreaterOrEqual(value) => above(low, high, value, JUMP_GREATER_EQUAL, behind),
        Test::LessOrEqual(value) => not_above(low, high, value, JUMP_GREATER, behind),
        Test::Less(value) => not_above(low, high, value, JUMP_GREATER_EQUAL, behind),
    }
}

/// Compares the bits of a mask. A half of which no bit counts is left out.
fn masked(low: Instruction, high: Instruction, mask: u64, value: u64, behind: u8) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (load, mask, value) in [(low, lower(mask), lower(value)), (high, upper(mask), upper(value))] {
        if mask == 0 && value == 0 {
            continue;
        }
        let left = u8::try_from(code.len()).expect("a half takes three instructions");
        let mut half = vec![load];
        if mask != u32::MAX {
            half.push(Instruction::plain(AND, mask));
        }
        half.push(Instruction::compare(JUMP_EQUAL, value, 0, Exits { left, behind }.fails()));
        half.extend(code);
        code = half;
    }
    code
}

/// Holds when the argument is above the value; `on_low` says whether equal is above.
fn above(low: Instruction, high: Instruction, value: u64, on_low: u16, behind: u8) -> Vec<Instruction> {
    let exits = |left| Exits { left, behind };
    vec![
        high,
        Instruction::compare(JUMP_GREATER, upper(value), exits(3).holds(), 0),
        Instruction::compare(JUMP_EQUAL, upper(value), 0, exits(2).fails()),
        low,
        Instruction::compare(on_low, lower(value), exits(0).holds(), exits(0).fails()),
    ]
}

/// Holds when [`above`] does not.
fn not_above(low: Instruction, high: Instruction, value: u64, on_low: u16, behind: u8) -> Vec<Instruction> {
    let exits = |left| Exits { left, behind };
    vec![
        high,
        Instruction::compare(JUMP_GREATER, upper(value), exits(3).fails(), 0),
        Instruction::compare(JUMP_EQUAL, upper(value), 0, exits(2).holds()),
        low,
        Instruction::compare(on_low, lower(value), exits(0).fails(), exits(0).holds()),
    ]
}

#[allow(clippy::cast_possible_truncation, reason = "the half that is wanted")]
fn lower(value: u64) -> u32 {
    value as u32
}

fn upper(value: u64) -> u32 {
    lower(value >> 32)
}
