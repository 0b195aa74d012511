//! The campaign's oracle is itself put to the test: a wrong engine must not pass.

use std::time::{Duration, Instant};

use crash_tests::{Bed, Init, Ledger, Scenario, Step, Verdict};

/// Calls from the commit of the create to somewhere between its acknowledgement and the destroy.
const BEHIND_THE_COMMIT: usize = 9;

/// The call (from 1) that is the `which`-th of this name.
fn position(calls: &[String], name: &str, which: usize) -> usize {
    let mut found = calls.iter().enumerate().filter(|(_, call)| call.starts_with(name));
    1 + found.nth(which).unwrap_or_else(|| panic!("no {name} number {which} in {calls:#?}")).0
}

fn complains(verdict: &Verdict, words: &str) -> bool {
    verdict.violations.iter().any(|violation| violation.contains(words))
}

#[test]
fn forgotten_containers_false_acknowledgements_and_another_init_are_seen() {
    let mut bed = Bed::make(Scenario::Plain).unwrap();
    let calls = bed.case(None).unwrap().trail.calls;
    let keeper_is_there = position(&calls, "write /sys/fs/cgroup/devices", 0) as u64;
    let create_is_acknowledged = (position(&calls, "fdatasync", 1) + BEHIND_THE_COMMIT) as u64;

    // Killed half way through the create: a server that did not clean up would leave all this.
    let mut played = bed.play(Some(keeper_is_there)).unwrap();
    assert!(!played.ledger.acknowledged(Step::Create));
    // The keeper was forked just before; until it has first run it bears the launcher's name.
    let kinds = ["leak: process", "Cgroup left behind", "File left behind"];
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = bed.left().unwrap().join("\n");
        let missing: Vec<_> = kinds.iter().filter(|kind| !left.contains(**kind)).collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "no {missing:?} in:\n{left}");
        std::thread::yield_now();
    }
    // A client that was told of success, and a server that has unwound the create.
    played.ledger = Ledger { entries: vec![(Step::Create, true)], ..Ledger::default() };
    let verdict = bed.judge(played).unwrap();
    assert!(complains(&verdict, "an acknowledged create is not listed"), "{:#?}", verdict.violations);

    // A client that was told of a destroy that never was.
    let mut played = bed.play(Some(create_is_acknowledged)).unwrap();
    assert!(
        played.ledger.acknowledged(Step::Create) && !played.ledger.sent(Step::Destroy),
        "{:?}",
        played.ledger
    );
    played.ledger.entries.push((Step::Destroy, true));
    let verdict = bed.judge(played).unwrap();
    assert!(complains(&verdict, "an acknowledged destroy is still listed"), "{:#?}", verdict.violations);

    // A server that has made the container anew.
    let mut played = bed.play(Some(create_is_acknowledged)).unwrap();
    played.ledger.init = Some(Init { pid: 1, started: 0 });
    let verdict = bed.judge(played).unwrap();
    assert!(complains(&verdict, "its init was"), "{:#?}", verdict.violations);
}
