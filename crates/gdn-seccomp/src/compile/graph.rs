//! A program as a graph: steps that lead to steps, each kept once however often it is led to.
//!
//! Steps are made from the last to the first, so those that a step leads to always have lower numbers than itself. Written
//! down in reverse order they are a program whose jumps all go forward, as the kernel wants.

use std::collections::HashMap;

use crate::program::operations::{AND, COPY, JUMP, LOAD, RETURN};
use crate::program::{Instruction, Program};

/// A step's place in its graph.
pub(super) type Step = usize;

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Node {
    /// Ends with a value.
    Return(u32),
    /// Changes the accumulator and goes on.
    Plain { code: u16, operand: u32, next: Step },
    /// Compares the accumulator and leaves it as it is.
    Compare { code: u16, operand: u32, yes: Step, no: Step },
}

/// All steps of a program.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    known: HashMap<Node, Step>,
}

impl Graph {
    fn step(&mut self, node: Node) -> Step {
        let nodes = &mut self.nodes;
        *self.known.entry(node).or_insert_with(|| {
            nodes.push(node);
            nodes.len() - 1
        })
    }

    /// How many steps there are: at least so many instructions will be needed.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Ends the program.
    pub(super) fn give(&mut self, value: u32) -> Step {
        self.step(Node::Return(value))
    }

    /// Loads a word of the call.
    pub(super) fn load(&mut self, offset: u32, next: Step) -> Step {
        self.step(Node::Plain { code: LOAD, operand: offset, next })
    }

    /// Keeps only some bits of the accumulator.
    pub(super) fn keep_bits(&mut self, mask: u32, next: Step) -> Step {
        self.step(Node::Plain { code: AND, operand: mask, next })
    }

    /// Copies the accumulator to where nothing reads it: the kernel, which tries programs out in advance, stops at this.
    pub(super) fn stop_trying(&mut self, next: Step) -> Step {
        self.step(Node::Plain { code: COPY, operand: 0, next })
    }

    /// Compares the accumulator. Both ways may be the same: then there is nothing to compare.
    pub(super) fn compare(&mut self, code: u16, operand: u32, yes: Step, no: Step) -> Step {
        if yes == no { yes } else { self.step(Node::Compare { code, operand, yes, no }) }
    }

    /// Loads a word, keeps some of its bits, and compares them.
    pub(super) fn test_word(&mut self, word: Word, code: u16, operand: u32, yes: Step, no: Step) -> Step {
        let (yes, no) = (self.behind(word, yes), self.behind(word, no));
        let compared = self.compare(code, operand, yes, no);
        self.load_word(word, compared)
    }

    /// Loads a word, keeps some of its bits, and goes on.
    pub(super) fn load_word(&mut self, word: Word, next: Step) -> Step {
        let next = if word.mask == u32::MAX { next } else { self.keep_bits(word.mask, next) };
        self.load(word.offset, next)
    }

    /// Where to go instead when the accumulator has the word already: behind the step's own loading of it.
    fn behind(&self, word: Word, step: Step) -> Step {
        let Node::Plain { code: LOAD, operand, next } = self.nodes[step] else { return step };
        if operand != word.offset {
            return step;
        }
        match self.nodes[next] {
            Node::Plain { code: AND, operand, next } if operand == word.mask => next,
            Node::Plain { code: AND, .. } => step,
            _ if word.mask == u32::MAX => next,
            _ => step,
        }
    }

    /// Writes down what can be reached from the first step; `None` when that is more than so many instructions.
    pub(super) fn program(&self, first: Step, most: usize) -> Option<Program> {
        let reached = self.reached(first);
        let mut listing = Listing { reversed: Vec::new(), at: vec![0; self.nodes.len()] };
        for (step, node) in self.nodes.iter().enumerate().take(first + 1).filter(|(step, _)| reached[*step]) {
            listing.write(self, step, *node);
            if listing.reversed.len() > most {
                return None;
            }
        }
        listing.reversed.reverse();
        Some(Program(listing.reversed))
    }

    fn reached(&self, first: Step) -> Vec<bool> {
        let mut reached = vec![false; self.nodes.len()];
        reached[first] = true;
        for step in (0..=first).rev().filter(|step| *step < self.nodes.len()) {
            match self.nodes[step] {
                _ if !reached[step] => {}
                Node::Return(_) => {}
                Node::Plain { next, .. } => reached[next] = true,
                Node::Compare { yes, no, .. } => (reached[yes], reached[no]) = (true, true),
            }
        }
        reached
    }
}

/// A word of the call of which some bits count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word {
    /// Where it is in `struct seccomp_data`.
    pub(super) offset: u32,
    /// Which bits.
    pub(super) mask: u32,
}

/// The instructions, last first, and where each step is: how many instructions there are from it on to the end.
struct Listing {
    reversed: Vec<Instruction>,
    at: Vec<usize>,
}

impl Listing {
    fn push(&mut self, instruction: Instruction) -> usize {
        self.reversed.push(instruction);
        self.reversed.len()
    }

    fn write(&mut self, graph: &Graph, step: Step, node: Node) {
        self.at[step] = match node {
            Node::Return(value) => self.push(Instruction::plain(RETURN, value)),
            Node::Plain { code, operand, next } => {
                if self.distance(next) != 0 {
                    self.bring_near(graph, next);
                }
                self.push(Instruction::plain(code, operand))
            }
            Node::Compare { code, operand, yes, no } => {
                let (jump_true, jump_false) = self.jumps(graph, yes, no);
                self.push(Instruction::compare(code, operand, jump_true, jump_false))
            }
        }
    }

    /// How many instructions the next one to be written has to skip to get there.
    fn distance(&self, step: Step) -> usize {
        self.reversed.len() - self.at[step]
    }

    /// The ways of a comparison. What is farther than its jumps reach is brought near; that moves the other way by one, so it
    /// is looked at again.
    fn jumps(&mut self, graph: &Graph, yes: Step, no: Step) -> (u8, u8) {
        loop {
            match (u8::try_from(self.distance(yes)), u8::try_from(self.distance(no))) {
                (Ok(yes), Ok(no)) => return (yes, no),
                (Err(_), _) => self.bring_near(graph, yes),
                (_, Err(_)) => self.bring_near(graph, no),
            }
        }
    }

    /// Writes a step again if it is a return, or else a jump to it, which reaches any distance.
    fn bring_near(&mut self, graph: &Graph, step: Step) {
        let distance = u32::try_from(self.distance(step)).expect("programs are cut off far below");
        self.at[step] = match graph.nodes[step] {
            Node::Return(value) => self.push(Instruction::plain(RETURN, value)),
            Node::Plain { .. } | Node::Compare { .. } => self.push(Instruction::plain(JUMP, distance)),
        };
    }
}
