//! The oracle is only worth something if it sees: one leak of every kind is planted on the real host, must be reported,
//! and must be gone from the report once it is removed. Needs root.

#![allow(clippy::unwrap_used, reason = "a test that cannot plant its leak has failed")]

#[path = "leak_oracle/plants.rs"]
mod plants;

use std::time::{Duration, Instant};

use gdn_testkit::leak::{Change, DEADLINE, Kind, Leak, Scope, Snapshot, wait_until_equal};
use plants::Plant;

/// Plants a leak, expects exactly it to be reported, removes it, and expects the host to be as before.
fn is_reported_until_removed(scope: &Scope, kind: Kind, name: &str, plant: impl FnOnce() -> Plant) {
    let before = Snapshot::take(scope).unwrap();
    let planted = plant();
    let found = wait_for(|| {
        let leaks = before.diff(&Snapshot::take(scope).unwrap());
        leaks
            .into_iter()
            .find(|leak| leak.kind == kind && (leak.name.contains(name) || leak.detail.contains(name)))
    });
    assert_eq!(found.change, Change::Left, "{found}");
    drop(planted);
    wait_until_equal(&before, scope, DEADLINE)
        .unwrap_or_else(|leaks| panic!("after the removal of {name}:\n{leaks}"));
}

fn wait_for(mut look: impl FnMut() -> Option<Leak>) -> Leak {
    let end = Instant::now() + DEADLINE;
    loop {
        match look() {
            Some(leak) => return leak,
            None if Instant::now() > end => panic!("the planted leak was not reported"),
            None => std::thread::park_timeout(Duration::from_millis(10)),
        }
    }
}

/// A word that only this test's objects carry, and a scope that sees only them.
fn mark(test: &str) -> (String, Scope) {
    let mark = format!("leaktest-{test}-{}", std::process::id());
    (mark.clone(), Scope::engine(mark))
}

#[test]
fn a_mount_is_reported() {
    let (mark, scope) = mark("mount");
    is_reported_until_removed(&scope.only(&[Kind::Mount]), Kind::Mount, &mark, || plants::mount(&mark));
}

#[test]
fn a_second_mount_on_top_of_the_first_is_reported() {
    let (mark, scope) = mark("stacked");
    let _first = plants::mount(&mark);
    is_reported_until_removed(&scope.only(&[Kind::Mount]), Kind::Mount, "#2", || plants::mount(&mark));
}

#[test]
fn a_process_is_reported() {
    let (mark, scope) = mark("process");
    is_reported_until_removed(&scope, Kind::Process, "sleep", || plants::process(&mark));
}

#[test]
fn a_zombie_is_reported() {
    let (mark, scope) = mark("zombie");
    is_reported_until_removed(&scope, Kind::Process, "state Z", || plants::zombie(&mark));
}

#[test]
fn a_network_namespace_held_by_a_process_is_reported() {
    let (mark, scope) = mark("netns");
    is_reported_until_removed(&scope, Kind::Namespace, "net ", || plants::namespace(&mark));
}

#[test]
fn a_network_namespace_held_by_a_descriptor_alone_is_reported() {
    let (mark, scope) = mark("netnsfd");
    is_reported_until_removed(&scope.only(&[Kind::Namespace]), Kind::Namespace, "net ", || {
        plants::namespace_descriptor(&mark)
    });
}

#[test]
fn a_named_network_namespace_is_reported() {
    let (mark, scope) = mark("named");
    is_reported_until_removed(&scope, Kind::NamedNetns, &mark, || plants::named_netns(&mark));
}

#[test]
fn a_network_link_is_reported() {
    let name = format!("lk{}", std::process::id());
    let scope = Scope::engine(&name);
    is_reported_until_removed(&scope, Kind::Link, &name, || plants::link(&name));
}

#[test]
fn a_cgroup_is_reported_in_every_hierarchy() {
    let hierarchies = plants::cgroup_hierarchies();
    assert!(!hierarchies.is_empty(), "this host has no cgroups");
    for hierarchy in hierarchies {
        let (mark, scope) = mark("cgroup");
        let directory = hierarchy.join(mark).join("inner");
        is_reported_until_removed(&scope, Kind::Cgroup, directory.to_str().unwrap(), || {
            plants::directories(&directory)
        });
    }
}

#[test]
fn a_loop_device_is_reported() {
    let (mark, scope) = mark("loop");
    is_reported_until_removed(&scope.only(&[Kind::LoopDevice]), Kind::LoopDevice, &mark, || {
        plants::loop_device(&mark)
    });
}

#[test]
fn files_directories_links_and_fifos_below_a_root_are_reported() {
    let root = tempfile::tempdir().unwrap();
    let scope = Scope::engine("nothing").below(root.path()).only(&[Kind::File]);
    for kind in ["file", "directory", "link", "fifo", "socket"] {
        is_reported_until_removed(&scope, Kind::File, &format!("{kind} /"), || {
            plants::file(root.path(), kind)
        });
    }
}

#[test]
fn a_file_that_is_taken_away_is_reported_as_taken() {
    let root = tempfile::tempdir().unwrap();
    let scope = Scope::engine("nothing").below(root.path()).only(&[Kind::File]);
    let planted = plants::file(root.path(), "file");
    let before = Snapshot::take(&scope).unwrap();
    drop(planted);
    let leaks = before.diff(&Snapshot::take(&scope).unwrap());
    assert!(leaks.len() == 1 && leaks[0].change == Change::Taken, "{leaks:?}");
}

#[test]
fn unix_sockets_by_path_and_by_abstract_name_are_reported() {
    let (mark, scope) = mark("socket");
    is_reported_until_removed(&scope, Kind::UnixSocket, &format!("@{mark}"), || {
        plants::abstract_socket(&mark)
    });
    is_reported_until_removed(&scope, Kind::UnixSocket, &mark, || plants::socket(&mark));
}

#[test]
fn each_sort_of_system_v_object_is_reported() {
    // These carry no name, so other tests' objects would be seen: the planted one is looked for by its id.
    for (sort, option) in [("msg", "-Q"), ("sem", "-S"), ("shm", "-M")] {
        let before = Snapshot::take(&Scope::host().only(&[Kind::SysvIpc])).unwrap();
        let planted = plants::sysv(option);
        let name = format!("{sort} {}", planted.id());
        let is_there = || {
            let after = Snapshot::take(&Scope::host().only(&[Kind::SysvIpc])).unwrap();
            before.diff(&after).iter().any(|leak| leak.name == name && leak.change == Change::Left)
        };
        assert!(is_there(), "{name}");
        drop(planted);
        assert!(!is_there(), "{name}");
    }
}

#[test]
fn shared_memory_is_reported() {
    let (mark, scope) = mark("shm");
    is_reported_until_removed(&scope, Kind::SharedMemory, &mark, || plants::shared_memory(&mark));
}

#[test]
fn a_key_is_reported() {
    let (mark, scope) = mark("key");
    is_reported_until_removed(&scope, Kind::Key, &mark, || plants::key(&mark));
}

#[test]
fn an_ignored_word_mutes_what_carries_it() {
    let (mark, scope) = mark("ignored");
    let scope = scope.only(&[Kind::SharedMemory]).ignoring("ignored");
    let before = Snapshot::take(&scope).unwrap();
    let _planted = plants::shared_memory(&mark);
    assert_eq!(before.diff(&Snapshot::take(&scope).unwrap()), Vec::new());
}

#[test]
fn a_snapshot_survives_being_written_down() {
    let scope = Scope::host().only(&[Kind::Mount, Kind::Link, Kind::Cgroup]);
    let snapshot = Snapshot::take(&scope).unwrap();
    assert!(!snapshot.is_empty());
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot);
}
