//! Programs against the meaning of their profile, by an interpreter of the kernel's machine.

use super::*;
use crate::Condition;

/// Runs a program; returns the value and how many instructions that took.
fn interpret(program: &Program, architecture: u32, number: u32, arguments: [u64; 6]) -> (u32, usize) {
    let (mut at, mut steps, mut accumulator) = (0, 0, 0_u32);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program.instructions()[at];
        at += 1;
        steps += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jump_true } else { jump_false });
        match code {
            LOAD => {
                accumulator = match operand {
                    NUMBER => number,
                    ARCHITECTURE => architecture,
                    offset => {
                        let argument = arguments[(offset - ARGUMENTS) as usize / 8];
                        let shift = 8 * ((offset - ARGUMENTS) % 8);
                        u32::try_from((argument >> shift) & 0xffff_ffff).unwrap()
                    }
                }
            }
            JUMP_EQUAL => jump(accumulator == operand),
            JUMP_GREATER_EQUAL => jump(accumulator >= operand),
            JUMP => at += operand as usize,
            AND => accumulator &= operand,
            RETURN => return (operand, steps),
            other => panic!("operation {other:#x}"),
        }
    }
}

fn value(action: Action) -> u32 {
    give(action).operand
}

#[test]
fn the_program_does_what_the_profile_says_at_every_call() {
    let profile = Profile::default_profile();
    let program = profile.compile().unwrap();
    let edges = [
        0,
        1,
        8,
        38,
        40,
        0x5412,
        0x541c,
        0x1000_0000,
        0x0002_0000,
        0x11,
        0xffff_ffff,
        0xffff_ffff_ffff_ffff,
        0x26_0000_0026,
    ];
    for number in (0..1200).chain([0x3fff_ffff]) {
        for first in edges {
            for second in edges {
                let arguments = [first, second, 0, 0, 0, 0];
                let (given, _) = interpret(&program, NATIVE, number, arguments);
                assert_eq!(
                    given,
                    value(profile.action(number, arguments)),
                    "call {number} {first:#x} {second:#x}"
                );
            }
        }
    }
}

#[test]
fn foreign_architectures_and_numbers_do_not_exist() {
    let program = Profile::default_profile().compile().unwrap();
    for number in 0..600 {
        assert_eq!(interpret(&program, 0x4000_0003, number, [0; 6]).0, value(ABSENT));
        assert_eq!(interpret(&program, NATIVE, 0x4000_0000 | number, [0; 6]).0, value(ABSENT));
    }
}

#[test]
fn no_call_costs_more_than_a_few_instructions() {
    let program = Profile::default_profile().compile().unwrap();
    for number in 0..600 {
        let (_, steps) = interpret(&program, NATIVE, number, [0; 6]);
        assert!(steps <= 24, "call {number}: {steps} of {}", program.len());
    }
}

#[test]
fn sixty_four_bit_conditions_look_at_both_halves() {
    let mut profile = Profile::empty();
    let when = Condition { argument: 5, mask: u64::MAX, value: 0x1_0000_0002 };
    profile
        .set_rule(7, Rule { cases: vec![Case { when, action: Action::Allow }], otherwise: Action::Errno(5) });
    let program = profile.compile().unwrap();
    for argument in [0x1_0000_0002, 2, 0x1_0000_0000, 0x2_0000_0002] {
        let arguments = [0, 0, 0, 0, 0, argument];
        assert_eq!(
            interpret(&program, NATIVE, 7, arguments).0,
            value(profile.action(7, arguments)),
            "{argument:#x}"
        );
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut profile = Profile::empty();
    let when = Condition { argument: 6, mask: 1, value: 1 };
    profile.set_rule(1, Rule { cases: vec![Case { when, action: Action::Allow }], otherwise: Action::Allow });
    assert_eq!(profile.compile().unwrap_err(), Error::NoSuchArgument { argument: 6 });
}

#[test]
fn the_default_profile_refuses_what_it_promises_to() {
    let profile = Profile::default_profile();
    let at = |number: libc::c_long, arguments| profile.action(u32::try_from(number).unwrap(), arguments);
    for denied in [
        libc::SYS_bpf,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_keyctl,
        libc::SYS_io_uring_setup,
    ] {
        assert_eq!(at(denied, [0; 6]), Action::Errno(1), "{denied}");
    }
    assert_eq!(at(libc::SYS_clone3, [0; 6]), ABSENT);
    assert_eq!(at(libc::SYS_clone, [0x1000_0000, 0, 0, 0, 0, 0]), Action::Errno(1));
    assert_eq!(at(libc::SYS_clone, [17, 0, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(at(libc::SYS_socket, [38, 5, 0, 0, 0, 0]), Action::Errno(1));
    assert_eq!(at(libc::SYS_socket, [40, 1, 0, 0, 0, 0]), Action::Errno(1));
    assert_eq!(at(libc::SYS_socket, [2, 1, 0, 0, 0, 0]), Action::Allow);
    assert_eq!(at(libc::SYS_ioctl, [0, 0xffff_ffff_0000_5412, 0, 0, 0, 0]), Action::Errno(1));
    assert_eq!(at(libc::SYS_ptrace, [0; 6]), Action::Allow);
}
