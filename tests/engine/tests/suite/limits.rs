//! Limits of containers bite.

use engine_tests::{Engine, until};

#[test]
fn a_process_beyond_the_memory_limit_is_killed_and_the_container_stays() {
    let engine = Engine::start();
    let handle = engine.create(&["--memory", "32M"]);
    engine
        .gdn(["exec", &handle, "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"])
        .expect_status(137);
    engine.shell(&handle, "true").expect_status(0);
    until("the event", || engine.inspect(&handle)["events"].to_string().contains("ut of memory"));
    engine.finish();
}

#[test]
fn no_more_processes_than_the_limit() {
    let engine = Engine::start();
    let handle = engine.create(&["--pids", "8"]);
    let forks = "i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done";
    let ran = engine.shell(&handle, forks);
    assert_ne!(ran.status, 0);
    assert!(ran.stderr.contains("fork"), "{}", ran.stderr);
    let metrics = &engine.inspect(&handle)["metrics"];
    assert_eq!(metrics["pids_max"], 8);
    assert!(metrics["pids"].as_u64().unwrap() <= 8, "{metrics}");
    engine.finish();
}

#[test]
fn the_most_containers_is_a_limit_of_the_server() {
    let mut engine = Engine::new();
    engine.start_server(&["--max-containers", "2"]);
    let first = engine.create(&[]);
    engine.create(&[]);
    engine.gdn(["create", "--image", engine.image()]).expect_error("--max-containers): 2");
    engine.gdn(["destroy", &first]).expect_status(0);
    engine.create(&[]);
    engine.finish();
}
