//! What cannot be ended or removed for a while holds up only itself, and goes as soon as it can.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use engine_tests::mounts::{Frozen, Mounts};
use engine_tests::session::script;
use engine_tests::{Engine, PATIENCE, inside, until, until_some};
use gdn_client::Client;
use gdn_types::{BindMode, BindMount, ContainerInfo, ContainerSpec, ErrorKind, Handle, LifeState, Result};

/// A container that can write to a directory of the host, at `/mnt`.
fn writer(engine: &Engine, directory: &Path, privileged: bool) -> Handle {
    let bind_mounts = vec![BindMount::new(directory, "/mnt", BindMode::ReadWrite).unwrap()];
    engine.create_from(ContainerSpec { privileged, bind_mounts, ..ContainerSpec::default() })
}

/// Starts a process that writes to a frozen file system, and tells its pid once it waits for that.
fn stick(engine: &Engine, handle: &Handle) -> u32 {
    let init = engine.init_pid(handle.as_str());
    engine.with_client(async |client| client.run(handle, script("echo x > /mnt/new")).await.unwrap());
    until_some("the process to be stuck", || {
        inside::processes_beside(init).into_iter().find(|pid| inside::is_uninterruptible(*pid))
    })
}

fn info(engine: &Engine, handle: &Handle) -> ContainerInfo {
    engine.with_client(async |client| client.info(handle).await.unwrap())
}

/// What a client is told that asks for a destroy.
#[track_caller]
fn try_destroy(engine: &Engine, handle: &Handle) -> Result<()> {
    let answer = async |client: Client| tokio::time::timeout(PATIENCE, client.destroy(handle)).await;
    engine.with_client(answer).unwrap_or_else(|_| panic!("the destroy did not come back within {PATIENCE:?}"))
}

/// The whole life of a container.
#[track_caller]
fn live(engine: &Engine) {
    let handle = engine.create(&[]);
    engine.shell(&handle, "echo x > /tmp/new").expect_status(0);
    engine.gdn(["destroy", &handle]).expect_status(0);
}

/// Neither a neighbour that was there before, nor one that comes, nor a server that starts waits for it. Its own destroy comes
/// back and says what stands in the way, and when nothing does any more it goes without being asked for again.
fn holds_up_only_its_own_destroy(privileged: bool) {
    let mut mounts = Mounts::new();
    let disk = mounts.disk("disk");
    let mut engine = Engine::start();
    let (handle, neighbour) = (writer(&engine, &disk, privileged), engine.create(&[]));
    let frozen = Frozen::at(&disk);
    let stuck = stick(&engine, &handle);

    let mut destroy = engine.begin(["destroy", handle.as_str()]);
    until("the destroy to have begun", || info(&engine, &handle).state == LifeState::Destroying);
    until("the destroy to come back", || {
        live(&engine);
        engine.shell(&neighbour, "true").expect_status(0);
        !destroy.runs()
    });
    destroy.finish().expect_error("is still in use");
    let expect_stuck = |engine: &Engine| {
        let told = info(engine, &handle);
        assert_eq!(told.state, LifeState::Destroying);
        assert!(!told.reason.is_empty());
        assert!(engine.handles().contains(&handle.to_string()));
        assert!(!engine.gdn(["list", "-q"]).expect_status(0).text().contains(handle.as_str()));
        assert!(inside::is_uninterruptible(stuck), "what holds it up went away");
        told.reason
    };
    let reason = expect_stuck(&engine);
    assert!(reason.contains("is still in use"), "{reason}");
    // Its handle is taken as long as it is there, and nothing can be started in it.
    engine.gdn(["create", "--image", engine.image(), "--handle", handle.as_str()]).expect_error("already");
    engine.shell(handle.as_str(), "true").expect_error("destroy");

    engine.kill_server();
    engine.start_server(&[]);
    engine.shell(&neighbour, "true").expect_status(0);
    live(&engine);
    expect_stuck(&engine);

    frozen.thaw();
    until("the container to be gone", || engine.handles() == [neighbour.as_str()]);
    engine.shell(&neighbour, "true").expect_status(0);
    engine.finish();
}

#[test]
fn a_process_that_no_signal_ends_holds_up_only_its_own_destroy() {
    holds_up_only_its_own_destroy(false);
}

#[test]
fn a_process_that_no_signal_ends_holds_up_only_its_own_destroy_also_when_privileged() {
    holds_up_only_its_own_destroy(true);
}

/// Conformance: Q106
///
/// A client that asks again is told again, and once it can be done it is done.
#[test]
fn a_destroy_that_could_not_be_done_can_be_asked_for_again() {
    let mut mounts = Mounts::new();
    let disk = mounts.disk("disk");
    let engine = Engine::start();
    let handle = writer(&engine, &disk, false);
    let frozen = Frozen::at(&disk);
    let stuck = stick(&engine, &handle);
    let destroy = || try_destroy(&engine, &handle);
    for _ in 0..2 {
        let refused = destroy().unwrap_err();
        // The one that goes on in the background may be at it.
        let under_way = refused.kind() == ErrorKind::BeingDestroyed;
        assert!(under_way || refused.report().contains("is still in use"), "{}", refused.report());
        assert!(inside::is_uninterruptible(stuck));
    }
    frozen.thaw();
    until("the destroy to succeed", || match destroy() {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::ContainerNotFound,
    });
    assert!(engine.handles().is_empty());
    engine.finish();
}

/// What holds a destroy up is the container's, not the engine's: clients are told that it took too long, not that the engine
/// has a fault.
#[test]
fn a_destroy_that_is_held_up_is_not_told_as_a_fault_of_the_engine() {
    let mut mounts = Mounts::new();
    let disk = mounts.disk("disk");
    let engine = Engine::start();
    let handle = writer(&engine, &disk, false);
    let frozen = Frozen::at(&disk);
    stick(&engine, &handle);
    let refused = try_destroy(&engine, &handle).unwrap_err();
    frozen.thaw();
    assert_eq!(refused.kind(), ErrorKind::DeadlineExceeded, "{}", refused.report());
    until("the container to be gone", || engine.handles().is_empty());
    engine.finish();
}

/// A server that is started waits for none of them, so it does not wait for many of them either.
#[test]
fn many_stuck_containers_do_not_keep_a_server_from_starting() {
    const STUCK: usize = 8;
    let mut mounts = Mounts::new();
    let disk = mounts.disk("disk");
    let mut engine = Engine::start();
    let neighbour = engine.create(&[]);
    let handles: Vec<Handle> = (0..STUCK).map(|_| writer(&engine, &disk, false)).collect();
    let frozen = Frozen::at(&disk);
    let stuck: Vec<u32> = handles.iter().map(|handle| stick(&engine, handle)).collect();
    let mut destroys: Vec<_> =
        handles.iter().map(|handle| engine.begin(["destroy", handle.as_str()])).collect();
    until("the destroys to come back", || {
        live(&engine);
        !destroys.iter_mut().any(|destroy| destroy.runs())
    });
    for destroy in destroys {
        destroy.finish().expect_error("is still in use");
    }
    engine.shell(&neighbour, "true").expect_status(0);

    engine.kill_server();
    engine.start_server(&[]);
    engine.shell(&neighbour, "true").expect_status(0);
    live(&engine);
    assert!(stuck.into_iter().all(inside::is_uninterruptible), "what holds them up went away");
    frozen.thaw();
    until("the containers to be gone", || engine.handles() == [neighbour.as_str()]);
    engine.finish();
}

/// A working directory is to be made where writers wait: neither the engine waits for that nor the rest of the container.
#[test]
fn a_start_that_waits_for_a_file_system_holds_up_no_other() {
    const STARTS: usize = 3;
    let mut mounts = Mounts::new();
    let disk = mounts.disk("disk");
    let engine = Engine::start();
    let (handle, neighbour) = (writer(&engine, &disk, false), engine.create(&[]));
    let frozen = Frozen::at(&disk);
    let begin = |_| engine.begin(["exec", "--dir", "/mnt/dir/new", handle.as_str(), "pwd"]);
    let mut starts: Vec<_> = (0..STARTS).map(begin).collect();
    let init = engine.init_pid(handle.as_str());
    let stuck = || inside::processes_beside(init).into_iter().filter(|pid| inside::is_uninterruptible(*pid));
    until("the starts to be stuck", || stuck().count() == STARTS);
    engine.shell(handle.as_str(), "true").expect_status(0);
    engine.shell(&neighbour, "true").expect_status(0);
    live(&engine);
    assert!(starts.iter_mut().all(|start| start.runs()) && stuck().count() == STARTS);
    frozen.thaw();
    for start in starts {
        assert_eq!(start.finish().expect_status(0).text(), "/mnt/dir/new\n");
    }
    engine.finish();
}

/// The same for creates: places for mounts are made on a file system that waits.
#[test]
fn creates_that_wait_for_a_file_system_hold_up_no_other_and_outlive_no_server() {
    const CREATES: usize = 3;
    let mut mounts = Mounts::new();
    let (disk, other) = (mounts.disk("disk"), mounts.directory("other", 0o755));
    let mut engine = Engine::start();
    let neighbour = engine.create(&[]);
    let frozen = Frozen::at(&disk);
    let (outer, inner) =
        (format!("{}:/mnt:rw", disk.display()), format!("{}:/mnt/new/place", other.display()));
    let binds = ["--bind", &outer, "--bind", &inner];
    let begin = |_| {
        let fixed = ["create", "--privileged", "--image", engine.image()];
        engine.begin(fixed.iter().chain(&binds))
    };
    let mut creates: Vec<_> = (0..CREATES).map(begin).collect();
    let mark = engine.mark();
    let stuck = || {
        inside::processes_in_cgroups(&mark).into_iter().filter(|pid| inside::is_uninterruptible(*pid)).count()
    };
    until("the creates to be stuck", || stuck() == CREATES);
    engine.shell(&neighbour, "true").expect_status(0);
    live(&engine);
    assert!(creates.iter_mut().all(|create| create.runs()) && stuck() == CREATES);
    engine.kill_server();
    engine.start_server(&[]);
    engine.shell(&neighbour, "true").expect_status(0);
    live(&engine);
    assert_eq!(stuck(), CREATES, "what holds them up went away");
    frozen.thaw();
    creates.into_iter().for_each(|create| drop(create.finish().expect_error("")));
    until("what they left to be gone", || engine.handles() == [neighbour.as_str()]);
    engine.finish();
}

/// A process of the host that has a container's mounts in a mount namespace of its own, stands in one of its directories, runs
/// one of its programs and has one of its files open. Killed when dropped.
struct Holder(Child);

impl Holder {
    fn of(init: u32) -> Self {
        let hold = "cd /srv/held; exec 9>>file; echo; exec sleep 1000000";
        let mut child = Command::new("nsenter")
            .args(["--mount", "--target", &init.to_string(), "/bin/sh", "-c"])
            .args(["exec unshare -m sh -c \"$0\"", hold])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter of util-linux can be started");
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).expect("it holds what it is to hold");
        Holder(child)
    }

    fn mounts(&self) -> String {
        fs::read_to_string(format!("/proc/{}/mountinfo", self.0.id())).unwrap()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What others keep of a container's mounts keeps nothing of the engine: its files are removed, its handle is free, and its
/// server stops with nothing left, all while they are kept.
#[test]
fn a_container_whose_mounts_others_keep_is_destroyed_wholly() {
    let mut mounts = Mounts::new();
    let memory = mounts.tmpfs("memory", 0o777, "rw");
    for privileged in [false, true] {
        let engine = Engine::start();
        let (handle, neighbour) = (writer(&engine, &memory, privileged), engine.create(&[]));
        let files = "mkdir -p /srv/held /srv/own && echo x > /srv/held/file && touch /mnt/new";
        engine.run(&handle, script(files)).expect(0);
        if privileged {
            engine.run(&handle, script("mount -t tmpfs own /srv/own && echo x > /srv/own/file")).expect(0);
        }
        let init = engine.init_pid(handle.as_str());
        let holder = Holder::of(init);
        assert_ne!(
            fs::read_link(format!("/proc/{}/ns/mnt", holder.0.id())).unwrap(),
            fs::read_link(format!("/proc/{init}/ns/mnt")).unwrap()
        );
        let kept = holder.mounts();
        assert!(
            kept.contains(" / / ") && kept.contains(" /mnt ") && kept.contains(" /srv/own ") == privileged
        );

        engine.gdn(["destroy", handle.as_str()]).expect_status(0);
        assert_eq!(engine.handles(), [neighbour.as_str()]);
        engine.shell(&neighbour, "true").expect_status(0);
        let again = engine.create(&["--handle", handle.as_str()]);
        engine.shell(&again, "! test -e /srv/held").expect_status(0);
        engine.finish();
        assert_eq!(holder.mounts(), kept, "the host's process has lost what it had");
    }
}

/// A directory of a container's that is a mount point on the host cannot be removed. The destroy does not wait for that, and
/// what is mounted there is not the engine's to empty; it goes with a later removal, once it can.
#[test]
fn a_directory_that_is_busy_is_removed_later_and_what_is_mounted_there_is_kept() {
    let mut mounts = Mounts::new();
    let precious = mounts.directory("precious", 0o755);
    let engine = Engine::start();
    let (handle, neighbour) = (engine.create(&[]), engine.create(&[]));
    engine.shell(&handle, "mkdir -p /srv/busy && echo x > /srv/file").expect_status(0);
    let volumes = fs::read_dir(engine.root().join("volumes")).unwrap().flatten();
    let busy = volumes.map(|volume| volume.path().join("upper/srv/busy")).find(|place| place.exists());
    mounts.bind(&precious, &busy.expect("what a container writes is in its volume"));

    engine.gdn(["destroy", &handle]).expect_status(0);
    assert_eq!(engine.handles(), [neighbour.as_str()]);
    let trash = || fs::read_dir(engine.root().join("trash")).unwrap().count();
    live(&engine);
    engine.shell(&neighbour, "true").expect_status(0);
    assert_ne!(trash(), 0, "a mount point was removed");
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "precious");

    mounts.unmount_last();
    live(&engine);
    until("the trash to be empty", || trash() == 0);
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "precious");
    engine.finish();
}
