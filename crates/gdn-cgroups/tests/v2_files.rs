//! What is written to and read from a pure cgroup2 hierarchy. A host with v1 controllers cannot show it, so the hierarchy is a
//! directory with plain files in it: this proves names and values, not what a kernel does with them.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::path::Path;

use gdn_cgroups::{Cgroups, Layout, Mode, Resources, Swap};

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
    assert_eq!((stats.pids_current, stats.pids_max, stats.oom_kills), (3, 0, 1));
    assert_eq!(group.procs().unwrap(), [4, 5]);
    let limits = group.limits().unwrap();
    assert_eq!((limits.memory_bytes, limits.cpu_quota_us, limits.pids_max), (None, None, None));
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
    std::fs::remove_file(root.path().join(SUBTREE).join("a/memory.swap.max")).unwrap();
    for swap in [Swap::Counted, Swap::Unlimited] {
        group.set(&Resources { memory_bytes: Some(4096), swap, ..Resources::default() }).unwrap();
    }
}
