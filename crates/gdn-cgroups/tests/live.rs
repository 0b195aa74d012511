//! Limits of groups in use, and what their tasks waited for; on the control groups of this host, as root.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "ground/subtree.rs"]
mod ground;

use std::process::Child;

use gdn_cgroups::{Cgroup, Error, IoMax, Mode, Resources};
use ground::{Subtree, eventually, let_go, waiting_shell};

const MIB: u64 = 1 << 20;

/// A process of the group that holds some 24 MiB of memory until it is killed.
fn hold_memory(group: &Cgroup) -> Child {
    let mut child = waiting_shell("exec perl -e '$n = 24; $x = q(x) x ($n << 20); sleep'");
    group.attach(child.id()).unwrap();
    let_go(&mut child);
    child
}

fn memory(bytes: u64) -> Resources {
    Resources { memory_bytes: Some(bytes), ..Resources::default() }
}

#[test]
fn limits_of_a_group_in_use_change_and_are_read_back() {
    let cgroups = Subtree::new("update");
    let group = cgroups.create("a", &memory(64 * MIB)).unwrap();
    let mut child = waiting_shell("read never");
    group.attach(child.id()).unwrap();
    let change = Resources {
        memory_bytes: Some(32 * MIB),
        cpu_quota_us: Some(20_000),
        pids_max: Some(12),
        ..Resources::default()
    };
    let read = group.update(&change).unwrap();
    assert_eq!(
        (read.memory_bytes, read.cpu_quota_us, read.pids_max),
        (Some(32 * MIB), Some(20_000), Some(12))
    );
    let read = group.update(&memory(128 * MIB)).unwrap();
    assert_eq!((read.memory_bytes, read.pids_max), (Some(128 * MIB), Some(12)), "the others stay");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn memory_is_not_limited_below_what_is_in_use_and_nothing_is_killed() {
    let cgroups = Subtree::new("below");
    let group = cgroups.create("a", &memory(128 * MIB)).unwrap();
    let mut child = hold_memory(&group);
    eventually("memory is in use", || group.stats().unwrap().memory_toward_limit > 20 * MIB);
    let change = Resources { pids_max: Some(3), ..memory(8 * MIB) };
    match group.update(&change).unwrap_err() {
        // Files that the program read count towards the limit, and not to what is in use.
        Error::BelowUsage { limit, usage, .. } => assert!(limit == 8 * MIB && usage > limit, "{usage}"),
        other => panic!("{other:?}"),
    }
    let read = group.limits().unwrap();
    assert_eq!((read.memory_bytes, read.pids_max), (Some(128 * MIB), None), "nothing is changed");
    assert_eq!(group.oom_kills().unwrap(), 0);
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn swap_and_memory_together_are_limited_to_the_memory_limit() {
    let cgroups = Subtree::new("swap");
    let group = cgroups.create("a", &memory(16 * MIB)).unwrap();
    let subtree = format!("gdn-test-{}-swap/a", std::process::id());
    let layout = cgroups.layout();
    let (file, expected) = match cgroups.mode() {
        Mode::V2 => (layout.unified.clone().unwrap().join(subtree).join("memory.swap.max"), "0".to_owned()),
        _ => {
            let memory =
                layout.v1.iter().find(|v1| v1.options.iter().any(|option| option == "memory")).unwrap();
            (memory.mount.join(subtree).join("memory.memsw.limit_in_bytes"), (16 * MIB).to_string())
        }
    };
    // A kernel without swap accounting has no such file, and nothing that could be limited.
    if file.exists() {
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), expected);
    }
    assert_eq!(group.limits().unwrap().memory_bytes, Some(16 * MIB));
}

#[test]
fn block_io_is_weighed_where_the_kernel_can() {
    let cgroups = Subtree::new("io");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let weighed = |weight| group.update(&Resources { io_weight: Some(weight), ..Resources::default() });
    for weight in [9, 1001] {
        assert_eq!(weighed(weight).unwrap_err(), Error::IoWeight { weight });
    }
    if cgroups.block_io_support().unwrap().weight {
        for weight in [10, 500, 1000] {
            assert_eq!(weighed(weight).unwrap().io_weight, Some(weight));
        }
    } else {
        let refused = weighed(500).unwrap_err();
        let named = matches!(refused, Error::NoController { .. } | Error::NoControlFile { .. });
        assert!(named, "{refused:?}");
    }
}

#[test]
fn block_io_is_limited_on_all_disks_and_a_limit_can_be_taken_away() {
    let cgroups = Subtree::new("iomax");
    let most = IoMax { read_bps: Some(5 * MIB), write_iops: Some(u64::MAX - 1), ..IoMax::default() };
    let limits = Resources { io_max: most, ..Resources::default() };
    if !cgroups.block_io_support().unwrap().max {
        let refused = cgroups.create("a", &limits).unwrap_err();
        let named = matches!(
            refused,
            Error::NoController { .. } | Error::NoControlFile { .. } | Error::NoBlockDevice
        );
        assert!(named, "{refused:?}");
        return;
    }
    let group = cgroups.create("a", &limits).unwrap();
    let told = group.limits().unwrap().io_max;
    assert_eq!((told.read_bps, told.write_bps, told.read_iops), (Some(5 * MIB), None, None));
    assert_eq!(told.write_iops, Some(u64::from(u32::MAX) - 1), "more than the kernel counts is its most");
    let change = IoMax { read_bps: Some(u64::MAX), write_bps: Some(MIB), ..IoMax::default() };
    let told = group.update(&Resources { io_max: change, ..Resources::default() }).unwrap().io_max;
    assert_eq!(
        (told.read_bps, told.write_bps),
        (None, Some(MIB)),
        "one went, one came, one stayed: {told:?}"
    );
    assert!(told.write_iops.is_some());
}

/// Where `/proc` says that a process limits its block I/O; `None` where v2 does it.
fn block_io_group(pid: u32) -> Option<String> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    groups.lines().find_map(|line| line.split_once(":blkio:").map(|(_, path)| path.to_owned()))
}

#[test]
fn processes_and_their_parent_join_a_group_that_comes_to_be_limited_and_the_parent_is_left_over() {
    let cgroups = Subtree::new("iojoin");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let (mut parent, mut child) = (waiting_shell("read never"), waiting_shell("read never"));
    group.attach(child.id()).unwrap();
    group.join_block_io(Some(parent.id())).unwrap();
    let ours = |pid| block_io_group(pid).is_some_and(|path| path.ends_with("-iojoin/a"));
    assert!(!ours(child.id()) && !ours(parent.id()), "nothing is limited yet");
    if cgroups.block_io_support().unwrap().max && block_io_group(child.id()).is_some() {
        let most = IoMax { read_bps: Some(MIB), ..IoMax::default() };
        group.set(&Resources { io_max: most, ..Resources::default() }).unwrap();
        group.join_block_io(Some(parent.id())).unwrap();
        assert!(ours(child.id()) && ours(parent.id()));
    }
    group.kill().unwrap();
    child.wait().unwrap();
    // The parent lives, and hinders nothing.
    cgroups.remove("a").unwrap();
    assert!(parent.try_wait().unwrap().is_none() && cgroups.list().unwrap().is_empty());
    parent.kill().unwrap();
    parent.wait().unwrap();
}

#[test]
fn a_group_at_its_quota_is_seen_to_be_held_back() {
    let cgroups = Subtree::new("throttle");
    let limits = Resources { cpu_quota_us: Some(2_000), ..Resources::default() };
    let group = cgroups.create("a", &limits).unwrap();
    let throttling = || group.throttling().unwrap().expect("this kernel has quotas");
    assert_eq!(throttling().throttled_periods, 0);
    let mut child = waiting_shell("while :; do :; done");
    group.attach(child.id()).unwrap();
    let_go(&mut child);
    eventually("it is held back", || throttling().throttled_periods > 2);
    eventually("the time is counted", || group.stats().unwrap().throttling.unwrap().throttled_ns > 0);
    let seen = throttling();
    assert!(seen.periods >= seen.throttled_periods, "{seen:?}");
    group.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn waiting_for_a_processor_is_told_where_the_kernel_counts_it() {
    let cgroups = Subtree::new("pressure");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let pressures = group.pressures().unwrap();
    let is_counted = std::path::Path::new("/proc/pressure/cpu").exists();
    assert_eq!(
        (pressures.cpu.is_some(), pressures.memory.is_some(), pressures.io.is_some()),
        (is_counted, is_counted, is_counted)
    );
    if !is_counted {
        return;
    }
    // More busy loops than processors: one of them waits at any time.
    let count = std::thread::available_parallelism().unwrap().get() * 2;
    let mut children: Vec<Child> = (0..count).map(|_| waiting_shell("while :; do :; done")).collect();
    for child in &mut children {
        group.attach(child.id()).unwrap();
        let_go(child);
    }
    eventually("waiting is counted", || !group.pressures().unwrap().cpu.unwrap().some.total.is_zero());
    group.kill().unwrap();
    for child in &mut children {
        child.wait().unwrap();
    }
}
