//! Figures of containers.

use std::time::Duration;

use engine_tests::Engine;
use engine_tests::session::script;
use gdn_types::{ContainerSpec, Limits, PidLimits};

/// Conformance: G115-118
#[test]
fn a_container_that_worked_has_figures_above_zero() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; head -c 5000000 /dev/zero > /dev/shm/x";
    engine.run(&handle, script(work)).expect(0);
    let metrics = engine.with_client(async |client| client.metrics(&handle).await.unwrap());
    assert!(metrics.cpu.usage > Duration::ZERO);
    assert!(metrics.cpu.user + metrics.cpu.system > Duration::ZERO);
    assert!(metrics.memory.usage_toward_limit >= 5_000_000, "{:?}", metrics.memory);
    assert!(metrics.pids.current >= 1);
    assert_eq!(metrics.pids.max, 0);
    engine.finish();
}

/// Conformance: G120
#[test]
fn a_container_grows_older() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let age = || engine.with_client(async |client| client.metrics(&handle).await.unwrap().age);
    let first = age();
    assert!(first > Duration::ZERO);
    engine_tests::until("the age to grow", || age() > first);
    engine.finish();
}

/// Conformance: G119
#[test]
fn the_limit_of_tasks_is_among_the_figures() {
    let engine = Engine::start();
    let limits = Limits { pids: PidLimits { max: 128 }, ..Limits::default() };
    let handle = engine.create_from(ContainerSpec { limits, ..ContainerSpec::default() });
    let metrics = engine.with_client(async |client| client.metrics(&handle).await.unwrap());
    assert_eq!(metrics.pids.max, 128);
    engine.finish();
}

/// Conformance: G121-122
#[test]
fn figures_of_many_containers_come_by_handle_and_unknown_ones_fail_alone() {
    let engine = Engine::start();
    let mut handles: Vec<_> = (0..3).map(|_| engine.create_from(ContainerSpec::default())).collect();
    for handle in &handles {
        engine.run(handle, script("head -c 2000000 /dev/zero > /dev/shm/x")).expect(0);
    }
    handles.push(gdn_types::Handle::parse("unheard-of").unwrap());
    let all = engine.with_client(async |client| client.bulk_metrics(&handles).await.unwrap());
    assert_eq!(all.len(), 4);
    for handle in &handles[..3] {
        let (_, told) = all.iter().find(|(told, _)| told == handle).unwrap();
        assert!(told.as_ref().unwrap().memory.usage_toward_limit > 0, "{told:?}");
    }
    let (_, unknown) = all.iter().find(|(told, _)| *told == handles[3]).unwrap();
    assert_eq!(unknown.as_ref().unwrap_err().kind(), gdn_types::ErrorKind::ContainerNotFound);
    engine.finish();
}
