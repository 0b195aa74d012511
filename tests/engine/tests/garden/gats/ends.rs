//! How containers and what runs in them end.

use std::thread;
use std::time::{Duration, Instant};

use engine_tests::garden::Garden;
use engine_tests::{inside, until};
use serde_json::json;

use super::{Bed, script};

fn stop(garden: &Garden, handle: &str) {
    garden.put(&format!("/containers/{handle}/stop"), &json!({ "kill": false })).expect_done();
}

fn is_listed(garden: &Garden, handle: &str) -> bool {
    let handles = garden.get("/containers?garden.state=all").expect(200).json()["Handles"].clone();
    handles.as_array().unwrap().contains(&json!(handle))
}

/// One stop waits its ten seconds for a process that is deaf; the others need not wait for that, and it is answered although
/// the engine stops before its end: that waits seven seconds for calls.
///
/// Conformance: G67-70, G83, G85
#[test]
fn stops_give_processes_their_time_and_grace_times_give_containers_theirs() {
    let mut bed = Bed::start();
    let garden = bed.garden.clone();
    let (deaf, tree) = (bed.create(json!({})), bed.create(json!({})));
    let (ignoring, _output) = bed.ready(&deaf, script("trap '' TERM; echo ready; while :; do sleep 1; done"));
    let asked = Instant::now();
    let stopping = thread::spawn({
        let (garden, deaf) = (garden.clone(), deaf.clone());
        move || {
            stop(&garden, &deaf);
            asked.elapsed()
        }
    });

    let (caught, _output) = bed.ready(&tree, script("trap 'exit 42' TERM; echo ready; sleep 1000 & wait"));
    let text = "sh -c 'sleep 1000 & sh -c \"sleep 1000; :\" & wait; :' & sleep 1000; :";
    let family = garden.run(&tree, &script(text)).unwrap();
    let init = bed.engine.init_pid(&tree);
    let sleepers = || {
        let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        inside::processes_beside(init).iter().filter(|pid| name(pid) == "sleep\n").count()
    };
    until("the tree to stand", || sleepers() == 4);
    stop(&garden, &tree);
    caught.finish().expect(42);
    // By TERM: KILL would have been 137.
    family.finish().expect(143);
    assert_eq!(inside::processes_beside(init), Vec::<u32>::new());
    assert_eq!(garden.info(&tree)["State"], "stopped");

    let idle = bed.create(json!({ "grace_time": 500_000_000 }));
    let busy = bed.create(json!({}));
    // Twenty grace times of work.
    let work = garden.run(&busy, &script("sleep 1; echo done")).unwrap();
    garden.call("PUT", &format!("/containers/{busy}/grace_time"), b"50000000").expect_done();
    assert_eq!(work.finish().expect(0).text(), "done\n");
    until("both to go", || !is_listed(&garden, &idle) && !is_listed(&garden, &busy));
    garden.get(&format!("/containers/{idle}/info")).expect_error(404, "ContainerNotFoundError");

    until("most of the ten seconds to be over", || asked.elapsed() > Duration::from_secs(8));
    bed.engine.stop_server();
    let took = stopping.join().unwrap();
    // What clients count on: ten seconds to end by itself.
    assert!(took >= Duration::from_secs(10), "{took:?}");
    bed.engine.start_server(&[]);
    assert_eq!(garden.info(&deaf)["State"], "stopped");
    garden.attach(&deaf, &ignoring.process).unwrap().finish().expect(137);
    bed.finish();
}
