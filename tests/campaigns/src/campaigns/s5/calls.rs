//! Every system call, by every door.

use std::collections::BTreeMap;

use gdn_seccomp::{Action, Architecture, Profile};
use gdn_types::{ContainerSpec, SeccompProfile};

use super::dangerous::{DANGEROUS, FIRST_UNKNOWN};
use crate::{Stage, Target, Verdict};

/// A way into the kernel, with the numbers that are tried.
struct Door {
    name: &'static str,
    architecture: Architecture,
    /// What is set in each number.
    bit: u32,
    ranges: &'static [(u32, u32)],
}

/// x32 has numbers of its own from 512 on.
const DOORS: [Door; 3] = [
    Door { name: "x86_64", architecture: Architecture::X86_64, bit: 0, ranges: &[(0, 499)] },
    Door {
        name: "x32",
        architecture: Architecture::X86_64,
        bit: 0x4000_0000,
        ranges: &[(0, 499), (512, 549)],
    },
    Door { name: "i386", architecture: Architecture::I386, bit: 0, ranges: &[(0, 499)] },
];

/// How many numbers these are.
pub(super) const CASES: usize = 500 + 538 + 500;

/// The arguments of the probe: no pointer, descriptor, process, signal or flag.
const HARMLESS: [u64; 6] = [0xffff_ffff_ffff_ff00; 6];

const REFUSED: &str = "errno 1";
const ABSENT: &str = "errno 38";

/// What a call answers, as the probe prints it, by door and number.
type Answers = BTreeMap<(&'static str, u32), String>;

fn sweep(target: &dyn Target) -> Answers {
    let mut answers = Answers::new();
    for door in &DOORS {
        for (first, last) in door.ranges {
            let seen = target.run("", &["probe", "sweep", door.name, &first.to_string(), &last.to_string()]);
            for line in seen.said().lines() {
                let (number, answer) = line.split_once(' ').expect("the probe prints a number and an answer");
                answers.insert((door.name, number.parse().unwrap()), answer.to_owned());
            }
        }
    }
    answers
}

/// Which signal ends a process that returns from a handler it is not in depends on its stack; only SIGSYS (31) is a filter's.
fn class(answer: &str) -> &str {
    if answer.starts_with("signal") && answer != "signal 31" { "signal" } else { answer }
}

/// Whether the answer is what the call may answer; `free` is the answer of the same kernel without a filter.
fn judge(door: &Door, number: u32, seen: &str, free: &str) -> Verdict {
    let name = DANGEROUS.iter().find(|(_, native, i386)| match door.architecture {
        Architecture::I386 => *i386 == Some(number),
        _ => i64::from(number) == *native,
    });
    let action = Profile::default_profile().action(door.architecture, number | door.bit, &HARMLESS);
    let expected = match (name, action) {
        // Kernels without x32 and those with it: the filter comes first.
        (Some(_), _) => REFUSED,
        _ if (FIRST_UNKNOWN..512).contains(&number) => ABSENT,
        (_, Action::Allow) => free,
        (_, Action::ABSENT) => ABSENT,
        _ => REFUSED,
    };
    let name = name.map_or("", |(name, ..)| name);
    Verdict::held_unless(class(seen) != class(expected), || {
        format!("{name} answers {seen:?} and not {expected:?}")
    })
}

pub(super) fn every_number(stage: &mut Stage<'_>) {
    let free = ContainerSpec { seccomp: SeccompProfile::Unconfined, ..ContainerSpec::default() };
    let unconfined = stage.bed().in_container(free, |inside| sweep(inside));
    let confined = stage.bed().in_container(ContainerSpec::default(), |inside| sweep(inside));
    for door in &DOORS {
        for number in door.ranges.iter().flat_map(|(first, last)| *first..=*last) {
            let key = (door.name, number);
            stage.case(format!("{} {number}", door.name), |_| {
                judge(door, number, &confined[&key], &unconfined[&key])
            });
        }
    }
    stage.control("the same container without a filter", |_| {
        let let_through = unconfined.iter().filter(|((name, number), seen)| {
            let door = DOORS.iter().find(|door| door.name == *name).expect("a door of the table");
            judge(door, *number, seen, seen) != Verdict::Held
        });
        let count = let_through.count();
        Verdict::held_unless(count >= DANGEROUS.len(), || format!("{count} calls of the table go through"))
    });
}
