//! From a profile to the kernel's instructions.
//!
//! ```text
//! architecture? -- native ------> number (without the x32 bit) -> tree of ranges -> action | cases
//!               -- the 32-bit one -> number -> tree of ranges -> action | cases
//!               -- another -----> `unknown`
//! ```

use std::collections::HashMap;

use crate::architecture::{Architecture, X32_BIT};
use crate::error::Error;
use crate::profile::{Action, Profile, Rule};
use crate::program::operations::{AND, JUMP, JUMP_EQUAL, JUMP_GREATER_EQUAL, LOAD, RETURN};
use crate::program::{Instruction, Program, offsets};

mod cases;

/// What the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;
/// Calls have six arguments.
const ARGUMENTS: u8 = 6;
/// Most conditions of one case: each takes at most five instructions, and a jump over all of them reaches 255.
const MAX_CONDITIONS: usize = 48;

impl Profile {
    /// Makes the program for the architecture this is built for, and the others its kernel runs: on x86_64 for x86_64, x32
    /// and i386 programs.
    ///
    /// # Errors
    /// When the profile names a call or an argument that does not exist, or does not fit the kernel's machine.
    pub fn compile(&self) -> Result<Program, Error> {
        self.compile_for(Architecture::native().ok_or(Error::NoArchitecture)?)
    }

    /// Makes the program for a kernel of the given architecture.
    ///
    /// # Errors
    /// As [`Profile::compile`].
    pub fn compile_for(&self, architecture: Architecture) -> Result<Program, Error> {
        self.check()?;
        let mut program = vec![Instruction::plain(LOAD, offsets::ARCHITECTURE)];
        for member in architecture.family() {
            let block = self.block(*member);
            let audit_number = member.audit_number();
            program.push(Instruction::compare(JUMP_EQUAL, audit_number, 1, 0));
            // Farther than a comparison's own jump reaches.
            program.push(Instruction::plain(JUMP, distance(block.len())));
            program.extend(block);
        }
        program.push(give(self.unknown));
        if program.len() > MAX_INSTRUCTIONS {
            return Err(Error::TooLong { instructions: program.len() });
        }
        Ok(Program(program))
    }

    fn check(&self) -> Result<(), Error> {
        let known = Architecture::all_names();
        for (name, rule) in self.rules() {
            if !known.contains(name) {
                return Err(Error::NoSuchCall { name: name.to_owned() });
            }
            for case in &rule.cases {
                if case.when.len() > MAX_CONDITIONS {
                    return Err(Error::TooManyConditions {
                        name: name.to_owned(),
                        conditions: case.when.len(),
                    });
                }
                if let Some(condition) = case.when.iter().find(|condition| condition.argument >= ARGUMENTS) {
                    let argument = condition.argument;
                    return Err(Error::NoSuchArgument { name: name.to_owned(), argument });
                }
            }
        }
        Ok(())
    }

    /// Loads the number and decides; ends in a return on every path.
    fn block(&self, architecture: Architecture) -> Vec<Instruction> {
        let mut code = vec![Instruction::plain(LOAD, offsets::NUMBER)];
        if architecture == Architecture::X86_64 {
            code.push(Instruction::plain(AND, !X32_BIT));
        }
        code.extend(tree(&self.ranges(architecture)));
        code
    }

    /// All numbers, cut where the rule changes; each range is given by its first number.
    fn ranges(&self, architecture: Architecture) -> Vec<(u32, Rule)> {
        let names: HashMap<u32, &str> = architecture.calls().map(|(name, number)| (number, name)).collect();
        let end = names.keys().max().map_or(0, |highest| highest + 1);
        let mut ranges: Vec<(u32, Rule)> = Vec::new();
        for number in 0..=end {
            let rule = match names.get(&number) {
                Some(name) => self.rule(name).cloned().unwrap_or_else(|| self.unlisted.into()),
                None => self.unknown.into(),
            };
            if ranges.last().is_none_or(|(_, last)| *last != rule) {
                ranges.push((number, rule));
            }
        }
        ranges
    }
}

/// A binary tree over ranges; the call's number is in the accumulator.
fn tree(ranges: &[(u32, Rule)]) -> Vec<Instruction> {
    if let [(_, rule)] = ranges {
        return cases::leaf(rule);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (tree(lower), tree(upper));
    let boundary = upper[0].0;
    let mut code = match u8::try_from(below.len()) {
        Ok(near) => vec![Instruction::compare(JUMP_GREATER_EQUAL, boundary, near, 0)],
        // Too far for a comparison's own jump.
        Err(_) => vec![
            Instruction::compare(JUMP_GREATER_EQUAL, boundary, 0, 1),
            Instruction::plain(JUMP, distance(below.len())),
        ],
    };
    code.extend(below);
    code.extend(above);
    code
}

/// A jump's length. One that does not fit belongs to a program that is refused for its length.
fn distance(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn give(action: Action) -> Instruction {
    Instruction::plain(RETURN, action.value())
}

#[cfg(test)]
mod tests;
