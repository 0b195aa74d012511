//! Starting processes.

use engine_tests::session::{as_user, collect, program, script};
use engine_tests::{Engine, inside, until};
use gdn_types::{
    BindMode, BindMount, ContainerSpec, Environment, Error, ErrorKind, ImageRef, ProcessId, ProcessSpec,
    Signal,
};

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
/// The id of a process stays its own when it has ended, unless the server was told otherwise; that of a sidecar does not.
/// All of it is so after a kill of the server.
#[test]
fn the_name_of_a_process_that_was_waited_for_is_free_where_the_server_is_told_so() {
    let mut engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let image = engine.image().to_owned();
    let name = |name: &str| ProcessId::parse(name).unwrap();
    let job = |code: i32| ProcessSpec { id: Some(name("job")), ..script(&format!("exit {code}")) };
    let beside = |code: i32| ProcessSpec {
        id: Some(name("beside")),
        image: Some(ImageRef::uri(image.clone())),
        ..script(&format!("exit {code}"))
    };
    let run = |engine: &Engine, spec: ProcessSpec| {
        engine.with_client(async |client| {
            let id = spec.id.clone().unwrap();
            let ran = collect(client.run(&handle, spec).await?).await?;
            assert_eq!(client.wait(&handle, &id).await?, ran.status);
            Ok::<_, Error>(ran.status.code())
        })
    };
    let is_taken = |engine: &Engine| {
        let error = run(engine, job(9)).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::AlreadyExists, "process ID 'job' already in use")
        );
    };
    assert_eq!((run(&engine, job(1)).unwrap(), run(&engine, beside(1)).unwrap()), (1, 1));
    is_taken(&engine);
    engine.kill_server();
    engine.start_server(&[]);
    is_taken(&engine);
    assert_eq!(run(&engine, beside(2)).unwrap(), 2, "a sidecar's name is free without being asked for");
    engine.kill_server();
    engine.start_server(&["--cleanup-process-dirs-on-wait"]);
    is_taken(&engine);
    let wait = |engine: &Engine| engine.with_client(async |client| client.wait(&handle, &name("job")).await);
    assert_eq!(wait(&engine).unwrap().code(), 1);
    for code in 2..5 {
        assert_eq!(run(&engine, job(code)).unwrap(), code);
        assert_eq!(wait(&engine).unwrap().code(), code, "known until the name is taken again");
    }
    engine.kill_server();
    engine.start_server(&[]);
    assert_eq!(wait(&engine).unwrap().code(), 4);
    assert_eq!(run(&engine, job(5)).unwrap(), 5, "it was released before the kill");
    is_taken(&engine);
    engine.finish();
}

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
    let image = ImageRef::uri(image);
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
