//! From a profile to the kernel's instructions.
//!
//! ```text
//! architecture? -- native ------> number (without the x32 bit) -> tree of ranges -> action | cases
//!               -- the 32-bit one -> number -> tree of ranges -> action | cases
//!               -- another -----> `foreign`
//! ```
//!
//! Loading a filter costs time in every container and every process that joins one, so a program is short and shallow: each
//! instruction costs the kernel about 0.16 us to check and translate, and each step on the way to a native call about 3 ns
//! for each of the 470 calls, because the kernel tries all of them out to remember which are always allowed.

use std::collections::HashMap;

use crate::architecture::{Architecture, X32_BIT};
use crate::error::Error;
use crate::profile::{Profile, Rule};
use crate::program::operations::{JUMP_BITS, JUMP_EQUAL};
use crate::program::{Program, offsets};
use graph::{Graph, Step};
use tree::Range;

mod cases;
mod graph;
mod tree;

/// What the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;
/// Calls have six arguments.
const ARGUMENTS: u8 = 6;

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
        let mut graph = Graph::default();
        let mut next = graph.give(self.foreign.value());
        for member in architecture.family().iter().rev().filter(|member| self.covers(**member)) {
            let search = self.search(&mut graph, *member);
            next = graph.compare(JUMP_EQUAL, member.audit_number(), search, next);
            if *member != architecture {
                // 32-bit programs are rare. The kernel tries out all calls at each load, to remember which are always
                // allowed: that is saved for theirs, and costs each of them 30 to 60 ns.
                next = graph.stop_trying(next);
            }
        }
        let first = graph.load(offsets::ARCHITECTURE, next);
        graph.program(first, MAX_INSTRUCTIONS).ok_or(Error::TooLong { instructions: graph.len() })
    }

    fn check(&self) -> Result<(), Error> {
        let known = Architecture::all_names();
        for (name, rule) in self.rules() {
            if !known.contains(name) {
                return Err(Error::NoSuchCall { name: name.to_owned() });
            }
            let conditions = rule.cases.iter().flat_map(|case| &case.when);
            if let Some(argument) = conditions.map(|condition| condition.argument).find(|at| *at >= ARGUMENTS)
            {
                return Err(Error::NoSuchArgument { name: name.to_owned(), argument });
            }
        }
        Ok(())
    }

    /// Loads the number and decides.
    fn search(&self, graph: &mut Graph, architecture: Architecture) -> Step {
        let ranges = self.ranges(graph, architecture);
        let mut search = tree::search(graph, &ranges);
        if architecture == Architecture::X86_64 {
            search = if self.x32 {
                graph.keep_bits(!X32_BIT, search)
            } else {
                let foreign = graph.give(self.foreign.value());
                graph.compare(JUMP_BITS, X32_BIT, foreign, search)
            };
        }
        graph.load(offsets::NUMBER, search)
    }

    /// All numbers, cut where what happens changes.
    fn ranges(&self, graph: &mut Graph, architecture: Architecture) -> Vec<Range> {
        let names: HashMap<u32, &str> =
            self.calls(architecture).map(|(name, number)| (number, name)).collect();
        let end = names.keys().max().map_or(0, |highest| highest + 1);
        let (unlisted, unknown) = (Rule::from(self.unlisted), Rule::from(self.unknown));
        let mut ranges: Vec<Range> = Vec::new();
        for number in 0..=end {
            let rule = names.get(&number).map_or(&unknown, |name| self.rule(name).unwrap_or(&unlisted));
            let leaf = cases::leaf(graph, rule);
            match ranges.last_mut() {
                Some(last) if last.leaf == leaf => last.end = number + 1,
                _ => ranges.push(Range { first: number, end: number + 1, leaf }),
            }
        }
        if let Some(last) = ranges.last_mut() {
            last.end = u32::MAX;
        }
        ranges
    }
}

#[cfg(test)]
mod tests;
