//! Control groups of this host. Needs root.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gdn_cgroups::{Cgroups, DevicePolicy, Resources};

fn engine(test: &str) -> Cgroups {
    Cgroups::open(&format!("gdn-test-{test}-{}", std::process::id())).unwrap()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn limits_are_read_back_as_they_were_set() {
    let cgroups = engine("limits");
    let resources = Resources {
        memory_bytes: Some(64 << 20),
        cpu_shares: Some(512),
        cpu_quota_us: Some(20_000),
        pids_max: Some(50),
        devices: DevicePolicy::Default,
    };
    let group = cgroups.create("box", &resources).unwrap();
    assert_eq!(group.limits().unwrap(), Resources { devices: DevicePolicy::Inherit, ..resources });
    group.set(&Resources { memory_bytes: Some(128 << 20), ..Resources::default() }).unwrap();
    assert_eq!(group.limits().unwrap().memory_bytes, Some(128 << 20));
    cgroups.remove("box").unwrap();
    cgroups.remove("box").unwrap();
    cgroups.remove_all().unwrap();
}

#[test]
fn a_refused_value_is_named() {
    let cgroups = engine("refused");
    let error =
        cgroups.create("box", &Resources { cpu_quota_us: Some(1), ..Resources::default() }).unwrap_err();
    assert!(error.to_string().contains("\"1"), "{error}");
    cgroups.remove_all().unwrap();
}

#[test]
fn a_group_kills_its_processes_and_nothing_else() {
    let cgroups = engine("kill");
    let group = cgroups.create("box", &Resources::default()).unwrap();
    let mut inside = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let mut outside = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    group.attach(inside.id()).unwrap();
    assert_eq!(group.procs().unwrap(), [inside.id()]);
    assert!(cgroups.remove("box").is_err(), "a group with a process cannot be removed");
    group.kill().unwrap();
    assert!(!inside.wait().unwrap().success());
    assert!(outside.try_wait().unwrap().is_none());
    outside.kill().unwrap();
    outside.wait().unwrap();
    until("the group becomes empty", || cgroups.remove("box").is_ok());
    cgroups.remove_all().unwrap();
}

#[test]
fn the_task_limit_holds_and_figures_are_read() {
    let cgroups = engine("pids");
    let group = cgroups.create("box", &Resources { pids_max: Some(3), ..Resources::default() }).unwrap();
    let script = "read go; for n in 1 2 3 4 5 6; do sleep 100 & done; wait";
    let mut shell =
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    group.attach(shell.id()).unwrap();
    std::io::Write::write_all(&mut shell.stdin.take().unwrap(), b"go\n").unwrap();
    until("the shell reaches its limit", || group.stats().unwrap().pids_current >= 3);
    assert_eq!(group.stats().unwrap().pids_max, 3);
    group.kill().unwrap();
    shell.wait().unwrap();
    assert!(group.stats().unwrap().cpu_usage_ns > 0);
    until("the group becomes empty", || cgroups.remove("box").is_ok());
    cgroups.remove_all().unwrap();
}

#[test]
fn groups_are_listed_and_found_again() {
    let cgroups = engine("list");
    cgroups.create("one", &Resources::default()).unwrap();
    cgroups.keepers().unwrap();
    assert_eq!(cgroups.list().unwrap(), ["one"]);
    assert!(cgroups.open_existing("one").unwrap().is_some());
    assert!(cgroups.open_existing("two").unwrap().is_none());
    cgroups.remove_all().unwrap();
}
