//! Fair use of processors.

use std::time::Duration;

use engine_tests::{inside, until, until_some};
use serde_json::{Value, json};

use super::{Bed, script};

/// As in `tests/conformance/throttling.rs`: together 8 % of a processor.
const OPTIONS: [&str; 5] = [
    "--enable-cpu-throttling",
    "--cpu-throttling-check-interval",
    "200ms",
    "--cpu-entitlement-per-share",
    "0.125",
];

/// The time that a container used, and that it is entitled to.
fn times(bed: &Bed, handle: &str) -> (Duration, Duration) {
    let told = bed.garden.get(&format!("/containers/{handle}/metrics")).expect(200).json();
    let time = |value: &Value| Duration::from_nanos(value.as_u64().unwrap());
    (time(&told["CPUStat"]["Usage"]), time(&told["CPUEntitlement"]))
}

/// Conformance: G11
#[test]
fn a_hog_gives_way_to_an_idle_neighbour_that_wakes_up() {
    let bed = Bed::start_with(&OPTIONS);
    let create = || bed.create(json!({ "limits": { "cpu_limits": { "weight": 64 } } }));
    let (hog, idle) = (create(), create());
    let busy = |handle: &str| bed.garden.run(handle, &script(&inside::busy_loop())).unwrap();
    let hogs = busy(&hog);
    until("the neighbour to have saved up, and the hog to be far beyond", || {
        let ((used, entitled), (own, saved)) = (times(&bed, &hog), times(&bed, &idle));
        used > entitled * 2 && saved > own + Duration::from_secs(1)
    });
    let neighbours = busy(&idle);
    until("the neighbour to run", || times(&bed, &idle).0 > Duration::from_millis(100));
    let before = (times(&bed, &hog).0, times(&bed, &idle).0);
    let (hogs_time, idles_time) = until_some("the neighbour to have worked", || {
        let now = (times(&bed, &hog).0, times(&bed, &idle).0);
        // As long as its savings last.
        (now.1 - before.1 > Duration::from_millis(700)).then(|| (now.0 - before.0, now.1 - before.1))
    });
    assert!(hogs_time * 2 < idles_time, "the hog had {hogs_time:?}, the neighbour {idles_time:?}");
    for (handle, process) in [(&hog, hogs), (&idle, neighbours)] {
        bed.garden.put(&format!("/containers/{handle}/stop"), &json!({ "kill": true })).expect_done();
        process.finish().expect(137);
    }
    bed.finish();
}
