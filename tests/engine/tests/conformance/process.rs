//! Starting processes.

use engine_tests::session::{as_user, collect, program, script};
use engine_tests::{Engine, inside, until};
use gdn_types::{BindMode, BindMount, ContainerSpec, Environment, ErrorKind, ProcessId, ProcessSpec, Signal};

fn environment(entries: &[&str]) -> Environment {
    Environment::parse(entries).unwrap()
}

/// Conformance: G156
#[test]
fn a_process_can_be_ended_right_after_its_start() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let ran = engine.with_client(async |client| {
        let process = client.run(&handle, program(&["sleep", "1000"])).await.unwrap();
        client.signal(&handle, process.id(), Signal::TERM).await.unwrap();
        collect(process).await.unwrap()
    });
    ran.expect(143);
    engine.finish();
}

/// Conformance: G157
#[test]
fn bind_mounts_without_an_image_are_refused() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let mount = BindMount::new("/etc", "/mnt", BindMode::ReadOnly).unwrap();
    let spec = ProcessSpec { bind_mounts: vec![mount], ..program(&["true"]) };
    let error = engine.try_run(&handle, spec).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", error.report());
    assert!(error.message().contains("bind mounts and no image"), "{}", error.message());
    engine.finish();
}

/// Conformance: G158-159
#[test]
fn a_process_has_the_name_asked_for_and_no_other_has_it() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let spec = |words: &[&str]| ProcessSpec { id: Some(ProcessId::parse("mine").unwrap()), ..program(words) };
    engine.with_client(async |client| {
        let process = client.run(&handle, spec(&["cat"])).await.unwrap();
        assert_eq!(process.id().as_str(), "mine");
        let error = client.run(&handle, spec(&["true"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(
            error.message().contains("already in use") && error.message().contains("mine"),
            "{}",
            error.message()
        );
        process.input().close_stdin().await.unwrap();
        collect(process).await.unwrap().expect(0);
        let other = client.run(&handle, program(&["true"])).await.unwrap();
        assert!(!other.id().as_str().is_empty() && other.id().as_str() != "mine");
        collect(other).await.unwrap().expect(0);
    });
    engine.finish();
}

/// Conformance: G160-161
#[test]
fn the_environment_of_the_container_comes_first_and_the_last_value_wins() {
    let engine = Engine::start();
    let env = environment(&["OF_CONTAINER=1", "BOTH=container"]);
    let handle = engine.create_from(ContainerSpec { env, ..ContainerSpec::default() });
    let env = environment(&["TEST=hello", "BOTH=process", "FRUIT=banana"]);
    let said = engine.run(&handle, ProcessSpec { env, ..program(&["env"]) }).expect(0).text();
    let mut own: Vec<_> = said
        .lines()
        .filter(|line| ["OF_CONTAINER=", "TEST=", "FRUIT="].iter().any(|name| line.starts_with(name)))
        .collect();
    assert_eq!(own, ["OF_CONTAINER=1", "TEST=hello", "FRUIT=banana"]);
    own = said.lines().filter(|line| line.starts_with("BOTH=")).collect();
    assert_eq!(own, ["BOTH=process"]);
    engine.finish();
}

/// Conformance: G162, Q98
#[test]
fn waiting_for_a_process_whose_child_died_does_not_hang() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    // The child ends while nobody waits for it: it stays a zombie as long as its parent lives.
    let ran = engine.run(&handle, script("sh -c 'exit 3' & exec sh -c 'cat; exit 4'"));
    ran.expect(4);
    until("no zombie to be left", || inside::processes_beside(engine.init_pid(handle.as_str())).is_empty());
    engine.finish();
}

/// Conformance: G163-165
#[test]
fn users_are_numbers_names_or_nobody_in_particular() {
    let engine = Engine::start();
    let image = engine.image_with("users", |rootfs| {
        std::fs::write(rootfs.join("etc/group"), "root:x:0:\nalice:x:1000:\nstaff:x:50:\n").unwrap();
    });
    let image = gdn_types::ImageRef::uri(image);
    let handle = engine.create_from(ContainerSpec { image, ..ContainerSpec::default() });
    for (user, ids) in [
        ("", "0 0"),
        ("root", "0 0"),
        ("alice", "1000 1000"),
        ("1000", "1000 1000"),
        ("1001:1002", "1001 1002"),
        ("alice:staff", "1000 50"),
        ("alice:77", "1000 77"),
        ("1234:staff", "1234 50"),
    ] {
        let said = engine.run(&handle, as_user(user, script("echo $(id -u) $(id -g)"))).expect(0).text();
        assert_eq!(said.trim(), ids, "{user:?}");
    }
    engine.finish();
}

/// Conformance: G66, G166-171
#[test]
fn the_working_directory_is_made_for_the_user_or_is_home() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let run = |user: &str, dir: &str, text: &str| {
        engine.run(&handle, ProcessSpec { user: user.into(), dir: dir.into(), ..script(text) })
    };
    assert_eq!(run("", "/tmp", "pwd").expect(0).text(), "/tmp\n");
    assert_eq!(run("", "/made/by/us", "pwd; stat -c '%u %a' .").expect(0).text(), "/made/by/us\n0 755\n");
    let owner = "pwd; stat -c '%u:%g %a' . ..; touch file && echo written";
    assert_eq!(
        run("alice", "/only/for/alice", owner).expect(0).text(),
        "/only/for/alice\n1000:1000 755\n1000:1000 755\nwritten\n"
    );
    let denied = run("alice", "/home/..", "pwd; touch /root/x").expect(1);
    assert!(denied.errors().contains("Permission denied"), "{}", denied.errors());
    let denied = run("alice", "/etc", "pwd; touch x").expect(1);
    assert_eq!(denied.text(), "/etc\n");
    assert!(denied.errors().contains("Permission denied"), "{}", denied.errors());
    assert_eq!(run("alice", "/etc/new", "pwd; touch x && echo yes").expect(0).text(), "/etc/new\nyes\n");
    assert_eq!(run("alice", "", "pwd").expect(0).text(), "/home/alice\n");
    assert_eq!(run("", "", "pwd").expect(0).text(), "/root\n");
    engine.finish();
}
