//! Fair use of processors: who used more than its part gives way to those who wake up.

use std::time::Duration;

use engine_tests::{Engine, Gdn, inside, until, until_some};
use gdn_types::{ContainerSpec, CpuLimits, CpuShares, CpuStat, Handle, Limits};

/// Few, beside as many as a small machine has mebibytes.
const SHARES: u64 = 64;
/// Together 8 % of a processor: a busy loop has more of it on the busiest host.
const PERCENT: &str = "0.125";
const OPTIONS: [&str; 5] = [
    "--enable-cpu-throttling",
    "--cpu-throttling-check-interval",
    "200ms",
    "--cpu-entitlement-per-share",
    PERCENT,
];

fn create(engine: &Engine) -> Handle {
    let cpu = CpuLimits { shares: CpuShares::new(SHARES), quota_us: 0 };
    engine.create_from(ContainerSpec {
        limits: Limits { cpu, ..Limits::default() },
        ..ContainerSpec::default()
    })
}

fn cpu(engine: &Engine, handle: &Handle) -> CpuStat {
    engine.with_client(async |client| client.metrics(handle).await.unwrap()).cpu
}

/// What is left of the time that it is entitled to.
fn credit(engine: &Engine, handle: &Handle) -> Duration {
    let told = engine.with_client(async |client| client.metrics(handle).await.unwrap());
    told.cpu_entitlement.saturating_sub(told.cpu.usage)
}

/// As many busy loops as there are processors.
fn busy(engine: &Engine, handle: &Handle) -> Gdn {
    let loops = std::thread::available_parallelism().unwrap().get();
    let text = format!("for i in $(seq {loops}); do while :; do :; done & done; wait");
    engine.begin(["exec", handle.as_str(), "sh", "-c", &text])
}

/// The weight of a container that nobody has demoted. Its start may have taken more than it was entitled to by then.
fn whole_weight(engine: &Engine, handle: &Handle) -> u64 {
    until("the container to have saved up", || credit(engine, handle) > Duration::from_millis(20));
    until("the container to have its whole weight", || !cpu(engine, handle).demoted);
    weight(engine, handle)
}

/// The weight as the kernel has it.
fn weight(engine: &Engine, handle: &Handle) -> u64 {
    let init = engine.init_pid(handle.as_str());
    inside::cgroup_file(init, ("cpu", "cpu.shares"), "cpu.weight").trim().parse().unwrap()
}

fn told_shares(engine: &Engine, handle: &Handle) -> u64 {
    let told = engine.with_client(async |client| client.limits(handle).await.unwrap());
    told.cpu.shares.unwrap().get()
}

/// Conformance: G11, Q303-305
#[test]
fn a_hog_gives_way_to_a_neighbour_that_wakes_up() {
    let mut engine = Engine::new();
    engine.start_server(&OPTIONS);
    let busy_loop = inside::busy_loop();
    let one_loop = |handle: &Handle| ["exec", handle.as_str(), "sh", "-c", &busy_loop].map(str::to_owned);
    let (hog, idle) = (create(&engine), create(&engine));
    let whole = whole_weight(&engine, &hog);
    let hogs = engine.begin(one_loop(&hog));
    until("the hog to be demoted", || cpu(&engine, &hog).demoted);
    assert!(weight(&engine, &hog) * 5 < whole, "{} of {whole}", weight(&engine, &hog));
    assert_eq!(told_shares(&engine, &hog), whole, "what was asked for is kept");
    assert_eq!(whole_weight(&engine, &idle), whole);

    // The neighbour has saved up; equal shares would give it as much as the hog.
    until("the neighbour to have saved up", || credit(&engine, &idle) > Duration::from_secs(1));
    let neighbours = engine.begin(one_loop(&idle));
    until("the neighbour to run", || cpu(&engine, &idle).usage > Duration::from_millis(100));
    let before = (cpu(&engine, &hog).usage, cpu(&engine, &idle).usage);
    let (hogs_time, idles_time) = until_some("the neighbour to have worked", || {
        let now = (cpu(&engine, &hog).usage, cpu(&engine, &idle).usage);
        // As long as its savings last.
        (now.1 - before.1 > Duration::from_millis(700)).then(|| (now.0 - before.0, now.1 - before.1))
    });
    assert!(!cpu(&engine, &idle).demoted, "the neighbour is within its part");
    assert!(hogs_time * 2 < idles_time, "the hog had {hogs_time:?}, the neighbour {idles_time:?}");
    drop((hogs, neighbours));
    for handle in [&hog, &idle] {
        engine.gdn(["stop", "--kill", handle.as_str()]).expect_status(0);
    }
    engine.finish();
}

/// Conformance: Q302, Q306-307
#[test]
fn one_that_is_within_its_part_again_gets_all_of_its_weight_and_keeps_its_figures() {
    let mut engine = Engine::new();
    engine.start_server(&OPTIONS);
    let hog = create(&engine);
    let whole = whole_weight(&engine, &hog);
    let hogs = busy(&engine, &hog);
    until("the hog to be demoted", || cpu(&engine, &hog).demoted);
    let used = cpu(&engine, &hog).usage;
    engine.gdn(["stop", "--kill", hog.as_str()]).expect_status(0);
    drop(hogs);
    // A process of a demoted container is as demoted as the others.
    engine.shell(hog.as_str(), "true").expect_status(0);
    let inspected = engine.inspect(hog.as_str());
    assert_eq!(inspected["metrics"]["cpu_demoted"], true, "{inspected}");

    // More shares, and with them more time for all of its age.
    engine.gdn(["update", "--cpu-weight", "200000", hog.as_str()]).expect_status(0);
    assert!(told_shares(&engine, &hog) > whole);
    until("it to be promoted", || !cpu(&engine, &hog).demoted);
    assert_eq!(weight(&engine, &hog), told_shares(&engine, &hog));
    assert!(cpu(&engine, &hog).usage >= used, "figures go on");
    engine.finish();
}

/// Conformance: Q302
#[test]
fn a_demoted_container_outlives_the_server_and_is_promoted_by_one_that_does_not_throttle() {
    let mut engine = Engine::new();
    engine.start_server(&OPTIONS);
    let hog = create(&engine);
    let whole = whole_weight(&engine, &hog);
    let hogs = busy(&engine, &hog);
    until("the hog to be demoted", || cpu(&engine, &hog).demoted);
    engine.kill_server();
    drop(hogs);
    engine.start_server(&OPTIONS);
    until("it to be demoted again", || cpu(&engine, &hog).demoted && weight(&engine, &hog) < whole);
    assert_eq!(told_shares(&engine, &hog), whole);
    engine.kill_server();
    engine.start_server(&[]);
    assert!(!cpu(&engine, &hog).demoted);
    assert_eq!(weight(&engine, &hog), whole);
    engine.finish();
}

/// Conformance: Q22
#[test]
fn an_interval_of_zero_is_refused() {
    let engine = Engine::new();
    for zero in ["0", "0s"] {
        engine.gdn(["server", "--cpu-throttling-check-interval", zero]).expect_error(zero);
    }
}
