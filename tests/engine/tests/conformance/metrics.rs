//! Figures of containers.

use std::path::Path;
use std::thread;
use std::time::Duration;

use engine_tests::session::script;
use engine_tests::{Engine, until_some};
use gdn_types::{
    ContainerMetrics, ContainerSpec, CpuLimits, CpuShares, Handle, Limits, MemoryLimits, PidLimits, Pressure,
};

fn figures(engine: &Engine, handle: &Handle) -> ContainerMetrics {
    engine.with_client(async |client| client.metrics(handle).await.unwrap())
}

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
    handles.push(Handle::parse("unheard-of").unwrap());
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

#[test]
fn waiting_is_told_where_the_kernel_counts_it_and_absent_elsewhere() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    // Only the version 2 tree counts, which a host may lack.
    let counts = Path::new("/proc/pressure/cpu").exists()
        && std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup2 ");
    let told = figures(&engine, &handle).pressure;
    assert_eq!(
        (told.cpu.is_some(), told.memory.is_some(), told.io.is_some()),
        (counts, counts, counts),
        "{told:?}"
    );
    if counts {
        // More busy loops than processors: one of them waits at any time.
        let loops = thread::available_parallelism().unwrap().get() * 2;
        let busy = format!("for i in $(seq {loops}); do while :; do :; done & done; wait");
        let busy = engine.begin(["exec", handle.as_str(), "sh", "-c", &busy]);
        let waited = |pressure: &Pressure| pressure.some.total;
        let first = told.cpu.as_ref().map(waited).unwrap();
        let told = until_some("the processes to wait for processors", || {
            figures(&engine, &handle).pressure.cpu.filter(|told| waited(told) > first)
        });
        assert!((0.0..=100.0).contains(&told.some.avg10), "{told:?}");
        drop(busy);
        engine.gdn(["stop", "--kill", handle.as_str()]).expect_status(0);
    }
    engine.finish();
}

#[test]
fn a_quota_that_held_a_container_back_is_among_the_figures() {
    let engine = Engine::start();
    let cpu = CpuLimits { shares: None, quota_us: 5000 };
    let limits = Limits { cpu, ..Limits::default() };
    let handle = engine.create_from(ContainerSpec { limits, ..ContainerSpec::default() });
    let busy = engine.begin(["exec", handle.as_str(), "sh", "-c", "while :; do :; done"]);
    let told = until_some("the container to be held back", || {
        figures(&engine, &handle).cpu.throttling.filter(|told| told.throttled_periods > 2)
    });
    assert!(told.periods >= told.throttled_periods && told.throttled > Duration::ZERO, "{told:?}");
    drop(busy);
    engine.gdn(["stop", "--kill", handle.as_str()]).expect_status(0);
    let free = engine.create_from(ContainerSpec::default());
    assert_eq!(figures(&engine, &free).cpu.throttling.unwrap().throttled, Duration::ZERO);
    engine.finish();
}

#[test]
fn the_peak_of_memory_and_what_was_killed_for_it_are_among_the_figures() {
    const MIB: u64 = 1 << 20;
    let engine = Engine::start();
    let limits = Limits { memory: MemoryLimits { bytes: 40 * MIB }, ..Limits::default() };
    let handle = engine.create_from(ContainerSpec { limits, ..ContainerSpec::default() });
    assert_eq!(figures(&engine, &handle).memory.oom_kills, Some(0));
    engine.run(&handle, script("head -c 20000000 /dev/zero > /dev/shm/x; rm /dev/shm/x")).expect(0);
    let told = figures(&engine, &handle).memory;
    // Linux before 5.19 tells no peak on version 2; none that is supported is older.
    assert!(told.peak.unwrap() >= 20_000_000 && told.usage_toward_limit < 20_000_000, "{told:?}");
    engine.run(&handle, script("head -c 60000000 /dev/zero > /dev/shm/x; rm -f /dev/shm/x"));
    let kills = figures(&engine, &handle).memory.oom_kills;
    assert!(kills >= Some(1), "{kills:?}");
    let shown = engine.gdn(["stats"]).expect_status(0);
    let line = shown.text().lines().find(|line| line.starts_with(handle.as_str())).map(str::to_owned);
    assert!(line.is_some_and(|line| line.contains("MiB")), "{}", shown.text());
    let shown = engine.gdn(["--format", "json", "stats", handle.as_str()]).expect_status(0);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    // What fills the memory is still there: the count may have grown between two looks.
    let (shown_kills, later) = (shown[0]["metrics"]["oom_kills"].as_u64(), figures(&engine, &handle));
    assert!(kills <= shown_kills && shown_kills <= later.memory.oom_kills, "{kills:?}, then {shown_kills:?}");
    assert!(shown[0]["metrics"]["memory_peak_bytes"].as_u64().unwrap() > 20_000_000);
    engine.gdn(["stats", "nobody"]).expect_error("nobody");
    engine.finish();
}

/// Asserts what the container is entitled to, in processors for each share.
#[track_caller]
fn expect_entitlement(engine: &Engine, handle: &Handle, shares: f64, per_share: f64) {
    let told = figures(engine, handle);
    let expected = shares * per_share * told.age.as_secs_f64();
    let difference = (told.cpu_entitlement.as_secs_f64() - expected).abs();
    assert!(difference <= expected * 1e-6 + 1e-9, "{:?} is not {expected} s", told.cpu_entitlement);
}

fn with_shares(engine: &Engine, shares: u64) -> Handle {
    let limits =
        Limits { cpu: CpuLimits { shares: CpuShares::new(shares), quota_us: 0 }, ..Limits::default() };
    engine.create_from(ContainerSpec { limits, ..ContainerSpec::default() })
}

/// Conformance: Q48
#[test]
fn by_default_the_shares_divide_the_machine_by_its_memory() {
    let engine = Engine::start();
    let line = |file: &str, name: &str| -> String {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    };
    let kibibytes: u64 = line("/proc/meminfo", "MemTotal:").trim_end_matches(" kB").parse().unwrap();
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let is_processor = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    let processors = stat.lines().filter(is_processor).count() as f64;
    let per_share = processors / (kibibytes / 1024) as f64;
    expect_entitlement(&engine, &with_shares(&engine, 512), 512.0, per_share);
    expect_entitlement(&engine, &with_shares(&engine, 0), 1024.0, per_share);
    engine.finish();
}

/// Conformance: Q49
#[test]
fn a_given_entitlement_is_used_and_follows_the_shares() {
    let options = ["--cpu-entitlement-per-share", "0.5"];
    let mut engine = Engine::new();
    engine.start_server(&options);
    let handle = with_shares(&engine, 512);
    expect_entitlement(&engine, &handle, 512.0, 0.005);
    engine.gdn(["update", "--cpu-weight", "100", handle.as_str()]).expect_status(0);
    expect_entitlement(&engine, &handle, 100.0, 0.005);
    engine.kill_server();
    engine.start_server(&options);
    expect_entitlement(&engine, &handle, 100.0, 0.005);
    for wrong in ["0", "-1", "much", "NaN"] {
        let refused = engine.gdn(["server", &format!("--cpu-entitlement-per-share={wrong}")]);
        refused.expect_error(wrong);
    }
    engine.finish();
}
