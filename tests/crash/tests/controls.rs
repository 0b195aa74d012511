//! The campaign's oracle is itself put to the test: a wrong engine must not pass.

use std::time::{Duration, Instant};

use crash_tests::{Bed, Init, Ledger, Played, Scenario, Step, Verdict};

/// Calls from the commit of the create to somewhere between its acknowledgement and the destroy.
const BEHIND_THE_COMMIT: usize = 9;
/// What a server leaves that dies within a create.
const KINDS: [&str; 3] = ["leak: process", "Cgroup left behind", "File left behind"];

/// The call (from 1) that is the `which`-th of this name.
fn position(calls: &[String], name: &str, which: usize) -> usize {
    let mut found = calls.iter().enumerate().filter(|(_, call)| call.starts_with(name));
    1 + found.nth(which).unwrap_or_else(|| panic!("no {name} number {which} in {calls:#?}")).0
}

fn complains(verdict: &Verdict, words: &str) -> bool {
    verdict.violations.iter().any(|violation| violation.contains(words))
}

/// Plays cases that are killed within the create until one leaves something of each kind. The first is killed before its
/// `first`-th call; what the create does at once is in another order each time, so that a case may have no keeper by then.
fn killed_half_way(bed: &mut Bed, first: u64) -> anyhow::Result<Played> {
    let mut kill_at = first;
    loop {
        let played = bed.play(Some(kill_at))?;
        assert!(
            !played.ledger.acknowledged(Step::Create),
            "no kill up to call {kill_at} leaves all of {KINDS:?}"
        );
        if leaves_all_kinds(bed)? {
            return Ok(played);
        }
        let verdict = bed.judge(played)?;
        assert!(verdict.violations.is_empty(), "{:#?}", verdict.violations);
        kill_at += 1;
    }
}

/// Whether something of each kind is there soon. A keeper bears the launcher's name until it has first run.
fn leaves_all_kinds(bed: &Bed) -> anyhow::Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let left = bed.left()?.join("\n");
        if KINDS.iter().all(|kind| left.contains(kind)) {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::yield_now();
    }
}

/// Plays cases until one is killed between the acknowledgement of the create and the destroy; the first before its `first`-th
/// call.
fn killed_in_use(bed: &mut Bed, first: u64) -> anyhow::Result<Played> {
    let mut kill_at = first;
    for _ in 0..20 {
        let played = bed.play(Some(kill_at))?;
        match (played.ledger.acknowledged(Step::Create), played.ledger.sent(Step::Destroy)) {
            (true, false) => return Ok(played),
            (false, _) => kill_at += 1,
            (true, true) => kill_at -= 1,
        }
        let verdict = bed.judge(played)?;
        assert!(verdict.violations.is_empty(), "{:#?}", verdict.violations);
    }
    panic!("no kill around call {first} meets a container in use");
}

#[test]
fn forgotten_containers_false_acknowledgements_and_another_init_are_seen() {
    let mut bed = Bed::make(Scenario::Plain).unwrap();
    let calls = bed.case(None).unwrap().trail.calls;
    let keeper_is_there = position(&calls, "write /sys/fs/cgroup/devices", 0) as u64;
    let create_is_acknowledged = (position(&calls, "fdatasync", 1) + BEHIND_THE_COMMIT) as u64;

    // A server that did not clean up would leave all this.
    let mut played = killed_half_way(&mut bed, keeper_is_there).unwrap();
    // A client that was told of success, and a server that has unwound the create.
    played.ledger = Ledger { entries: vec![(Step::Create, true)], ..Ledger::default() };
    let verdict = bed.judge(played).unwrap();
    assert!(complains(&verdict, "an acknowledged create is not listed"), "{:#?}", verdict.violations);

    // A client that was told of a destroy that never was.
    let mut played = killed_in_use(&mut bed, create_is_acknowledged).unwrap();
    played.ledger.entries.push((Step::Destroy, true));
    let verdict = bed.judge(played).unwrap();
    assert!(complains(&verdict, "an acknowledged destroy is still listed"), "{:#?}", verdict.violations);

    // A server that has made the container anew.
    let mut played = killed_in_use(&mut bed, create_is_acknowledged).unwrap();
    played.ledger.init = Some(Init { pid: 1, started: 0 });
    let verdict = bed.judge(played).unwrap();
    assert!(complains(&verdict, "its init was"), "{:#?}", verdict.violations);
}
