//! Programs against the meaning of their profile, by an interpreter of the kernel's machine.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::profile::Action;
use crate::profile::{Case, Condition, Test};
use crate::program::Instruction;
use crate::program::operations::{AND, COPY, JUMP, JUMP_GREATER, JUMP_GREATER_EQUAL, LOAD, RETURN};

const KERNELS: [Architecture; 3] = [Architecture::X86_64, Architecture::I386, Architecture::Aarch64];

/// Runs a program; returns the value and how many instructions that took.
fn interpret(program: &Program, audit_number: u32, number: u32, arguments: &[u64; 6]) -> (u32, usize) {
    let (mut at, mut steps, mut accumulator) = (0, 0, 0_u32);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program.instructions()[at];
        at += 1;
        steps += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jump_true } else { jump_false });
        match code {
            LOAD => {
                accumulator = match operand {
                    offsets::NUMBER => number,
                    offsets::ARCHITECTURE => audit_number,
                    offset => {
                        let offset = offset - offsets::ARGUMENTS;
                        let argument = arguments[offset as usize / 8];
                        u32::try_from((argument >> (8 * (offset % 8))) & 0xffff_ffff).unwrap()
                    }
                }
            }
            JUMP_EQUAL => jump(accumulator == operand),
            JUMP_GREATER => jump(accumulator > operand),
            JUMP_GREATER_EQUAL => jump(accumulator >= operand),
            JUMP_BITS => jump(accumulator & operand != 0),
            JUMP => at += operand as usize,
            COPY => {}
            AND => accumulator &= operand,
            RETURN => return (operand, steps),
            other => panic!("operation {other:#x}"),
        }
    }
}

/// Compares program and profile at one call, on every architecture the program is for.
fn agree(profile: &Profile, kernel: Architecture, program: &Program, number: u32, arguments: &[u64; 6]) {
    for member in kernel.family() {
        let (given, _) = interpret(program, member.audit_number(), number, arguments);
        let meant = profile.action(*member, number, arguments).value();
        assert_eq!(given, meant, "{member:?} call {number:#x} {arguments:x?}");
    }
}

#[test]
fn the_program_does_what_the_profile_says_at_every_call() {
    let profile = Profile::default_profile();
    let edges =
        [0, 1, 8, 17, 38, 40, 0x5412, 0x541c, 0x0200_0000, 0x1000_0000, 0x4000_0000, 0xffff_ffff, u64::MAX];
    let edges = edges.into_iter().chain([0x26_0000_0026, 0xffff_ffff_0000_5412, 0xffff_fffe_ffff_ffff]);
    for kernel in KERNELS {
        let program = profile.compile_for(kernel).unwrap();
        for number in (0..=600).flat_map(|number| [number, number | X32_BIT]).chain([X32_BIT - 1, u32::MAX]) {
            for edge in edges.clone() {
                agree(&profile, kernel, &program, number, &[edge, 1, 0, 0, 0, 0]);
                agree(&profile, kernel, &program, number, &[1, edge, 0, 0, 0, 0]);
            }
        }
    }
}

#[test]
fn every_comparison_is_right_around_its_value_in_both_halves() {
    let values = [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x5_0000_0007, u64::MAX - 1, u64::MAX];
    let tests = values.iter().flat_map(|value| {
        [
            Test::Equal(*value),
            Test::NotEqual(*value),
            Test::Less(*value),
            Test::LessOrEqual(*value),
            Test::Greater(*value),
            Test::GreaterOrEqual(*value),
            Test::Masked { mask: 0xff_0000_00ff, value: *value },
            Test::Masked { mask: 0xffff_ffff, value: *value },
            Test::Masked { mask: 0, value: *value },
        ]
    });
    for (position, test) in tests.enumerate() {
        let argument = u8::try_from(position % 6).unwrap();
        let mut profile = Profile::empty();
        profile.set("read", Rule::any([Condition::new(argument, test)], Action::Allow, Action::Errno(5)));
        let program = profile.compile_for(Architecture::X86_64).unwrap();
        for value in values {
            for near in [value.wrapping_sub(1), value, value.wrapping_add(1), value ^ 0x1_0000_0000] {
                let mut arguments = [0; 6];
                arguments[usize::from(argument)] = near;
                agree(&profile, Architecture::X86_64, &program, 0, &arguments);
            }
        }
    }
}

#[test]
fn conditions_of_a_case_must_all_hold_and_the_first_case_decides() {
    let condition = |argument, value| Condition::new(argument, Test::GreaterOrEqual(value));
    let rule = Rule {
        cases: vec![
            Case { when: vec![condition(0, 5), condition(1, 5), condition(2, 5)], action: Action::Errno(2) },
            Case { when: vec![condition(0, 5)], action: Action::KillProcess },
            Case { when: vec![], action: Action::Trap },
            Case { when: vec![condition(0, 0)], action: Action::Allow },
        ],
        otherwise: Action::Log,
    };
    let mut profile = Profile::empty();
    profile.set("write", rule);
    let program = profile.compile_for(Architecture::Aarch64).unwrap();
    let number = Architecture::Aarch64.number("write").unwrap();
    for first in [4, 5] {
        for second in [4, 5] {
            for third in [4, 5] {
                agree(&profile, Architecture::Aarch64, &program, number, &[first, second, third, 0, 0, 0]);
            }
        }
    }
}

#[test]
fn calls_of_foreign_architectures_and_of_newer_kernels_do_not_exist() {
    let program = Profile::default_profile().compile_for(Architecture::X86_64).unwrap();
    let absent = Action::ABSENT.value();
    let arm = Architecture::Aarch64.audit_number();
    for number in 0..600 {
        assert_eq!(interpret(&program, arm, number, &[0; 6]).0, absent);
    }
    for member in [Architecture::X86_64, Architecture::I386] {
        for number in [470, 500, 548, 600, 100_000, u32::MAX] {
            assert_eq!(interpret(&program, member.audit_number(), number, &[0; 6]).0, absent, "{number}");
        }
    }
}

#[test]
fn no_call_costs_more_than_a_few_instructions() {
    let profile = Profile::default_profile();
    for kernel in KERNELS {
        let program = profile.compile_for(kernel).unwrap();
        assert!(program.len() <= 1000, "{kernel:?}: {}", program.len());
        for (name, number) in kernel.calls() {
            let steps = interpret(&program, kernel.audit_number(), number, &[0; 6]).1;
            let checks = profile.rule(name).map_or(0, |rule| 3 * rule.cases.len());
            assert!(steps <= 20 + checks, "{name}: {steps} of {}", program.len());
        }
    }
}

#[test]
fn adjacent_calls_with_one_rule_are_one_range() {
    let mut profile = Profile::empty();
    for (name, _) in Architecture::Aarch64.calls().filter(|(_, number)| *number < 30) {
        profile.set(name, Action::Allow);
    }
    // Calls with and without a rule, two gaps in the table, and what is above: not one range per call.
    assert!(profile.ranges(&mut Graph::default(), Architecture::Aarch64).len() <= 8);
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |name: &'static str, rule: Rule| {
        let mut profile = Profile::empty();
        profile.set(name, rule);
        profile.compile_for(Architecture::X86_64).unwrap_err()
    };
    let unknown = refused("no_such_call", Action::Allow.into());
    assert_eq!(unknown, Error::NoSuchCall { name: "no_such_call".into() });
    let seventh = Rule::any([Condition::int(6, 1)], Action::Allow, Action::Allow);
    assert_eq!(refused("read", seventh), Error::NoSuchArgument { name: "read".into(), argument: 6 });
    let long = Rule::any(
        (0..2000).map(|value| Condition::new(0, Test::Equal(value << 32))),
        Action::Allow,
        Action::Trap,
    );
    assert!(matches!(refused("read", long), Error::TooLong { .. }));
}

#[test]
fn the_longest_case_and_a_rule_of_many_cases_still_jump_right() {
    let all = Case { when: vec![Condition::new(1, Test::Greater(7)); 48], action: Action::Errno(3) };
    let mut cases = vec![all];
    cases.extend((0..100).map(|value| Case { when: vec![Condition::int(0, value)], action: Action::Log }));
    let mut profile = Profile::empty();
    profile.set("open", Rule { cases, otherwise: Action::Allow });
    let program = profile.compile_for(Architecture::X86_64).unwrap();
    for number in [1, 2, 3] {
        for first in [0, 99, 100] {
            for second in [7, 8] {
                agree(&profile, Architecture::X86_64, &program, number, &[first, second, 0, 0, 0, 0]);
            }
        }
    }
}

/// Rules about a few values, so that conditions meet, overlap and contradict each other.
fn any_rule() -> impl Strategy<Value = Rule> {
    let value = || select(vec![0_u64, 1, 7, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX]);
    let test = (0..7, value(), value()).prop_map(|(kind, value, mask)| match kind {
        0 => Test::Equal(value),
        1 => Test::NotEqual(value),
        2 => Test::Less(value),
        3 => Test::LessOrEqual(value),
        4 => Test::Greater(value),
        5 => Test::GreaterOrEqual(value),
        _ => Test::Masked { mask, value },
    });
    let action =
        || select(vec![Action::Allow, Action::REFUSE, Action::Errno(28), Action::Trace(3), Action::Trap]);
    let condition = (0..2_u8, test).prop_map(|(argument, test)| Condition::new(argument, test));
    let case = (vec(condition, 0..4), action()).prop_map(|(when, action)| Case { when, action });
    (vec(case, 0..5), action()).prop_map(|(cases, otherwise)| Rule { cases, otherwise })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn programs_of_arbitrary_profiles_do_what_they_mean(
        rules in vec((0..1000_usize, any_rule()), 0..80),
        i386 in any::<bool>(),
        x32 in any::<bool>(),
    ) {
        let mut names: Vec<&str> = Architecture::all_names().into_iter().collect();
        names.sort_unstable();
        let mut profile = Profile::empty();
        (profile.foreign, profile.i386, profile.x32) = (Action::KillThread, i386, x32);
        for (at, rule) in rules {
            profile.set(names[at % names.len()], rule);
        }
        let values = [0, 1, 7, 8, 0xffff_ffff, 0x1_0000_0001, u64::MAX];
        for kernel in KERNELS {
            let program = profile.compile_for(kernel).unwrap();
            for number in (0..=600).flat_map(|number| [number, number | X32_BIT]).chain([0x8000_0000, u32::MAX]) {
                let (first, second) = (number as usize % 7, number as usize / 7 % 7);
                agree(&profile, kernel, &program, number, &[values[first], values[second], 0, 0, 0, 0]);
            }
        }
    }
}
