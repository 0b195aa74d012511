//! What a container may use, read back and enforced. On a host with version 1 of control groups these rows are shown for it;
//! in a guest with version 2 the same tests show them for that.

use engine_tests::session::{program, script};
use engine_tests::{Engine, inside, until_some};
use gdn_types::{
    BandwidthLimits, ContainerSpec, CpuLimits, CpuShares, DiskLimits, ErrorKind, Handle, LimitChange, Limits,
    MemoryLimits, PidLimits, ProcessSpec, Rlimits,
};

const MIB: u64 = 1 << 20;

fn create(engine: &Engine, limits: Limits) -> Handle {
    engine.create_from(ContainerSpec { limits, ..ContainerSpec::default() })
}

fn with_memory(bytes: u64) -> Limits {
    Limits { memory: MemoryLimits { bytes }, ..Limits::default() }
}

fn with_shares(shares: u64) -> Limits {
    Limits { cpu: CpuLimits { shares: CpuShares::new(shares), quota_us: 0 }, ..Limits::default() }
}

fn with_pids(max: u64) -> Limits {
    Limits { pids: PidLimits { max }, ..Limits::default() }
}

/// Conformance: G27-28, G86-88
#[test]
fn limits_are_read_back_and_are_the_kernels() {
    let engine = Engine::start();
    let limits = Limits { memory: MemoryLimits { bytes: 64 * MIB }, ..with_shares(512) };
    let handle = create(&engine, limits);
    let told = engine.with_client(async |client| client.limits(&handle).await.unwrap());
    assert_eq!(told.memory.bytes, 64 * MIB);
    let init = engine.init_pid(handle.as_str());
    let memory = inside::cgroup_file(init, ("memory", "memory.limit_in_bytes"), "memory.max");
    assert_eq!(memory.trim(), (64 * MIB).to_string());
    let weight = inside::cgroup_file(init, ("cpu", "cpu.shares"), "cpu.weight");
    let expected = if inside::cgroups_are_v1() { "512" } else { "59" };
    assert_eq!(weight.trim(), expected);
    assert_eq!(told.cpu.shares.map(|shares| shares.get().to_string()).as_deref(), Some(expected));
    engine.finish();
}

/// Conformance: G30
#[test]
fn limits_nobody_set_read_back_as_none() {
    let engine = Engine::start();
    let handle = create(&engine, Limits::default());
    let told = engine.with_client(async |client| client.limits(&handle).await.unwrap());
    assert_eq!((told.disk, told.bandwidth), (DiskLimits::default(), BandwidthLimits::default()));
    assert_eq!((told.memory.bytes, told.pids.max, told.cpu.quota_us), (0, 0, 0));
    engine.finish();
}

/// Conformance: G89-90
#[test]
fn memory_holds_what_fits_below_the_limit_and_no_more() {
    let engine = Engine::start();
    let handle = create(&engine, with_memory(64 * MIB));
    let fill = |mebibytes: u64| {
        let text =
            format!("dd if=/dev/zero of=/dev/shm/x bs=1M count={mebibytes}; s=$?; rm -f /dev/shm/x; exit $s");
        engine.run(&handle, script(&text)).status.code()
    };
    assert_eq!(fill(58), 0);
    assert_ne!(fill(70), 0);
    engine.run(&handle, program(&["true"])).expect(0);
    engine.finish();
}

/// Conformance: G108
#[test]
fn a_limit_of_tasks_stops_forks() {
    let engine = Engine::start();
    let handle = create(&engine, with_pids(50));
    let forks = |number: u32| {
        let text =
            format!("i=0; while [ $i -lt {number} ]; do sleep 1000 & i=$((i+1)); done; kill $(jobs -p)");
        engine.run(&handle, script(&text))
    };
    forks(30).expect(0);
    let refused = forks(60);
    assert_ne!(refused.status.code(), 0);
    assert!(refused.errors().contains("can't fork"), "{}", refused.errors());
    engine.finish();
}

/// Conformance: G109
#[test]
fn a_limit_of_no_tasks_is_none() {
    let engine = Engine::start();
    let handle = create(&engine, with_pids(0));
    let init = engine.init_pid(handle.as_str());
    assert_eq!(inside::cgroup_file(init, ("pids", "pids.max"), "pids.max").trim(), "max");
    let forks = "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; kill $(jobs -p)";
    engine.run(&handle, script(forks)).expect(0);
    engine.finish();
}

/// Conformance: G110
#[test]
fn a_limit_of_open_files_holds() {
    let engine = Engine::start();
    let handle = create(&engine, Limits::default());
    let rlimits = Rlimits { nofile: Some(30), ..Rlimits::default() };
    let count = ProcessSpec { rlimits, ..script("ulimit -n; ulimit -Hn") };
    assert_eq!(engine.run(&handle, count).expect(0).text(), "30\n30\n");
    let files: Vec<String> = (0..40).map(|n| format!("/tmp/f{n}")).collect();
    engine.run(&handle, script(&format!("touch {}", files.join(" ")))).expect(0);
    // It opens all before it reads one.
    let words: Vec<&str> = ["tail", "-n", "0"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let refused = engine.run(&handle, ProcessSpec { rlimits, ..program(&words) });
    assert!(refused.errors().contains("Too many open files"), "{:?} {}", refused.status, refused.errors());
    engine.run(&handle, program(&words)).expect(0);
    engine.finish();
}

#[test]
fn limits_change_while_the_container_is_in_use() {
    let engine = Engine::start();
    let handle = create(&engine, Limits::default());
    let change = |change| engine.with_client(async |client| client.change_limits(&handle, change).await);
    let fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null";
    engine.run(&handle, script(fill)).expect(0);
    // Less than is in use is refused, and changes nothing.
    let less = LimitChange { memory_bytes: Some(20 * MIB), pids_max: Some(7), ..LimitChange::default() };
    let refused = change(less).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::FailedPrecondition, "{}", refused.report());
    assert!(refused.report().contains(&(20 * MIB).to_string()), "{}", refused.report());
    let told = engine.with_client(async |client| client.limits(&handle).await.unwrap());
    assert_eq!((told.memory.bytes, told.pids.max), (0, 0));
    engine.run(&handle, script("rm /dev/shm/x")).expect(0);

    let all = LimitChange {
        memory_bytes: Some(30 * MIB),
        cpu_shares: Some(2048),
        cpu_quota_us: Some(50_000),
        pids_max: Some(20),
        ..LimitChange::default()
    };
    let told = change(all).unwrap();
    assert_eq!((told.memory.bytes, told.cpu.quota_us, told.pids.max), (30 * MIB, 50_000, 20));
    let init = engine.init_pid(handle.as_str());
    let weight = inside::cgroup_file(init, ("cpu", "cpu.shares"), "cpu.weight");
    assert_eq!(weight.trim(), if inside::cgroups_are_v1() { "2048" } else { "174" });
    assert_ne!(engine.run(&handle, script(fill)).status.code(), 0);
    let events = engine.with_client(async |client| client.info(&handle).await.unwrap().events);
    assert_eq!(events, ["Out of memory"], "a limit that came later is watched too");

    let told = change(LimitChange { memory_bytes: Some(60 * MIB), ..LimitChange::default() }).unwrap();
    assert_eq!((told.memory.bytes, told.cpu.quota_us, told.pids.max), (60 * MIB, 50_000, 20));
    engine.run(&handle, script(&format!("{fill}; rm /dev/shm/x"))).expect(0);
    let none = LimitChange {
        memory_bytes: Some(0),
        cpu_shares: Some(0),
        cpu_quota_us: Some(0),
        pids_max: Some(0),
        ..LimitChange::default()
    };
    let told = change(none).unwrap();
    assert_eq!((told.memory.bytes, told.cpu.quota_us, told.pids.max), (0, 0, 0));
    assert_eq!(quota(&engine, &handle).0, None);
    let shown =
        engine.gdn(["--format", "json", "update", "--memory", "64M", handle.as_str()]).expect_status(0);
    assert!(shown.text().contains("67108864"), "{}", shown.text());
    engine.gdn(["update", "nobody", "--pids", "3"]).expect_error("nobody");
    engine.finish();
}

/// Quota and period of a container as the kernel has them, in microseconds; no quota is `None`.
fn quota(engine: &Engine, handle: &Handle) -> (Option<u64>, u64) {
    let init = engine.init_pid(handle.as_str());
    if inside::cgroups_are_v1() {
        let read = |file| inside::cgroup_file(init, ("cpu", file), "");
        (read("cpu.cfs_quota_us").trim().parse().ok(), read("cpu.cfs_period_us").trim().parse().unwrap())
    } else {
        let both = inside::cgroup_file(init, ("cpu", ""), "cpu.max");
        let (quota, period) = both.trim().split_once(' ').unwrap();
        (quota.parse().ok(), period.parse().unwrap())
    }
}

/// Conformance: Q173-174, Q177-178
#[test]
fn a_quota_for_each_share_throttles() {
    let mut engine = Engine::new();
    engine.start_server(&["--cpu-quota-per-share", "10"]);
    let handle = create(&engine, with_shares(128));
    assert_eq!(quota(&engine, &handle), (Some(1280), 100_000));
    throttles(&engine, &handle);
    // A quota of the client's own wins, and the kernel takes none below a millisecond.
    let cpu = CpuLimits { shares: CpuShares::new(128), quota_us: 5000 };
    let named = create(&engine, Limits { cpu, ..Limits::default() });
    assert_eq!(quota(&engine, &named).0, Some(5000));
    assert_eq!(quota(&engine, &create(&engine, with_shares(2))).0, Some(1000));
    engine.finish();
}

/// Conformance: Q180, Q176
#[test]
fn without_shares_a_quota_for_each_share_limits_nothing() {
    let mut engine = Engine::new();
    engine.start_server(&["--cpu-quota-per-share", "10"]);
    let handle = create(&engine, Limits::default());
    assert_eq!(quota(&engine, &handle).0, None);
    engine.finish();
}

/// Conformance: Q175, Q179, Q181
#[test]
fn without_the_option_shares_limit_nothing() {
    let engine = Engine::start();
    for privileged in [false, true] {
        let spec = ContainerSpec { limits: with_shares(128), privileged, ..ContainerSpec::default() };
        let handle = engine.create_from(spec);
        assert_eq!(quota(&engine, &handle).0, None);
    }
    engine.finish();
}

#[test]
fn a_quota_of_a_container_throttles() {
    let engine = Engine::start();
    let cpu = CpuLimits { shares: None, quota_us: 5000 };
    let handle = create(&engine, Limits { cpu, ..Limits::default() });
    assert_eq!(quota(&engine, &handle), (Some(5000), 100_000));
    throttles(&engine, &handle);
    engine.finish();
}

/// Waits until a busy process was held back.
fn throttles(engine: &Engine, handle: &Handle) {
    let busy = engine.begin(["exec", handle.as_str(), "sh", "-c", "while :; do :; done"]);
    let init = engine.init_pid(handle.as_str());
    let times = until_some("the process to be throttled", || {
        let stat = inside::cgroup_file(init, ("cpu", "cpu.stat"), "cpu.stat");
        let times =
            stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap().parse::<u64>().unwrap();
        (times > 2).then_some(times)
    });
    assert!(times > 2);
    drop(busy);
    engine.gdn(["stop", "--kill", handle.as_str()]).expect_status(0);
}

/// Conformance: Q182
#[test]
fn only_the_devices_of_the_list_are_allowed() {
    let engine = Engine::start();
    for privileged in [false, true] {
        let handle = engine.create_from(ContainerSpec { privileged, ..ContainerSpec::default() });
        let init = engine.init_pid(handle.as_str());
        if inside::cgroups_are_v1() {
            let list = inside::cgroup_file(init, ("devices", "devices.list"), "");
            let mut list: Vec<_> = list.lines().collect();
            list.sort_unstable();
            // Nodes of every kind may be made; the terminal, null, zero, full, random, urandom, tun, fuse and the terminals'
            // both sides may be opened.
            let open = ["5:0", "1:3", "1:5", "1:7", "1:8", "1:9", "10:200", "10:229", "5:2", "136:*"];
            let open = open.iter().map(|numbers| format!("c {numbers} rwm"));
            let mut expected: Vec<_> =
                ["b *:* m", "c *:* m"].map(str::to_owned).into_iter().chain(open).collect();
            expected.sort_unstable();
            assert_eq!(list, expected, "privileged: {privileged}");
        }
        let disk = engine.run(&handle, script("mknod /tmp/d b 8 0 && head -c 1 /tmp/d"));
        assert_ne!(disk.status.code(), 0);
        let kernel = engine.run(&handle, script("mknod /tmp/m c 1 1 && head -c 1 /tmp/m"));
        assert_ne!(kernel.status.code(), 0);
    }
    engine.finish();
}

/// Conformance: G1-4
#[test]
fn an_engine_can_hold_something() {
    let engine = Engine::start();
    let told = engine.with_client(async |client| client.capacity().await.unwrap());
    assert!(told.memory_bytes > 0 && told.disk_bytes > 0 && told.schedulable_disk_bytes > 0, "{told:?}");
    assert!(told.max_containers > 0 && told.pools.is_empty(), "{told:?}");
    engine.finish();
}
