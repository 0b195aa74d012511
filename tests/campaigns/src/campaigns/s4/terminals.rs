//! Input pushed into terminals.

use engine_tests::session::program;
use gdn_types::{ContainerSpec, ProcessSpec, SeccompProfile, WindowSize};

use crate::{Bed, Inside, Stage, Verdict};

const TTY: Option<WindowSize> = Some(WindowSize { columns: 80, rows: 24 });

/// Whether a request is refused by the filter, or because there is no terminal at all (ENOTTY, 25).
fn is_refused(inside: &Inside<'_>, tty: Option<WindowSize>, words: &[&str]) -> Verdict {
    let seen = inside.process(ProcessSpec { tty, ..program(words) });
    let answer = seen.said().lines().last().unwrap_or_default().trim();
    let expected = if tty.is_some() { ["errno 1"].as_slice() } else { &["errno 1", "errno 25"] };
    Verdict::held_unless(!expected.contains(&answer), || format!("{seen}"))
}

fn with(bed: &Bed, spec: ContainerSpec, tty: Option<WindowSize>, words: &[&str]) -> Verdict {
    bed.in_container(spec, |inside| is_refused(inside, tty, words))
}

pub(super) fn pushed_input(stage: &mut Stage<'_>) {
    let cases: [(&str, Option<WindowSize>, &[&str]); 6] = [
        ("a process without a terminal", None, &["probe", "push", "x86_64", "0x5412"]),
        ("a process at a terminal", TTY, &["probe", "push", "x86_64", "0x5412"]),
        (
            "in a session of its own, with the terminal taken",
            TTY,
            &["probe", "grab-and-push", "x86_64", "0x5412"],
        ),
        ("with dirt above the request", TTY, &["probe", "push", "x86_64", "0xdead000000005412"]),
        ("as a 32-bit program", TTY, &["probe", "push", "i386", "0x5412"]),
        ("the console's selection", TTY, &["probe", "push", "x86_64", "0x541c"]),
    ];
    for (name, tty, words) in cases {
        stage.case(name, |bed| with(bed, ContainerSpec::default(), tty, words));
    }
    stage.control("a container without a filter", |bed| {
        let spec = ContainerSpec { seccomp: SeccompProfile::Unconfined, ..ContainerSpec::default() };
        with(bed, spec, TTY, &["probe", "push", "x86_64", "0x5412"])
    });
}
