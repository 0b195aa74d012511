//! What a container sees: devices, mounts, masked files, groups of its own.

use std::fs;

use engine_tests::inside;
use serde_json::json;

use super::{Bed, script};

/// Conformance: G13-20, G22-26
#[test]
fn devices_are_those_that_programs_know() {
    let bed = Bed::start();
    let (plain, privileged) = (bed.create(json!({})), bed.create(json!({ "privileged": true })));
    let numbers = "cd /dev; stat -c '%n %F %t:%T' tty random urandom null zero full pts/ptmx";
    let expected: String =
        ["tty 5:0", "random 1:8", "urandom 1:9", "null 1:3", "zero 1:5", "full 1:7", "pts/ptmx 5:2"]
            .map(|device| device.replace(' ', " character special file ") + "\n")
            .concat();
    let links = "for name in fd stdin stdout stderr; do readlink /dev/$name; done";
    for handle in [&plain, &privileged] {
        assert_eq!(bed.said(handle, "", numbers), expected);
        assert_eq!(
            bed.said(handle, "", links),
            "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n"
        );
        let options = bed.said(handle, "", "awk '$2 == \"/dev/pts\" { print $3, $4 }' /proc/mounts");
        let (before, after) = options.split_once("gid=").unwrap_or_else(|| panic!("no group in {options}"));
        assert_eq!(before, "devpts rw,nosuid,noexec,relatime,");
        assert_eq!(after.split_once(',').unwrap().1, "mode=620,ptmxmode=666\n");
    }
    assert_eq!(bed.said(&privileged, "", "stat -c '%F %t:%T' /dev/fuse"), "character special file a:e5\n");
    bed.finish();
}

/// Conformance: G111-114
#[test]
fn what_tells_about_the_host_is_masked() {
    let bed = Bed::start();
    let handle = bed.create(json!({}));
    let names = "for name in kcore sched_debug timer_list keys timer_stats latency_stats; do \
                 test ! -e /proc/$name || stat -c '%n %F %t:%T' /proc/$name; done";
    let seen = bed.said(&handle, "", names);
    assert!(seen.contains("/proc/timer_list"), "{seen}");
    assert!(seen.lines().all(|line| line.ends_with("character special file 1:3")), "{seen}");
    let empty = "for d in /proc/scsi /sys/firmware; do test ! -e $d || ls -A $d; done";
    assert_eq!(bed.said(&handle, "", empty), "");
    bed.finish();
}

/// Conformance: G178-182, G184-187
#[test]
fn processes_mounts_and_groups_are_the_containers_own() {
    let bed = Bed::start();
    let (plain, privileged) = (bed.create(json!({})), bed.create(json!({ "privileged": true })));
    let names = bed.said(&plain, "", "for d in /proc/[0-9]*; do cat $d/comm; done");
    assert_eq!(names.lines().next(), Some("garden-init"));
    assert!(names.lines().skip(1).all(|name| ["sh", "cat"].contains(&name)), "{names}");
    // The fourth is the directory that ls reads.
    assert_eq!(bed.said(&plain, "", "exec ls /proc/self/fd"), "0\n1\n2\n3\n");
    assert_eq!(bed.said(&plain, "alice", "stat -c %a /tmp; touch /tmp/x && echo yes"), "1777\nyes\n");

    for handle in [&plain, &privileged] {
        let mounts = bed.said(handle, "", "awk '{ print $2, $3, $4 }' /proc/mounts");
        let of = |path: &str| {
            let line = mounts.lines().rev().find(|line| line.split(' ').next() == Some(path));
            line.unwrap_or_else(|| panic!("{path} not in {mounts}")).split_once(' ').unwrap().1.to_owned()
        };
        assert!(of("/dev/shm").starts_with("tmpfs "), "{mounts}");
        assert!(of("/sys").starts_with("sysfs ro,"), "{mounts}");
        assert_ne!(bed.run(handle, script("touch /sys/kernel/x")).status, Ok(0));
        if handle == &privileged {
            assert!(of("/proc").starts_with("proc rw,"), "{mounts}");
            // Those of version 2 are shown read-only to everyone: some programs read their limits there.
            let cgroups = mounts.lines().filter(|line| line.contains(" cgroup")).count();
            assert_eq!(cgroups, usize::from(!inside::cgroups_are_v1()), "{mounts}");
        }
    }

    let groups = |handle: &str| -> Vec<(String, String)> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", bed.engine.init_pid(handle))).unwrap();
        let line = |line: &str| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            Some((controllers.to_owned(), path.to_owned()))
        };
        text.lines().filter_map(line).collect()
    };
    let (one, other) = (groups(&plain), groups(&privileged));
    for controller in ["cpu", "cpuacct", "cpuset", "devices", "memory"] {
        let of = |groups: &[(String, String)]| {
            let found = groups.iter().find(|(names, _)| names.split(',').any(|name| name == controller));
            found.or(groups.iter().find(|(names, _)| names.is_empty())).unwrap().1.clone()
        };
        assert!(of(&one).contains(&bed.engine.mark()), "{controller}: {one:?}");
        assert_ne!(of(&one), of(&other), "{controller}");
    }
    bed.finish();
}
