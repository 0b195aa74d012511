//! Limits of containers bite.

use engine_tests::{Engine, inside, until};

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

/// Bytes of memory and swap together that the kernel lets the container have; `None` = no limit of swap.
fn with_swap(engine: &Engine, handle: &str) -> Option<u64> {
    let init = engine.init_pid(handle);
    let told = inside::cgroup_file(init, ("memory", "memory.memsw.limit_in_bytes"), "memory.swap.max");
    match (told.trim(), inside::cgroups_are_v1()) {
        ("max", _) => None,
        // No limit is the largest number of pages.
        (sum, true) => Some(sum.parse().unwrap()).filter(|sum: &u64| *sum < 1 << 62),
        (swap, false) => {
            let memory = inside::cgroup_file(init, ("memory", "memory.limit_in_bytes"), "memory.max");
            Some(memory.trim().parse::<u64>().unwrap() + swap.parse::<u64>().unwrap())
        }
    }
}

#[test]
fn swap_is_limited_with_memory_unless_the_operator_says_otherwise() {
    const MIB: u64 = 1 << 20;
    let mut engine = Engine::start();
    let counted = engine.create(&["--memory", "64M"]);
    assert_eq!(with_swap(&engine, &counted), Some(64 * MIB));
    engine.stop_server();

    let file = engine.scratch().join("config.ini");
    std::fs::write(&file, "[server]\ndisable-swap-limit = true\n").unwrap();
    engine.start_server(&["--config", file.to_str().unwrap()]);
    let unlimited = engine.create(&["--memory", "64M"]);
    assert_eq!(with_swap(&engine, &unlimited), None);
    assert_eq!(engine.inspect(&unlimited)["limits"], engine.inspect(&counted)["limits"]);
    // What was made before keeps what it has until its limit is changed, and then has what is said now.
    assert_eq!(with_swap(&engine, &counted), Some(64 * MIB));
    let change = |engine: &Engine, handle: &str, most: &str| {
        engine.gdn(["update", handle, "--memory", most]).expect_status(0);
    };
    change(&engine, &counted, "96M");
    change(&engine, &unlimited, "32M");
    assert_eq!((with_swap(&engine, &counted), with_swap(&engine, &unlimited)), (None, None));
    engine.stop_server();

    engine.start_server(&[]);
    for (handle, mib) in [(&counted, 128), (&unlimited, 16)] {
        change(&engine, handle, &format!("{mib}M"));
        assert_eq!(with_swap(&engine, handle), Some(mib * MIB));
    }
    engine.finish();
}
