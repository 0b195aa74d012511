//! The host was restarted: another boot id, and nothing of the kernel's is left.

use std::fs;
use std::path::Path;
use std::process::Command;

use engine_tests::{Engine, binary, images, inside, until};
use rustix::process::{Pid, Signal};

mod network;

/// A boot id that no kernel has.
const OTHER_BOOT: &str = "00000000-0000-4000-8000-000000000000\n";

/// Takes all kernel objects of a stopped engine, as a restart of the host does.
fn restart_host(engine: &Engine) {
    let mark = format!("/{}", engine.mark());
    let end = || {
        let left = inside::processes_in_cgroups(&mark);
        for pid in &left {
            // It may have ended by now.
            let _ = rustix::process::kill_process(
                Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap(),
                Signal::KILL,
            );
        }
        left.is_empty()
    };
    until("every process of the engine to end", end);
    for tree in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        remove_groups(&tree.path().join(engine.mark()));
    }
    remove_groups(&Path::new("/sys/fs/cgroup").join(engine.mark()));
}

fn remove_groups(group: &Path) {
    let Ok(below) = fs::read_dir(group) else { return };
    below.flatten().filter(|entry| entry.path().is_dir()).for_each(|entry| remove_groups(&entry.path()));
    until("a cgroup to be removed", || fs::remove_dir(group).is_ok());
}

/// The server as it would start after a restart of the host.
fn start_after_reboot(engine: &mut Engine, options: &[&str]) {
    let command = after_reboot(engine, Command::new("unshare"), options);
    engine.start_server_by(command);
}

/// A command that becomes such a server, made of one that runs `unshare`.
fn after_reboot(engine: &Engine, mut unshare: Command, options: &[&str]) -> Command {
    let boot_id = engine.scratch().join("boot_id");
    fs::write(&boot_id, OTHER_BOOT).unwrap();
    // The kernel lets a user namespace mount /proc only where a whole one is in sight already.
    let whole = engine.scratch().join("proc");
    fs::create_dir_all(&whole).unwrap();
    let script = format!(
        "mount -t proc proc {} && mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$0\" \"$@\"",
        images::path_text(&whole),
        images::path_text(&boot_id)
    );
    unshare.args(["--mount", "--propagation", "slave", "/bin/sh", "-c", &script]).arg(binary());
    unshare.args(engine.server_arguments(options));
    unshare
}

fn engine_with_containers(handles: &[&str]) -> Engine {
    let mut engine = Engine::start();
    for handle in handles {
        engine.create(&["--handle", handle, "--property", "kept=yes"]);
        engine.shell(handle, "echo kept > /tmp/file").expect_status(0);
    }
    engine.kill_server();
    restart_host(&engine);
    engine
}

#[test]
fn after_a_restart_of_the_host_containers_are_lost_and_can_be_inspected_and_destroyed() {
    let mut engine = engine_with_containers(&["one", "two"]);
    start_after_reboot(&mut engine, &[]);
    let listed = engine.gdn(["--format", "json", "list"]).expect_status(0).text();
    for handle in ["one", "two"] {
        assert!(listed.contains(handle), "{listed}");
        let info = engine.inspect(handle);
        assert_eq!(info["state"], "lost", "{info}");
        assert_eq!(info["properties"]["kept"], "yes");
        let told = engine.garden().info(handle);
        assert_eq!((&told["State"], &told["Reason"]), (&info["state"], &info["reason"]), "{told}");
        assert!(told["Reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{told}");
        let refused = engine.gdn(["exec", handle, "true"]).expect_status(125).expect_error("lost");
        assert!(refused.stderr.contains(handle), "{}", refused.stderr);
        engine.gdn(["property", "set", handle, "more", "yes"]).expect_status(0);
    }
    engine.create(&["--handle", "new"]);
    engine.shell("new", "true").expect_status(0);
    // A lost container keeps its name.
    engine.gdn(["create", "--handle", "one", "--image", engine.image()]).expect_error("one");
    engine.gdn(["destroy", "one"]).expect_status(0);
    engine.create(&["--handle", "one"]);
    engine.shell("one", "test ! -e /tmp/file").expect_status(0);
    engine.finish();
}

#[test]
fn what_a_lost_container_cannot_do_any_more_is_refused_as_that() {
    let mut engine = engine_with_containers(&["one"]);
    start_after_reboot(&mut engine, &[]);
    let out = images::path_text(&engine.scratch().join("file"));
    for words in [&["exec", "one", "true"][..], &["stop", "one"], &["cp", &out, "one:/tmp"]] {
        fs::write(&out, "x").unwrap();
        engine.gdn(words).expect_error("lost");
    }
    engine.finish();
}

#[test]
fn the_files_of_a_lost_container_can_still_be_copied_out() {
    let mut engine = engine_with_containers(&["one"]);
    start_after_reboot(&mut engine, &[]);
    let out = engine.scratch().join("out");
    engine.gdn(["cp", "one:/tmp/file", &images::path_text(&out)]).expect_status(0);
    assert_eq!(fs::read_to_string(&out).unwrap(), "kept\n");
    engine.gdn(["cp", "one:/nonesuch", &images::path_text(&out)]).expect_error("nonesuch");
    assert_eq!(engine.inspect("one")["state"], "lost");
    engine.finish();
}

#[test]
fn the_files_of_a_lost_container_with_host_ids_of_its_own_are_still_its_own() {
    let mut engine = Engine::new();
    engine.start_server(&["--uid-range-pool", "100000:200000"]);
    let handle = engine.create(&[]);
    engine.shell(&handle, "umask 077; echo kept > /tmp/file").expect_status(0);
    engine.kill_server();
    restart_host(&engine);
    start_after_reboot(&mut engine, &["--uid-range-pool", "100000:200000"]);
    let out = engine.scratch().join("out");
    engine.gdn(["cp", &format!("{handle}:/tmp/file"), &images::path_text(&out)]).expect_status(0);
    assert_eq!(fs::read_to_string(&out).unwrap(), "kept\n");
    // Nobody else gets its ids.
    let other = engine.create(&[]);
    assert_eq!(engine.inspect(&handle)["host_ids"]["first"], 100_000);
    assert_eq!(engine.inspect(&other)["host_ids"]["first"], 165_536);
    engine.finish();
}

#[test]
fn a_server_told_to_destroy_after_a_restart_does() {
    let mut engine = engine_with_containers(&["one", "two"]);
    start_after_reboot(&mut engine, &["--after-reboot", "destroy"]);
    until("the lost containers to be gone", || engine.handles().is_empty());
    engine.create(&["--handle", "one"]);
    engine.finish();
}

#[test]
fn a_container_whose_keeper_is_killed_is_lost_and_can_be_destroyed() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let init = engine.init_pid(&handle);
    let keeper = Pid::from_raw(inside::parent(init).cast_signed()).unwrap();
    rustix::process::kill_process(keeper, Signal::KILL).unwrap();
    until("the container to be lost", || engine.inspect(&handle)["state"] == "lost");
    until("its first process to die", || !inside::lives(init));
    engine.gdn(["exec", &handle, "true"]).expect_status(125).expect_error("lost");
    engine.finish();
}
