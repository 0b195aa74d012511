//! Properties, lists, stop and kill, grace time.

use engine_tests::{Engine, until};

/// Conformance: G8, Q289-292
#[test]
fn properties_are_set_read_listed_and_removed() {
    let engine = Engine::start();
    let handle = engine.create(&["--property", "a=1", "--property", "b=x=y"]);
    let property = |words: &[&str]| engine.gdn(["property"].iter().chain(words));
    assert_eq!(property(&["get", &handle, "a"]).expect_status(0).text(), "1\n");
    assert_eq!(property(&["get", &handle, "b"]).expect_status(0).text(), "x=y\n");
    property(&["set", &handle, "a", "2"]).expect_status(0);
    property(&["set", &handle, "c", ""]).expect_status(0);
    assert_eq!(property(&["get", &handle, "a"]).expect_status(0).text(), "2\n");
    let listed = property(&["list", &handle]).expect_status(0).text();
    for line in ["a=2", "b=x=y", "c="] {
        assert!(listed.lines().any(|seen| seen == line), "{line:?} not in {listed}");
    }
    property(&["rm", &handle, "a"]).expect_status(0);
    property(&["get", &handle, "a"]).expect_error("\"a\"");
    property(&["rm", &handle, "a"]).expect_error("\"a\"");
    property(&["get", "unheard-of", "a"]).expect_error("unheard-of");
    property(&["set", &handle, &"k".repeat(2000), "x"]).expect_error("1024 bytes");
    engine.finish();
}

/// Conformance: G9-10, Q293
#[test]
fn a_list_shows_the_containers_that_have_every_property_asked_for() {
    let engine = Engine::start();
    engine.create(&["--handle", "one", "--property", "kind=web", "--property", "zone=a"]);
    engine.create(&["--handle", "two", "--property", "kind=web"]);
    engine.create(&["--handle", "three"]);
    let listed = |options: &[&str]| {
        let listed = engine.gdn(["list", "-q"].iter().chain(options)).expect_status(0).text();
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[]), ["one", "three", "two"]);
    assert_eq!(listed(&["--property", "kind=web"]), ["one", "two"]);
    assert_eq!(listed(&["--property", "kind=web", "--property", "zone=a"]), ["one"]);
    assert_eq!(listed(&["--property", "kind=other"]), Vec::<String>::new());
    let table = engine.gdn(["ls"]).expect_status(0).text();
    assert!(table.starts_with("HANDLE") && table.lines().count() == 4, "{table}");
    engine.finish();
}

#[test]
fn stop_ends_processes_also_those_that_ignore_it_and_the_container_stays() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let polite = engine.begin(["exec", &handle, "sleep", "1000"]);
    let stubborn = "trap '' TERM; touch /tmp/ready; while :; do sleep 1; done";
    let stubborn = engine.begin(["exec", &handle, "sh", "-c", stubborn]);
    until("the process to be deaf", || engine.shell(&handle, "test -e /tmp/ready").status == 0);
    engine.gdn(["stop", &handle]).expect_status(0);
    polite.finish().expect_status(143);
    stubborn.finish().expect_status(137);
    assert_eq!(engine.inspect(&handle)["process_ids"].as_array().unwrap().len(), 0);
    engine.gdn(["stop", &handle]).expect_status(0);
    engine.finish();
}

#[test]
fn stop_with_kill_and_kill_end_processes_at_once() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let start = |handle: &str| {
        let run = engine.begin([
            "exec",
            handle,
            "sh",
            "-c",
            "trap '' TERM; touch /tmp/ready; while :; do sleep 1; done",
        ]);
        until("the process to be deaf", || engine.shell(handle, "rm /tmp/ready").status == 0);
        run
    };
    let run = start(&handle);
    engine.gdn(["kill", &handle]).expect_status(0);
    run.finish().expect_status(137);
    let other = engine.create(&[]);
    let run = start(&other);
    engine.gdn(["stop", "--kill", &other]).expect_status(0);
    run.finish().expect_status(137);
    engine.finish();
}

#[test]
fn a_destroy_ends_what_runs_and_frees_the_name() {
    let engine = Engine::start();
    engine.create(&["--handle", "name"]);
    let run = engine.begin(["exec", "name", "sleep", "1000"]);
    until("the process to run", || !engine.inspect("name")["process_ids"].as_array().unwrap().is_empty());
    engine.gdn(["destroy", "name"]).expect_status(0);
    assert_ne!(run.finish().status, 0);
    engine.gdn(["destroy", "name"]).expect_error("name");
    engine.create(&["--handle", "name"]);
    engine.shell("name", "true").expect_status(0);
    engine.finish();
}

#[test]
fn a_container_nobody_asks_for_goes_after_its_grace_time() {
    let engine = Engine::start();
    engine.create(&["--handle", "short", "--grace-time", "1s"]);
    engine.create(&["--handle", "long", "--grace-time", "1h"]);
    until("the container to go", || engine.handles() == ["long"]);
    engine.finish();
}

#[test]
fn a_run_that_is_interrupted_removes_its_container() {
    use rustix::process::Signal;
    let engine = Engine::start();
    let run = engine.begin(["run", "--image", engine.image(), "--", "sleep", "1000"]);
    until("the process to run", || {
        engine.handles().first().is_some_and(|handle| {
            let told = engine.gdn(["--format", "json", "inspect", handle]);
            told.status == 0 && told.text().contains("\"process_ids\": [\n")
        })
    });
    run.signal(Signal::INT);
    run.finish().expect_status(130);
    assert_eq!(engine.handles(), Vec::<String>::new());
    engine.finish();
}
