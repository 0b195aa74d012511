//! Which capabilities processes hold: the same sets whatever the profile, and what of them is inheritable by the profile.

use std::fs;

use engine_tests::Engine;
use engine_tests::session::{as_user, script};
use gdn_types::{CapabilityProfile, ContainerSpec, ErrorKind, Handle, ImageRef, ProcessSpec, WindowSize};

/// Root's capabilities in an unprivileged container.
const UNPRIVILEGED: u64 = 0xa804_25fb;
/// Root's capabilities in a privileged one, on a host that has them all.
const PRIVILEGED: u64 = 0x3f_ffff_ffff;
/// What a user of a privileged container can regain at most.
const PRIVILEGED_USER: u64 = 0xa824_25fb;

/// The sets of a process in the order of its status: inheritable, permitted, effective, bounding, ambient.
type Sets = [u64; 5];

/// Prints the sets of the shell.
const TELL: &str = "sed -n 's/^Cap...://p' /proc/self/status";

fn sets(text: &str) -> Sets {
    let sets: Vec<_> =
        text.split_whitespace().map(|mask| u64::from_str_radix(mask, 16).expect("a mask")).collect();
    sets.try_into().unwrap_or_else(|_| panic!("not five masks: {text:?}"))
}

/// The bounding set that this process, and so a server started by it, has. What it lacks nobody gets.
fn of_the_host() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

/// Root's sets.
fn of_root(profile: CapabilityProfile, privileged: bool) -> Sets {
    let all = if privileged { PRIVILEGED & of_the_host() } else { UNPRIVILEGED };
    [inheritable(profile, all), all, all, all, 0]
}

/// The sets of a process that was started as a user.
fn of_user(profile: CapabilityProfile, privileged: bool) -> Sets {
    let bounding = if privileged { PRIVILEGED_USER & of_the_host() } else { UNPRIVILEGED };
    [inheritable(profile, bounding), 0, 0, bounding, 0]
}

fn inheritable(profile: CapabilityProfile, bounding: u64) -> u64 {
    match profile {
        CapabilityProfile::Strict => 0,
        CapabilityProfile::Garden => bounding,
    }
}

/// Every container's and every kind of process's sets; `which` says what was looked at.
fn expect_all(engine: &Engine, handle: &Handle, profile: CapabilityProfile, privileged: bool, which: &str) {
    let init = engine.init_pid(handle.as_str());
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let init: Vec<_> = status
        .lines()
        .filter(|line| line.starts_with("Cap"))
        .filter_map(|line| line.split(':').nth(1))
        .collect();
    assert_eq!(sets(&init.join(" ")), of_root(profile, privileged), "init, {which}");
    let image = ImageRef::uri(engine.image());
    for (user, expected) in [("", of_root(profile, privileged)), ("alice", of_user(profile, privileged))] {
        let plain = as_user(user, script(TELL));
        let terminal = ProcessSpec { tty: Some(WindowSize::default()), ..plain.clone() };
        let sidecar = ProcessSpec { image: Some(image.clone()), ..plain.clone() };
        for (kind, spec) in [("plain", plain), ("terminal", terminal), ("sidecar", sidecar)] {
            let ran = engine.run(handle, spec).expect(0);
            assert_eq!(sets(&ran.text()), expected, "{kind} of user {user:?}, {which}");
        }
    }
    // Whoever stops being root keeps the bounding set, and has nothing.
    let [inherited, _, _, bounding, _] = of_root(profile, privileged);
    let ran = engine.run(handle, script(&format!("su alice -c \"{TELL}\""))).expect(0);
    assert_eq!(sets(&ran.text()), [inherited, 0, 0, bounding, 0], "su, {which}");
}

/// Conformance: G207-211, G218-219
#[test]
fn every_process_holds_the_sets_of_its_containers_profile_also_after_a_kill_of_the_server() {
    let mut engine = Engine::start();
    let mut made = Vec::new();
    for profile in [CapabilityProfile::Strict, CapabilityProfile::Garden] {
        for privileged in [false, true] {
            let spec = ContainerSpec { privileged, capabilities: profile, ..ContainerSpec::default() };
            made.push((engine.create_from(spec), profile, privileged));
        }
    }
    for life in ["first life", "after a kill of the server"] {
        for (handle, profile, privileged) in &made {
            let which = format!("{profile:?}, privileged {privileged}, {life}");
            expect_all(&engine, handle, *profile, *privileged, &which);
        }
        engine.kill_server();
        engine.start_server(&[]);
    }
    engine.finish();
}

#[test]
fn the_command_line_chooses_a_profile_and_nothing_is_strict() {
    let engine = Engine::start();
    for (options, profile) in [
        (&[][..], CapabilityProfile::Strict),
        (&["--capabilities", "strict"], CapabilityProfile::Strict),
        (&["--capabilities", "garden"], CapabilityProfile::Garden),
    ] {
        let handle = engine.create(options);
        let told = engine.shell(&handle, TELL).expect_status(0);
        assert_eq!(sets(&told.text()), of_root(profile, false), "{options:?}");
    }
    let refused = engine.gdn(["create", "--image", engine.image(), "--capabilities", "all"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("\"all\" are neither strict nor garden"), "{}", refused.stderr);
    engine.finish();
}

/// Conformance: Q90-91
#[test]
fn privileged_containers_can_be_switched_off() {
    let mut engine = Engine::start();
    let privileged = ContainerSpec { privileged: true, ..ContainerSpec::default() };
    engine.create_from(privileged.clone());
    engine.stop_server();
    engine.start_server(&["--disable-privileged-containers"]);
    let error = engine.try_create(privileged).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.message(), "privileged container creation is disabled");
    engine.create_from(ContainerSpec::default());
    engine.finish();
}
