//! From a profile to the kernel's instructions.

use crate::profile::{ABSENT, Case};
use crate::{Action, Profile, Rule};

/// One instruction of classic BPF, with the layout of `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// A program for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

/// A profile that does not fit the kernel's machine.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The kernel takes at most 4096 instructions.
    #[error("the program would have {instructions} instructions, the kernel takes 4096")]
    TooLong {
        /// How many.
        instructions: usize,
    },
    /// A condition on an argument that no call has.
    #[error("a condition is about argument {argument}, calls have arguments 0 to 5")]
    NoSuchArgument {
        /// Which.
        argument: u8,
    },
    /// The rule of one call is too long for a relative jump.
    #[error("the rule of call {number} has too many cases")]
    TooManyCases {
        /// The call.
        number: u32,
    },
}

const MAX_INSTRUCTIONS: usize = 4096;
/// The most cases of one rule: each takes at most seven instructions, and jumps reach 255.
const MAX_CASES: usize = 64;

// Operations of linux/bpf_common.h.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// AUDIT_ARCH_* of the architecture this is built for.
#[cfg(target_arch = "x86_64")]
pub(crate) const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(crate) const NATIVE: u32 = 0xc000_00b7;

/// Numbers from here on are x32 calls on x86_64, and nothing elsewhere.
const FOREIGN_NUMBERS: u32 = 0x4000_0000;

impl Profile {
    /// Makes the program.
    ///
    /// # Errors
    /// When the profile does not fit the kernel's machine.
    pub fn compile(&self) -> Result<Program, Error> {
        for (number, rule) in &self.rules {
            if rule.cases.len() > MAX_CASES {
                return Err(Error::TooManyCases { number: *number });
            }
            if let Some(case) = rule.cases.iter().find(|case| case.when.argument > 5) {
                return Err(Error::NoSuchArgument { argument: case.when.argument });
            }
        }
        let mut program = vec![
            instruction(LOAD, ARCHITECTURE),
            compare(JUMP_EQUAL, NATIVE, 1, 0),
            give(ABSENT),
            instruction(LOAD, NUMBER),
        ];
        program.extend(tree(&self.ranges()));
        if program.len() > MAX_INSTRUCTIONS {
            return Err(Error::TooLong { instructions: program.len() });
        }
        Ok(Program(program))
    }

    /// The whole range of numbers, cut where the rule changes; each range is given by its first number.
    fn ranges(&self) -> Vec<(u32, Rule)> {
        let mut ranges: Vec<(u32, Rule)> = Vec::new();
        let mut push = |first: u32, rule: Rule| {
            if ranges.last().is_none_or(|(_, last)| *last != rule) {
                ranges.push((first, rule));
            }
        };
        for number in 0..=self.highest {
            push(number, self.rules.get(&number).cloned().unwrap_or_else(|| self.unlisted.into()));
        }
        for (number, rule) in self.rules.range(self.highest + 1..FOREIGN_NUMBERS) {
            push(*number, rule.clone());
            push(*number + 1, self.unknown.into());
        }
        push(
            self.rules.keys().last().map_or(self.highest, |last| (*last).max(self.highest)) + 1,
            self.unknown.into(),
        );
        push(FOREIGN_NUMBERS, ABSENT.into());
        ranges
    }
}

/// A binary tree over ranges; the call's number is in the accumulator.
fn tree(ranges: &[(u32, Rule)]) -> Vec<Instruction> {
    if let [(_, rule)] = ranges {
        return leaf(rule);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (tree(lower), tree(upper));
    let boundary = upper[0].0;
    let mut code = match u8::try_from(below.len()) {
        Ok(distance) => vec![compare(JUMP_GREATER_EQUAL, boundary, distance, 0)],
        // Too far for a comparison's own jump.
        Err(_) => vec![
            compare(JUMP_GREATER_EQUAL, boundary, 0, 1),
            instruction(JUMP, u32::try_from(below.len()).unwrap_or(u32::MAX)),
        ],
    };
    code.extend(below);
    code.extend(above);
    code
}

fn leaf(rule: &Rule) -> Vec<Instruction> {
    let mut code: Vec<Instruction> = rule.cases.iter().flat_map(check).collect();
    code.push(give(rule.otherwise));
    code
}

/// Compares the halves of an argument and returns the action when both are right; goes on behind it otherwise.
fn check(case: &Case) -> Vec<Instruction> {
    // Little-endian: the lower half comes first.
    let offset = ARGUMENTS + 8 * u32::from(case.when.argument);
    let half = |value: u64, high: bool| -> u32 {
        u32::try_from(if high { value >> 32 } else { value & 0xffff_ffff }).unwrap_or(u32::MAX)
    };
    let mut code = vec![give(case.action)];
    for high in [true, false] {
        let (mask, value) = (half(case.when.mask, high), half(case.when.value, high));
        if mask == 0 && value == 0 {
            continue;
        }
        let past_the_rest = u8::try_from(code.len()).expect("at most seven instructions");
        let mut front = vec![instruction(LOAD, offset + if high { 4 } else { 0 })];
        if mask != u32::MAX {
            front.push(instruction(AND, mask));
        }
        front.push(compare(JUMP_EQUAL, value, 0, past_the_rest));
        front.extend(code);
        code = front;
    }
    code
}

fn instruction(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

fn compare(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

fn give(action: Action) -> Instruction {
    let value = match action {
        Action::Allow => 0x7fff_0000,
        Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
    };
    instruction(RETURN, value)
}

impl Program {
    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none; never so for a compiled profile.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The instructions as an array of `struct sock_filter`, in the machine's byte order.
    pub fn as_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|instruction| {
                let [a, b] = instruction.code.to_ne_bytes();
                let [e, f, g, h] = instruction.operand.to_ne_bytes();
                [a, b, instruction.jump_true, instruction.jump_false, e, f, g, h]
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
