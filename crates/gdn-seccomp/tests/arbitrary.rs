//! Profiles nobody would write: reading and compiling them gives a program the kernel takes, or an error that says why not.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use gdn_seccomp::{
    Action, Architecture, Capabilities, Case, Condition, Error, Profile, Program, Rule, Target, Test,
};
use proptest::prelude::*;
use proptest::sample::select;

const KERNELS: [Architecture; 3] = [Architecture::X86_64, Architecture::I386, Architecture::Aarch64];
const NAMES: [&str; 10] =
    ["read", "clone", "ioctl", "socket", "mseal", "rseq", "open", "preadv", "fork", "no_such_call"];

/// Whether the kernel would take it: short enough, and every way through it ends in a return.
fn is_sound(program: &Program) -> bool {
    let code = program.instructions();
    let ends = |at: usize| code.get(at).is_some();
    code.len() <= 4096
        && code.iter().enumerate().all(|(at, instruction)| match instruction.code {
            0x06 => true,
            0x05 => ends(at + 1 + instruction.operand as usize),
            0x15 | 0x25 | 0x35 | 0x45 => {
                ends(at + 1 + usize::from(instruction.jump_true))
                    && ends(at + 1 + usize::from(instruction.jump_false))
            }
            0x20 | 0x54 | 0x07 => ends(at + 1),
            _ => false,
        })
}

fn compiles_or_says_why(profile: &Profile) {
    for kernel in KERNELS {
        match profile.compile_for(kernel) {
            Ok(program) => assert!(is_sound(&program)),
            Err(Error::TooLong { .. } | Error::NoSuchCall { .. } | Error::NoSuchArgument { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..50_u64, any::<u64>(), select(vec![0xffff_ffff, 0x1_0000_0000, u64::MAX])]
}

fn condition() -> impl Strategy<Value = Condition> {
    let test = (0..7, number(), number()).prop_map(|(kind, value, mask)| match kind {
        0 => Test::Equal(value),
        1 => Test::NotEqual(value),
        2 => Test::Less(value),
        3 => Test::LessOrEqual(value),
        4 => Test::Greater(value),
        5 => Test::GreaterOrEqual(value),
        _ => Test::Masked { mask, value },
    });
    (0..7_u8, test).prop_map(|(argument, test)| Condition::new(argument, test))
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Log),
        Just(Action::KillProcess),
        (1..5000_u16).prop_map(Action::Errno),
        any::<u16>().prop_map(Action::Trace)
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let case = (prop::collection::vec(condition(), 0..60), action())
        .prop_map(|(when, action)| Case { when, action });
    (prop::collection::vec(case, 0..30), action()).prop_map(|(cases, otherwise)| Rule { cases, otherwise })
}

/// Text that gets far: the words of profiles, some wrong, in the shape of profiles.
fn likely_text() -> impl Strategy<Value = String> {
    let actions =
        ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY", "SCMP_ACT_KILL", ""];
    let operators = ["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_LT", "SCMP_CMP_NE", "="];
    let argument =
        (0..8_u32, number(), number(), select(operators.to_vec())).prop_map(|(index, value, two, op)| {
            format!(r#"{{"index": {index}, "value": {value}, "valueTwo": {two}, "op": "{op}"}}"#)
        });
    let filters =
        ["{}", "null", r#"{"caps": ["CAP_BPF"]}"#, r#"{"minKernel": "5.10"}"#, r#"{"arches": ["amd64"]}"#];
    let entry = (
        prop::collection::vec(select(NAMES.to_vec()), 0..5),
        select(actions.to_vec()),
        prop::option::of(0..5000_u32),
        prop::collection::vec(argument, 0..4),
        select(filters.to_vec()),
    );
    let entry = entry.prop_map(|(names, action, errno, arguments, filter)| {
        let errno = errno.map_or_else(|| "null".to_owned(), |errno| errno.to_string());
        let arguments = arguments.join(",");
        format!(
            r#"{{"names": {names:?}, "action": "{action}", "errnoRet": {errno}, "args": [{arguments}], "excludes": {filter}}}"#
        )
    });
    (select(actions.to_vec()), prop::collection::vec(entry, 0..12)).prop_map(|(action, entries)| {
        format!(r#"{{"defaultAction": "{action}", "syscalls": [{}]}}"#, entries.join(","))
    })
}

fn target() -> Target {
    Target { architecture: Architecture::X86_64, capabilities: Capabilities::NONE, kernel: (6, 1) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _either = Profile::from_json(&text, target());
    }

    #[test]
    fn text_in_the_shape_of_a_profile_is_read_and_compiled_or_refused(text in likely_text(), cut in 0..4000_usize) {
        if let Ok(loaded) = Profile::from_json(text.as_bytes(), target()) {
            compiles_or_says_why(&loaded.profile);
        }
        let cut = cut.min(text.len());
        prop_assert!(cut == text.len() || Profile::from_json(&text.as_bytes()[..cut], target()).is_err());
    }

    #[test]
    fn any_profile_becomes_a_program_the_kernel_takes_or_an_error(
        rules in prop::collection::vec((select(NAMES.to_vec()), rule()), 0..10),
        unlisted in action(),
        i386 in any::<bool>(),
        x32 in any::<bool>(),
    ) {
        let mut profile = Profile::empty();
        (profile.unlisted, profile.i386, profile.x32) = (unlisted, i386, x32);
        for (name, rule) in rules {
            profile.set(name, rule);
        }
        compiles_or_says_why(&profile);
    }
}
