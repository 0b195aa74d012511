//! What is written to and read from a pure cgroup2 hierarchy. A host with v1 controllers cannot show it, so the hierarchy is a
//! directory with plain files in it: this proves names and values, not what a kernel does with them.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;

use gdn_cgroups::{Cgroups, Layout, Mode, Pressures, Resources, Swap, Throttling};

const SUBTREE: &str = "engine";

/// A cgroup2 root with the given controllers, and a group `a` whose control files exist.
fn fake(controllers: &str) -> (tempfile::TempDir, Cgroups) {
    let root = tempfile::tempdir().unwrap();
    for directory in [root.path().to_owned(), root.path().join(SUBTREE)] {
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("cgroup.controllers"), controllers).unwrap();
        std::fs::write(directory.join("cgroup.subtree_control"), "").unwrap();
    }
    let group = root.path().join(SUBTREE).join("a");
    std::fs::create_dir(&group).unwrap();
    for (file, content) in [
        ("memory.max", "max\n"),
        ("memory.swap.max", "max\n"),
        ("memory.stat", "anon 100\nfile 50\nswapcached 3\ninactive_file 20\n"),
        ("memory.events", "low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\n"),
        ("cpu.weight", "100\n"),
        ("cpu.max", "max 100000\n"),
        ("cpu.stat", "usage_usec 30\nuser_usec 10\nsystem_usec 20\n"),
        ("pids.max", "max\n"),
        ("pids.current", "3\n"),
        ("cgroup.procs", "5\n4\n"),
        ("cgroup.kill", ""),
    ] {
        std::fs::write(group.join(file), content).unwrap();
    }
    let layout = Layout { v1: Vec::new(), unified: Some(root.path().to_owned()) };
    let cgroups = Cgroups::open_in(layout, SUBTREE).unwrap();
    (root, cgroups)
}

fn content(root: &Path, file: &str) -> String {
    std::fs::read_to_string(root.join(SUBTREE).join("a").join(file)).unwrap().trim().to_owned()
}

#[test]
fn limits_go_to_the_v2_files_in_v2_units() {
    let (root, cgroups) = fake("cpuset cpu io memory pids\n");
    assert_eq!(cgroups.mode(), Mode::V2);
    assert!(cgroups.v1_hierarchies().is_empty());
    let limits = Resources {
        memory_bytes: Some(1 << 20),
        cpu_shares: Some(262_144),
        cpu_quota_us: Some(150_000),
        pids_max: Some(1_000),
        ..Resources::default()
    };
    let group = cgroups.create("a", &limits).unwrap();
    // A control file takes the whole of each write; a plain file keeps what was behind it, so only starts are compared.
    assert!(content(root.path(), "memory.max").starts_with("1048576"));
    assert!(content(root.path(), "memory.swap.max").starts_with('0'));
    group.set(&Resources { swap: Swap::Unlimited, ..limits }).unwrap();
    assert!(content(root.path(), "memory.max").starts_with("1048576"));
    assert!(content(root.path(), "memory.swap.max").starts_with("max"));
    assert_eq!(content(root.path(), "cpu.weight"), "10000");
    assert!(content(root.path(), "cpu.max").starts_with("150000 100000"));
    assert_eq!(content(root.path(), "pids.max"), "1000");
    assert_eq!(group.limits().unwrap().cpu_weight, Some(10_000));
    assert!(group.attach_fds().unwrap().is_empty());
    assert!(group.unified_dir().is_some());
}

#[test]
fn figures_come_from_the_v2_files() {
    let (_root, cgroups) = fake("cpu memory pids\n");
    let group = cgroups.open_existing("a").unwrap().unwrap();
    let stats = group.stats().unwrap();
    assert_eq!((stats.cpu_usage_ns, stats.cpu_user_ns, stats.cpu_system_ns), (30_000, 10_000, 20_000));
    assert_eq!(stats.memory_toward_limit, 133);
    assert_eq!((stats.pids_current, stats.pids_max, stats.oom_kills), (3, 0, Some(1)));
    // What there is no file or no line of is absent, not 0.
    assert_eq!((stats.memory_peak, stats.throttling, stats.pressures), (None, None, Pressures::default()));
    assert_eq!(group.procs().unwrap(), [4, 5]);
    let limits = group.limits().unwrap();
    assert_eq!((limits.memory_bytes, limits.cpu_quota_us, limits.pids_max), (None, None, None));
}

#[test]
fn block_io_is_switched_on_by_its_first_limit() {
    let (root, cgroups) = fake("cpu io memory pids\n");
    let switched_on = |directory: &Path| {
        std::fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap().contains("io")
    };
    let subtree = root.path().join(SUBTREE);
    for (file, text) in [("io.weight", "default 100\n"), ("io.max", "")] {
        std::fs::write(subtree.join("a").join(file), text).unwrap();
        std::fs::write(subtree.join(file), text).unwrap();
    }
    let group = cgroups.open_existing("a").unwrap().unwrap();
    assert_eq!(group.limits().unwrap().io_weight, None, "what nobody changed is not told");
    assert!(!switched_on(root.path()) && !switched_on(&subtree));
    group.set(&Resources { io_weight: Some(1000), ..Resources::default() }).unwrap();
    assert!(switched_on(root.path()) && switched_on(&subtree));
    assert!(content(root.path(), "io.weight").starts_with("10000"), "{}", content(root.path(), "io.weight"));
    let lines =
        "8:0 rbps=1048576 wbps=max riops=max wiops=7\n254:0 rbps=2097152 wbps=max riops=max wiops=9\n";
    std::fs::write(subtree.join("a/io.max"), lines).unwrap();
    std::fs::write(subtree.join("a/io.weight"), "default 10000\n8:0 200\n").unwrap();
    let told = group.limits().unwrap();
    assert_eq!(told.io_weight, Some(1000));
    let told = told.io_max;
    assert_eq!((told.read_bps, told.write_bps, told.write_iops), (Some(1 << 20), None, Some(7)));
    assert!(cgroups.block_io_support().unwrap().max);
}

#[test]
fn newer_kernels_tell_more() {
    let (root, cgroups) = fake("cpu memory pids\n");
    let group = root.path().join(SUBTREE).join("a");
    let times = "usage_usec 30\nuser_usec 10\nsystem_usec 20\n";
    std::fs::write(group.join("memory.peak"), "8192\n").unwrap();
    std::fs::write(
        group.join("cpu.stat"),
        format!("{times}nr_periods 5\nnr_throttled 2\nthrottled_usec 7\nnr_bursts 0\n"),
    )
    .unwrap();
    let some = "some avg10=1.50 avg60=0.25 avg300=0.00 total=1500000\n";
    std::fs::write(group.join("memory.pressure"), some).unwrap();
    let stats = cgroups.open_existing("a").unwrap().unwrap().stats().unwrap();
    assert_eq!(stats.memory_peak, Some(8192));
    let throttling = Throttling { periods: 5, throttled_periods: 2, throttled_ns: 7000 };
    assert_eq!(stats.throttling, Some(throttling));
    let memory = stats.pressures.memory.unwrap();
    assert_eq!((memory.some.avg10, memory.some.total.as_millis(), memory.full), (1.5, 1500, None));
    assert_eq!((stats.pressures.cpu, stats.pressures.io), (None, None));
}

#[test]
fn killing_is_one_write() {
    let (root, cgroups) = fake("cpu memory pids\n");
    cgroups.open_existing("a").unwrap().unwrap().kill().unwrap();
    assert_eq!(content(root.path(), "cgroup.kill"), "1");
}

#[test]
fn controllers_are_switched_on_from_the_root_down() {
    let (root, _cgroups) = fake("cpu\n");
    for directory in [root.path().to_owned(), root.path().join(SUBTREE)] {
        assert_eq!(std::fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap(), "+cpu");
    }
}

#[test]
fn a_limit_without_its_controller_is_refused_and_a_missing_swap_file_is_not() {
    let (root, cgroups) = fake("memory\n");
    let group = cgroups.open_existing("a").unwrap().unwrap();
    let refused = group.set(&Resources { pids_max: Some(4), ..Resources::default() }).unwrap_err();
    assert!(refused.to_string().contains("pids"), "{refused}");
    assert!(group.counts_swap());
    std::fs::remove_file(root.path().join(SUBTREE).join("a/memory.swap.max")).unwrap();
    assert!(!group.counts_swap());
    for swap in [Swap::Counted, Swap::Unlimited] {
        group.set(&Resources { memory_bytes: Some(4096), swap, ..Resources::default() }).unwrap();
    }
}
