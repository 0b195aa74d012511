//! Limits of single processes, as the kernel tells them inside.

use std::fs;

use engine_tests::rlimits::{self, ALL, UNLIMITED};
use engine_tests::session::{as_user, program};
use engine_tests::{Engine, session::Ran};
use gdn_types::{ContainerSpec, Handle, ImageRef, ProcessSpec, Rlimits};

/// Limits of these values, in the order of [`ALL`].
fn asked(values: [u64; ALL.len()]) -> Rlimits {
    let [
        address_space,
        core,
        cpu,
        data,
        fsize,
        locks,
        memlock,
        msgqueue,
        nice,
        nofile,
        nproc,
        rss,
        rtprio,
        sigpending,
        stack,
    ] = values.map(Some);
    Rlimits {
        address_space,
        core,
        cpu,
        data,
        fsize,
        locks,
        memlock,
        msgqueue,
        nice,
        nofile,
        nproc,
        rss,
        rtprio,
        sigpending,
        stack,
    }
}

/// A process that tells its own limits.
fn teller(rlimits: Rlimits) -> ProcessSpec {
    ProcessSpec { rlimits, ..program(&["cat", "/proc/self/limits"]) }
}

fn told(ran: Ran) -> Vec<(u64, u64)> {
    rlimits::parse(&ran.expect(0).text())
}

/// The hard limits that the server has, which are those that its containers' processes begin with.
fn hard_of_the_server(engine: &Engine) -> [u64; ALL.len()] {
    let limits = rlimits::of(engine.server_pid());
    std::array::from_fn(|index| limits[index].1)
}

/// Asserts one by one, naming what differs.
#[track_caller]
fn expect(told: &[(u64, u64)], expected: impl Fn(usize) -> (u64, u64), whose: &str) {
    for (index, (name, ..)) in ALL.iter().enumerate() {
        assert_eq!(told[index], expected(index), "{name} {whose}");
    }
}

fn both_kinds(engine: &Engine) -> [(bool, Handle); 2] {
    [false, true].map(|privileged| {
        (privileged, engine.create_from(ContainerSpec { privileged, ..ContainerSpec::default() }))
    })
}

/// Each is set, soft and hard, to the value that was asked for: none is mistaken for another, and none is missing. Values
/// that the host's root could not set are lowered to what it has, which on some hosts is 0 for `nice` and `rtprio`.
#[test]
fn each_limit_of_a_process_is_the_one_asked_for() {
    let engine = Engine::start();
    let hard = hard_of_the_server(&engine);
    let values: [u64; ALL.len()] = std::array::from_fn(|index| ALL[index].2.min(hard[index]));
    for (privileged, handle) in both_kinds(&engine) {
        for user in ["root", "alice"] {
            let spec = as_user(user, teller(asked(values)));
            let whose = format!("of {user}, privileged {privileged}");
            expect(&told(engine.run(&handle, spec.clone())), |index| (values[index], values[index]), &whose);
            let sidecar = ProcessSpec { image: Some(ImageRef::uri(engine.image())), ..spec };
            let whose = format!("{whose}, in a sidecar");
            expect(&told(engine.run(&handle, sidecar)), |index| (values[index], values[index]), &whose);
        }
    }
    engine.finish();
}

/// One limit alone changes no other: what is not asked for is what the server was started with, soft and hard.
#[test]
fn limits_that_nobody_asked_for_are_the_servers() {
    let engine = Engine::start();
    // It allows itself more open files than that.
    let server = rlimits::of(std::process::id());
    for (privileged, handle) in both_kinds(&engine) {
        let whose = format!("privileged {privileged}");
        expect(&told(engine.run(&handle, teller(Rlimits::default()))), |index| server[index], &whose);
        let core = Rlimits { core: Some(0), ..Rlimits::default() };
        let expected = |index: usize| if ALL[index].0 == "core" { (0, 0) } else { server[index] };
        expect(&told(engine.run(&handle, teller(core))), expected, &whose);
    }
    engine.finish();
}

/// The rule for more than the server has. Where the host lets its root raise limits (`CAP_SYS_RESOURCE`), the value is set
/// as it was asked for, up to `fs.nr_open` for open files. Elsewhere soft and hard limit become the server's hard limit, the process starts, and nobody is told.
#[test]
fn a_limit_above_the_servers_is_set_where_the_host_can_and_else_cut_off_there() {
    let engine = Engine::start();
    let hard = hard_of_the_server(&engine);
    let raised = rlimits::may_be_raised_by(engine.server_pid());
    let nr_open: u64 = fs::read_to_string("/proc/sys/fs/nr_open").unwrap().trim().parse().unwrap();
    // One more than an unlimited one does not exist.
    let values = hard.map(|hard| if hard == UNLIMITED { UNLIMITED } else { hard + 1 });
    assert!(values != hard, "the server has no limit at all, so none is above it");
    for (privileged, handle) in both_kinds(&engine) {
        for user in ["root", "alice"] {
            let seen = told(engine.run(&handle, as_user(user, teller(asked(values)))));
            let expected = |index: usize| match ALL[index].0 {
                "nofile" if values[index] > nr_open => hard[index],
                _ if raised => values[index],
                _ => hard[index],
            };
            let whose = format!("of {user}, privileged {privileged}, raised {raised}");
            expect(&seen, |index| (expected(index), expected(index)), &whose);
        }
    }
    engine.finish();
}
