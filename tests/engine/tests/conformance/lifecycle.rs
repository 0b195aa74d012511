//! A container from its creation to its end.

use std::time::{Duration, Instant};

use engine_tests::session::{collect, program, script};
use engine_tests::{Engine, inside, until};
use gdn_types::{ContainerSpec, ErrorKind, Handle, LifeState, ProcessId};

fn named(text: &str) -> ContainerSpec {
    ContainerSpec { handle: Some(Handle::parse(text).unwrap()), ..ContainerSpec::default() }
}

/// Conformance: G32
#[test]
fn a_handle_in_use_is_refused_in_the_words_clients_look_for() {
    let engine = Engine::start();
    engine.create_from(named("taken"));
    let error = engine.try_create(named("taken")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.message(), "handle 'taken' already in use");
    engine.finish();
}

/// Conformance: G33-34
#[test]
fn root_is_the_last_id_of_the_host_and_every_other_id_is_itself() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    for map in ["uid_map", "gid_map"] {
        let text = engine.run(&handle, program(&["cat", &format!("/proc/self/{map}")])).expect(0).text();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [["0", "4294967294", "1"], ["1", "1", "4294967293"]], "{map}");
    }
    engine.finish();
}

/// Conformance: G35, G42, G84
#[test]
fn what_is_not_there_is_named_by_a_typed_error() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let unknown = Handle::parse("unheard-of").unwrap();
    let process = ProcessId::parse("no-process").unwrap();
    engine.with_client(async |client| {
        let no_container = |error: gdn_types::Error| {
            assert_eq!(error.kind(), ErrorKind::ContainerNotFound);
            assert_eq!(error.message(), "unknown handle: unheard-of");
        };
        no_container(client.destroy(&unknown).await.unwrap_err());
        no_container(client.set_grace_time(&unknown, Duration::from_secs(1)).await.unwrap_err());
        no_container(client.attach(&unknown, &process, false).await.unwrap_err());
        let error = client.attach(&handle, &process, false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProcessNotFound);
        assert_eq!(error.message(), "unknown process: no-process");
    });
    engine.finish();
}

/// Conformance: G37-38
#[test]
fn the_host_name_is_the_end_of_the_handle() {
    let engine = Engine::start();
    let long: String = ('a'..='z').chain('0'..='9').chain('A'..='Z').collect();
    for handle in ["short-one", &long] {
        let created = engine.create_from(named(handle));
        let name = engine.run(&created, program(&["hostname"])).expect(0).text();
        assert_eq!(name.trim(), &handle[handle.len().saturating_sub(49)..]);
    }
    engine.finish();
}

/// Conformance: G39-41, G224
#[test]
fn a_new_container_is_listed_active_and_has_a_first_process() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let (listed, info) = engine
        .with_client(async |client| (client.list([]).await.unwrap(), client.info(&handle).await.unwrap()));
    assert_eq!(listed, std::slice::from_ref(&handle));
    assert_eq!(info.state, LifeState::Active);
    assert_eq!(engine.run(&handle, program(&["cat", "/proc/1/comm"])).expect(0).text(), "garden-init\n");
    engine.finish();
}

/// Conformance: G67-69
#[test]
fn a_stop_ends_a_whole_tree_by_term() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let init = engine.init_pid(handle.as_str());
    let caught =
        engine.begin(["exec", handle.as_str(), "sh", "-c", "trap 'exit 42' TERM; sleep 1000 & wait"]);
    let tree = "sh -c 'sleep 1000 & sh -c \"sleep 1000; :\" & wait; :' & sleep 1000; :";
    let tree = engine.begin(["exec", handle.as_str(), "sh", "-c", tree]);
    let sleepers = || {
        let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        inside::processes_beside(init).iter().filter(|pid| name(pid) == "sleep\n").count()
    };
    until("the tree to stand", || sleepers() == 4);
    engine.with_client(async |client| client.stop(&handle, false).await.unwrap());
    caught.finish().expect_status(42);
    // By TERM: KILL would have been 137.
    tree.finish().expect_status(143);
    assert_eq!(inside::processes_beside(init), Vec::<u32>::new());
    let info = engine.with_client(async |client| client.info(&handle).await.unwrap());
    assert_eq!(info.state, LifeState::Stopped);
    engine.run(&handle, program(&["true"])).expect(0);
    engine.finish();
}

/// Conformance: G70
#[test]
fn who_ignores_term_is_killed_and_not_before_its_time() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let deaf = "trap '' TERM; touch /tmp/deaf; while :; do sleep 1; done";
    let deaf = engine.begin(["exec", handle.as_str(), "sh", "-c", deaf]);
    until("the process to be deaf", || engine.shell(handle.as_str(), "test -e /tmp/deaf").status == 0);
    let asked = Instant::now();
    engine.with_client(async |client| client.stop(&handle, false).await.unwrap());
    // What clients count on: ten seconds to end by itself.
    assert!(asked.elapsed() >= Duration::from_secs(10), "{:?}", asked.elapsed());
    deaf.finish().expect_status(137);
    engine.finish();
}

/// Conformance: G83
#[test]
fn an_idle_container_goes_when_its_grace_time_is_over() {
    let engine = Engine::start();
    let grace_time = Some(Duration::from_millis(500));
    let handle = engine.create_from(ContainerSpec { grace_time, ..ContainerSpec::default() });
    until("the container to go", || engine.handles().is_empty());
    let error = engine.with_client(async |client| client.info(&handle).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::ContainerNotFound);
    engine.finish();
}

/// Conformance: G85
#[test]
fn a_run_that_is_followed_keeps_its_container() {
    let engine = Engine::start();
    let grace_time = Duration::from_millis(50);
    engine.with_client(async |client| {
        let spec = ContainerSpec {
            grace_time: None,
            image: gdn_types::ImageRef::uri(engine.image()),
            ..ContainerSpec::default()
        };
        let handle = client.create(spec).await.unwrap();
        // Twenty grace times of work.
        let process = client.run(&handle, script("sleep 1; echo done")).await.unwrap();
        client.set_grace_time(&handle, grace_time).await.unwrap();
        assert_eq!(collect(process).await.unwrap().expect(0).text(), "done\n");
    });
    until("the container to go", || engine.handles().is_empty());
    engine.finish();
}

/// Conformance: A4
#[test]
fn a_grace_time_of_zero_is_for_ever() {
    let engine = Engine::start();
    let spec = || ContainerSpec { grace_time: Some(Duration::from_secs(3600)), ..ContainerSpec::default() };
    let (kept, other) = (engine.create_from(spec()), engine.create_from(spec()));
    engine.with_client(async |client| {
        client.set_grace_time(&kept, Duration::ZERO).await.unwrap();
        client.set_grace_time(&other, Duration::from_millis(10)).await.unwrap();
    });
    until("the other container to go", || engine.handles() == [kept.to_string()]);
    engine.run(&kept, program(&["true"])).expect(0);
    engine.finish();
}
