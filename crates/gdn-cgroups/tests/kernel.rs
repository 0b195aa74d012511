//! On the control groups of this host; needs root. Every test has a subtree of its own and takes it away.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "ground/subtree.rs"]
mod ground;

use std::io::Read;
use std::path::PathBuf;
use std::process::Child;

use gdn_cgroups::{Cgroups, DevicePolicy, DeviceRule, Error, Layout, Resources, Swap, shares_to_weight};
use ground::{Subtree, eventually, let_go, waiting_shell};

/// The directories of a group in all mounted hierarchies.
fn directories(cgroups: &Cgroups, test: &str, name: &str) -> Vec<PathBuf> {
    let layout = Layout::detect().unwrap();
    let subtree = format!("gdn-test-{}-{test}", std::process::id());
    assert_eq!(cgroups.layout(), &layout);
    let mounts = layout.v1.into_iter().map(|v1| v1.mount).chain(layout.unified);
    mounts.map(|mount| mount.join(&subtree).join(name)).filter(|path| path.exists()).collect()
}

#[test]
fn limits_are_read_back_as_they_were_set() {
    let cgroups = Subtree::new("limits");
    let limits = Resources {
        memory_bytes: Some(64 << 20),
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        pids_max: Some(77),
        devices: DevicePolicy::Default,
        ..Resources::default()
    };
    let group = cgroups.create("a", &limits).unwrap();
    let read = group.limits().unwrap();
    assert_eq!(read.memory_bytes, Some(64 << 20));
    assert!(read.cpu_shares == Some(512) || read.cpu_weight == Some(shares_to_weight(512)), "{read:?}");
    assert_eq!((read.cpu_quota_us, read.cpu_period_us), (Some(50_000), Some(100_000)));
    assert_eq!(read.pids_max, Some(77));

    for bytes in [256 << 20, 16 << 20, u64::MAX, 32 << 20] {
        group.set(&Resources { memory_bytes: Some(bytes), ..Resources::default() }).unwrap();
        let expected = (bytes != u64::MAX).then_some(bytes);
        assert_eq!(group.limits().unwrap().memory_bytes, expected, "raised and lowered with its swap limit");
    }
}

#[test]
fn swap_is_limited_with_memory_or_not_at_all() {
    let cgroups = Subtree::new("swap");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let told = || {
        let read = |file: &str| {
            let mut places = directories(&cgroups, "swap", "a").into_iter().map(|place| place.join(file));
            places.find_map(|path| std::fs::read_to_string(path).ok())
        };
        match read("memory.memsw.limit_in_bytes") {
            // No limit is the largest number of pages.
            Some(sum) => Some(sum.trim().parse().unwrap()).filter(|sum: &u64| *sum < 1 << 62),
            None => match read("memory.swap.max").expect("this kernel counts swap").trim() {
                "max" => None,
                swap => Some(group.limits().unwrap().memory_bytes.unwrap() + swap.parse::<u64>().unwrap()),
            },
        }
    };
    use Swap::{Counted, Unlimited};
    for (mib, swap) in [(64, Counted), (128, Unlimited), (32, Unlimited), (16, Counted), (32, Counted)] {
        let bytes = mib << 20;
        group.set(&Resources { memory_bytes: Some(bytes), swap, ..Resources::default() }).unwrap();
        assert_eq!(group.limits().unwrap().memory_bytes, Some(bytes));
        assert_eq!(told(), (swap == Counted).then_some(bytes), "{mib} {swap:?}");
    }
}

#[test]
fn a_group_without_limits_has_none() {
    let cgroups = Subtree::new("none");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let read = group.limits().unwrap();
    assert_eq!((read.memory_bytes, read.cpu_quota_us, read.pids_max), (None, None, None));
    assert!(group.is_empty().unwrap());
    assert_eq!(group.stats().unwrap().pids_max, 0);
}

/// Open files of this process in the group.
fn open_files_of(name: &str) -> usize {
    let opened = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let target = std::fs::read_link(entry.unwrap().path()).ok()?;
        target.to_string_lossy().contains(&format!("{name}/")).then_some(())
    });
    opened.count()
}

#[test]
fn figures_are_those_of_now_and_a_removed_group_has_none_and_holds_no_file() {
    let cgroups = Subtree::new("again");
    let pids = |max| Resources { pids_max: Some(max), ..Resources::default() };
    let group = cgroups.create("again-and-again", &pids(7)).unwrap();
    assert_eq!(group.stats().unwrap().pids_max, 7);
    let held = open_files_of("again-and-again");
    assert!(held > 0, "figures are read from files that stay open");
    group.set(&pids(8)).unwrap();
    let mut child = waiting_shell("true");
    group.attach(child.id()).unwrap();
    let stats = group.stats().unwrap();
    assert_eq!((stats.pids_current, stats.pids_max), (1, 8));
    assert_eq!(open_files_of("again-and-again"), held);
    let_go(&mut child);
    child.wait().unwrap();

    cgroups.remove("again-and-again").unwrap();
    let error = group.stats().unwrap_err();
    assert!(matches!(&error, Error::Path { errno, .. } if errno.raw_os_error() == libc::ENOENT), "{error:?}");
    assert_eq!(open_files_of("again-and-again"), 0);
    let other = cgroups.create("again-and-again", &pids(9)).unwrap();
    assert_eq!(group.stats().unwrap().pids_max, 9, "it is known by its name");
    drop((group, other));
    assert_eq!(open_files_of("again-and-again"), 0);
}

#[test]
fn figures_are_the_same_where_no_file_can_stay_open() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let cgroups = Subtree::new("room");
    let group = cgroups.create("places", &Resources { pids_max: Some(7), ..Resources::default() }).unwrap();
    assert!(group.oom_kills().is_ok_and(|kills| kills == 0));
    assert_eq!(open_files_of("places"), 0, "only figures that are asked for again");
    // An eighth of it is two.
    setrlimit(Resource::Nofile, Rlimit { current: Some(23), ..getrlimit(Resource::Nofile) }).unwrap();
    for _ in 0..2 {
        assert_eq!(group.stats().unwrap().pids_max, 7);
        assert_eq!(open_files_of("places"), 2);
    }
}

#[test]
fn a_refused_value_names_file_and_value_and_leaves_no_group() {
    let cgroups = Subtree::new("refused");
    let limits = Resources { cpu_quota_us: Some(3), ..Resources::default() };
    match cgroups.create("a", &limits).unwrap_err() {
        Error::Value { path, value, errno } => {
            assert!(path.to_string_lossy().contains("/a/cpu."), "{path:?}");
            assert!(value.starts_with('3'));
            assert_eq!(errno.raw_os_error(), libc::EINVAL);
        }
        other => panic!("{other:?}"),
    }
    assert!(cgroups.list().unwrap().is_empty());
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    let cgroups = Subtree::new("names");
    let none = Resources::default();
    for name in [
        "",
        ".",
        "..",
        "a/",
        "a/..",
        "a/b/c",
        "/a",
        "keepers",
        "keepers/a",
        "a/tasks",
        "cgroup.procs",
        "memory.max",
        "tasks",
        "a\n",
        "ä",
    ] {
        assert!(matches!(cgroups.create(name, &none), Err(Error::InvalidName { .. })), "{name:?}");
    }
    assert!(matches!(Cgroups::open("../x"), Err(Error::InvalidName { .. })));
    assert!(matches!(cgroups.create(&"x".repeat(256), &none), Err(Error::InvalidName { .. })));
}

#[test]
fn groups_are_listed_opened_and_removed_any_number_of_times() {
    let cgroups = Subtree::new("list");
    cgroups.create("b", &Resources::default()).unwrap();
    cgroups.create("a", &Resources::default()).unwrap();
    cgroups.create("a", &Resources { pids_max: Some(9), ..Resources::default() }).unwrap();
    cgroups.keepers().unwrap();
    assert_eq!(cgroups.list().unwrap(), ["a", "b"]);
    assert_eq!(cgroups.open_existing("a").unwrap().unwrap().limits().unwrap().pids_max, Some(9));
    assert!(cgroups.open_existing("c").unwrap().is_none());
    cgroups.remove("a").unwrap();
    cgroups.remove("a").unwrap();
    assert_eq!(cgroups.list().unwrap(), ["b"]);
    assert!(directories(&cgroups, "list", "a").is_empty());
}

#[test]
fn a_group_in_a_group_shares_its_limits_and_is_counted_apart() {
    let cgroups = Subtree::new("inner");
    let missing = cgroups.create("a/b", &Resources::default()).unwrap_err();
    assert!(matches!(missing, Error::Path { .. }), "{missing:?}");
    let outer = cgroups.create("a", &Resources { pids_max: Some(9), ..Resources::default() }).unwrap();
    let inner = cgroups.create("a/b", &Resources::default()).unwrap();
    cgroups.create("a/c", &Resources::default()).unwrap();
    assert_eq!(cgroups.list_in("a").unwrap(), ["b", "c"]);
    assert_eq!(cgroups.list_in("nobody").unwrap(), Vec::<String>::new());
    let mut shell = waiting_shell("true");
    inner.attach(shell.id()).unwrap();
    assert_eq!(inner.procs().unwrap(), [shell.id()]);
    assert_eq!(outer.procs().unwrap(), [shell.id()], "those below count too");
    assert_eq!(outer.stats().unwrap().pids_current, 1);
    let counted = inner.stats().unwrap().pids_current;
    assert_eq!(counted, u64::from(!cgroups.v1_hierarchies().is_empty()), "version 2 does not count apart");
    inner.kill().unwrap();
    shell.wait().unwrap();
    cgroups.remove("a/b").unwrap();
    assert_eq!(cgroups.list_in("a").unwrap(), ["c"]);
    cgroups.remove("a").unwrap();
    assert!(directories(&cgroups, "inner", "a").is_empty());
}

#[test]
fn a_group_is_removed_with_the_groups_made_below_it() {
    let cgroups = Subtree::new("nested");
    cgroups.create("a", &Resources::default()).unwrap();
    let directories_of_a = directories(&cgroups, "nested", "a");
    assert_eq!(directories_of_a.len(), cgroups.v1_hierarchies().len() + 1, "{directories_of_a:?}");
    for directory in &directories_of_a {
        std::fs::create_dir_all(directory.join("x/y")).unwrap();
        std::fs::create_dir(directory.join("z")).unwrap();
    }
    cgroups.remove("a").unwrap();
    assert!(directories_of_a.iter().all(|directory| !directory.exists()));
}

#[test]
fn a_group_with_a_process_is_busy_until_it_is_killed() {
    let cgroups = Subtree::new("kill");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let mut child = waiting_shell("true");
    group.attach(child.id()).unwrap();
    assert_eq!(group.procs().unwrap(), [child.id()]);
    assert!(matches!(cgroups.try_remove("a"), Err(Error::Busy { .. })));
    let proc_cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    for hierarchy in cgroups.v1_hierarchies() {
        let line = proc_cgroup.lines().find(|line| line.contains(&format!(":{hierarchy}:"))).unwrap();
        assert!(line.ends_with("-kill/a"), "{line}");
    }
    group.kill().unwrap();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    cgroups.remove("a").unwrap();
    group.kill().unwrap();
}

#[test]
fn killing_reaches_the_groups_below() {
    let cgroups = Subtree::new("killdeep");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let mut child = waiting_shell("true");
    for directory in directories(&cgroups, "killdeep", "a") {
        std::fs::create_dir(directory.join("below")).unwrap();
        let cpuset = directory.join("cpuset.cpus");
        if cpuset.exists() {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                std::fs::copy(directory.join(file), directory.join("below").join(file)).unwrap();
            }
        }
        std::fs::write(directory.join("below/cgroup.procs"), child.id().to_string()).unwrap();
    }
    assert_eq!(group.procs().unwrap(), [child.id()]);
    group.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    cgroups.remove("a").unwrap();
}

#[test]
fn a_v1_layout_kills_through_freezer_and_pidfds() {
    let mut layout = Layout::detect().unwrap();
    if layout.v1.is_empty() {
        return;
    }
    layout.unified = None;
    let name = format!("gdn-test-{}-v1kill", std::process::id());
    let cgroups = Cgroups::open_in(layout, &name).unwrap();
    assert!(cgroups.v1_hierarchies().iter().any(|options| options == "freezer"));
    let group = cgroups.create("a", &Resources::default()).unwrap();
    assert!(group.unified_dir().is_none());
    let mut children: Vec<Child> = (0..5).map(|_| waiting_shell("true")).collect();
    for child in &children {
        group.attach(child.id()).unwrap();
    }
    group.kill().unwrap();
    for child in &mut children {
        assert!(!child.wait().unwrap().success());
    }
    eventually("the subtree can be removed", || cgroups.remove_all().is_ok());
}

#[test]
fn descriptors_let_another_process_join() {
    use std::os::fd::AsFd;
    let cgroups = Subtree::new("join");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let descriptors = group.attach_fds().unwrap();
    assert_eq!(descriptors.len(), cgroups.v1_hierarchies().len());
    let mut child = waiting_shell("true");
    for descriptor in &descriptors {
        rustix::io::write(descriptor.as_fd(), child.id().to_string().as_bytes()).unwrap();
    }
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    assert!(cgroup.matches("-join/a").count() >= descriptors.len(), "{cgroup}");
    let_go(&mut child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_process_over_the_task_limit_cannot_fork() {
    let cgroups = Subtree::new("pids");
    let group = cgroups.create("a", &Resources { pids_max: Some(1), ..Resources::default() }).unwrap();
    let mut child = waiting_shell("/bin/true; echo survived");
    group.attach(child.id()).unwrap();
    let stats = group.stats().unwrap();
    assert_eq!((stats.pids_current, stats.pids_max), (1, 1));
    let_go(&mut child);
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(complaint.to_lowercase().contains("fork"), "{complaint}");
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_process_over_the_memory_limit_is_killed_and_counted() {
    let cgroups = Subtree::new("oom");
    let group =
        cgroups.create("a", &Resources { memory_bytes: Some(8 << 20), ..Resources::default() }).unwrap();
    let watch = group.oom_watch().unwrap();
    assert!(!watch.fired().unwrap(), "nothing has happened yet");
    let mut child = waiting_shell("exec tail /dev/zero");
    group.attach(child.id()).unwrap();
    let_go(&mut child);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    eventually("the watch fires", || watch.fired().unwrap());
    eventually("the kill is counted", || group.stats().unwrap().oom_kills.unwrap() >= 1);
}

#[test]
fn figures_grow_with_use() {
    let cgroups = Subtree::new("stats");
    let group = cgroups.create("a", &Resources::default()).unwrap();
    let mut child = waiting_shell("while :; do :; done");
    group.attach(child.id()).unwrap();
    let_go(&mut child);
    eventually("processor time is counted", || group.stats().unwrap().cpu_usage_ns > 20_000_000);
    let stats = group.stats().unwrap();
    assert!(stats.cpu_user_ns + stats.cpu_system_ns > 0);
    assert!(stats.memory.len() > 10, "{:?}", stats.memory);
    group.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn only_the_usual_devices_can_be_opened() {
    let cgroups = Subtree::new("devices");
    let limits = Resources { devices: DevicePolicy::Default, ..Resources::default() };
    let group = cgroups.create("a", &limits).unwrap();
    assert_eq!(try_devices(&group), "null zero nokmsg nomem");
    group.set(&Resources { devices: DevicePolicy::Only(Vec::new()), ..Resources::default() }).unwrap();
    assert_eq!(try_devices(&group), "nonull nozero nokmsg nomem");
    group.set(&Resources { devices: operators_rules(), ..Resources::default() }).unwrap();
    assert_eq!(try_devices(&group), "null nozero kmsg nomem");
    group.set(&Resources { devices: DevicePolicy::AllowAll, ..Resources::default() }).unwrap();
    assert!(try_devices(&group).starts_with("null zero kmsg"));
}

/// What may be used by the operator's rules, the same on both versions: the first opens no more than is said.
fn operators_rules() -> DevicePolicy {
    let rules = ["c 1:11 r", "c 1:5 m"].map(|rule| rule.parse().unwrap());
    DevicePolicy::Only(DeviceRule::container_devices(&rules))
}

#[test]
fn the_v2_device_program_does_the_same_in_the_cgroup2_tree() {
    let mut layout = Layout::detect().unwrap();
    assert!(layout.unified.is_some(), "this test needs a cgroup2 mount");
    // Without the v1 hierarchies the program is what restricts devices, on this host too.
    layout.v1.clear();
    let name = format!("gdn-test-{}-bpf", std::process::id());
    let cgroups = Cgroups::open_in(layout, &name).unwrap();
    let limits = Resources { devices: DevicePolicy::Default, ..Resources::default() };
    let group = cgroups.create("a", &limits).unwrap();
    assert_eq!(try_devices(&group), "null zero nokmsg nomem");
    let only_zero: DeviceRule = DeviceRule::container_defaults().remove(3);
    group.set(&Resources { devices: DevicePolicy::Only(vec![only_zero]), ..Resources::default() }).unwrap();
    assert_eq!(try_devices(&group), "nonull zero nokmsg nomem");
    group.set(&Resources { devices: operators_rules(), ..Resources::default() }).unwrap();
    assert_eq!(try_devices(&group), "null nozero kmsg nomem");
    group.set(&Resources { devices: DevicePolicy::AllowAll, ..Resources::default() }).unwrap();
    assert!(try_devices(&group).starts_with("null zero kmsg"));
    eventually("the subtree can be removed", || cgroups.remove_all().is_ok());
}

/// Which of four devices a process of the group can open, by shell redirection; one that cannot be opened has "no" before
/// its name.
fn try_devices(group: &gdn_cgroups::Cgroup) -> String {
    let probe = "for d in null zero kmsg mem; do (: < /dev/$d) 2>&- && echo $d || echo no$d; done";
    let mut child = waiting_shell(probe);
    group.attach(child.id()).unwrap();
    let_go(&mut child);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}
