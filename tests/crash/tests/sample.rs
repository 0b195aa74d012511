//! A sample of campaign R1.02; the whole of it is `cargo run -p crash-tests --bin crash`.

use crash_tests::{Bed, Scenario};

/// Cases in the sample: enough to meet create, run and destroy each more than once.
const CASES: u64 = 8;

#[test]
fn an_engine_killed_anywhere_leaks_nothing_and_loses_no_acknowledgement() {
    let mut bed = Bed::make(Scenario::Plain).unwrap();
    let whole = bed.case(None).unwrap();
    assert!(whole.violations.is_empty(), "after the script: {:#?}\n{}", whole.violations, bed.log());
    let calls = whole.trail.calls.len() as u64;
    assert!(calls > CASES, "only {calls} calls were seen: {:#?}", whole.trail.calls);
    for case in 0..CASES {
        let k = 1 + case * (calls - 1) / CASES;
        let verdict = bed.case(Some(k)).unwrap();
        let call = verdict.last_call();
        assert!(
            verdict.violations.is_empty(),
            "killed before {k} ({call}): {:#?}\n{}",
            verdict.violations,
            bed.log()
        );
    }
}
