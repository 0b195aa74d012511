//! The life of processes: streams, statuses, signals.

use std::fs;

use engine_tests::session::{as_user, collect, program, read_until, script};
use engine_tests::{Engine, inside, until};
use gdn_client::{Client, ProcessStream};
use gdn_types::{ContainerSpec, ExitStatus, Handle, ImageRef, ProcessState, Signal};

/// Conformance: G43-44
#[test]
fn output_errors_and_status_arrive() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let ran = engine.run(&handle, as_user("root", script("id -u; echo error >&2; exit 42"))).expect(42);
    assert_eq!((ran.text().as_str(), ran.errors().as_str()), ("0\n", "error\n"));
    engine.finish();
}

/// Conformance: G45-47
#[test]
fn users_can_open_their_standard_streams_by_name() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    for user in ["alice", "root", "4321"] {
        engine.with_client(async |client| {
            let spec =
                as_user(user, script("cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr"));
            let process = client.run(&handle, spec).await.unwrap();
            process.input().stdin("in\n").await.unwrap();
            process.input().close_stdin().await.unwrap();
            let ran = collect(process).await.unwrap().expect(0);
            assert_eq!((ran.text().as_str(), ran.errors().as_str()), ("in\nout\n", "err\n"), "{user}");
        });
    }
    engine.finish();
}

/// Conformance: G48
#[test]
fn six_attached_clients_all_get_the_exit_status() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        let process = client.run(&handle, script("read line; exit 12")).await.unwrap();
        let mut followers = Vec::new();
        for _ in 0..6 {
            followers.push(client.attach(&handle, process.id(), false).await.unwrap());
        }
        process.input().stdin("go\n").await.unwrap();
        for follower in followers {
            collect(follower).await.unwrap().expect(12);
        }
        collect(process).await.unwrap().expect(12);
    });
    engine.finish();
}

/// Conformance: G49
#[test]
fn waiting_again_gives_the_same_answer() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        let process = client.run(&handle, script("exit 7")).await.unwrap();
        for _ in 0..3 {
            assert_eq!(client.wait(&handle, process.id()).await.unwrap(), ExitStatus::Code(7));
        }
        let late = client.attach(&handle, process.id(), false).await.unwrap();
        collect(late).await.unwrap().expect(7);
    });
    engine.finish();
}

/// Conformance: G50
#[test]
fn whoever_ran_a_process_and_whoever_attached_get_all_of_it() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let (ran, followed) = engine.with_client(async |client| {
        let text = "read line; i=0; while [ $i -lt 2000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done";
        let process = client.run(&handle, script(text)).await.unwrap();
        let follower = client.attach(&handle, process.id(), false).await.unwrap();
        process.input().stdin("go\n").await.unwrap();
        tokio::join!(collect(process), collect(follower))
    });
    let lines = |name: &str| (0..2000).map(|i| format!("{name}{i}\n")).collect::<String>();
    for seen in [ran.unwrap().expect(0), followed.unwrap().expect(0)] {
        assert_eq!(seen.text(), lines("out"));
        assert_eq!(seen.errors(), lines("err"));
    }
    engine.finish();
}

/// Conformance: G51-52
#[test]
fn term_can_be_caught() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    for user in ["alice", "root"] {
        engine.with_client(async |client| {
            let text = "trap 'echo caught; exit 42' TERM; echo ready; while :; do sleep 0.02; done";
            let mut process = client.run(&handle, as_user(user, script(text))).await.unwrap();
            read_until(&mut process, "ready").await;
            client.signal(&handle, process.id(), Signal::TERM).await.unwrap();
            assert_eq!(collect(process).await.unwrap().expect(42).text(), "caught\n");
        });
    }
    engine.finish();
}

/// Conformance: G53-54
#[test]
fn signals_need_no_program_of_the_image() {
    let engine = Engine::start();
    let image = engine.image_with("helpless", |rootfs| {
        fs::remove_file(rootfs.join("bin/kill")).unwrap();
        fs::rename(rootfs.join("bin/busybox"), rootfs.join("sleep")).unwrap();
        fs::remove_dir_all(rootfs.join("bin")).unwrap();
    });
    let handle =
        engine.create_from(ContainerSpec { image: ImageRef::uri(image), ..ContainerSpec::default() });
    for (signal, code) in [(Signal::KILL, 137), (Signal::TERM, 143)] {
        engine.with_client(async |client| {
            let process = client.run(&handle, program(&["/sleep", "1000"])).await.unwrap();
            client.signal(&handle, process.id(), signal).await.unwrap();
            collect(process).await.unwrap().expect(code);
        });
    }
    engine.finish();
}

/// Conformance: G55
#[test]
fn a_killed_process_that_nobody_follows_is_gone() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let init = engine.init_pid(handle.as_str());
    engine.with_client(async |client| {
        let process = client.run(&handle, program(&["sleep", "1000"])).await.unwrap();
        let id = process.id().clone();
        drop(process);
        client.signal(&handle, &id, Signal::KILL).await.unwrap();
        assert_eq!(client.wait(&handle, &id).await.unwrap(), ExitStatus::Signal(9));
        assert_eq!(client.info(&handle).await.unwrap().process_ids, Vec::<String>::new());
        let processes = client.processes(&handle).await.unwrap();
        assert!(!processes.iter().any(|(_, state)| *state == ProcessState::Running), "{processes:?}");
    });
    assert_eq!(inside::processes_beside(init), Vec::<u32>::new());
    engine.finish();
}

/// Conformance: G56
#[test]
fn a_process_can_be_killed_right_after_its_start() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        for _ in 0..20 {
            let process = client.run(&handle, program(&["sleep", "1000"])).await.unwrap();
            client.signal(&handle, process.id(), Signal::KILL).await.unwrap();
            collect(process).await.unwrap().expect(137);
        }
    });
    engine.finish();
}

/// Conformance: G58
#[test]
fn processes_that_end_at_once_deliver_all_output() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    for n in 0..100 {
        let ran = engine.run(&handle, script(&format!("echo out{n}; echo err{n} >&2"))).expect(0);
        assert_eq!((ran.text(), ran.errors()), (format!("out{n}\n"), format!("err{n}\n")));
    }
    engine.finish();
}

/// Conformance: G59
#[test]
fn input_arrives_and_its_end_ends_the_process() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        let mut process = client.run(&handle, program(&["cat"])).await.unwrap();
        let input = process.input();
        input.stdin("hello\n").await.unwrap();
        read_until(&mut process, "hello\n").await;
        input.close_stdin().await.unwrap();
        assert_eq!(collect(process).await.unwrap().expect(0).text(), "");
    });
    engine.finish();
}

/// Conformance: G60
#[test]
fn input_that_is_never_read_does_not_hold_the_status_back() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        for _ in 0..10 {
            let process = client.run(&handle, script("sleep 0.05; exit 3")).await.unwrap();
            process.input().stdin(vec![b'x'; 1024]).await.unwrap();
            collect(process).await.unwrap().expect(3);
        }
    });
    engine.finish();
}

async fn ends(client: &Client, handle: &Handle, process: ProcessStream) {
    client.signal(handle, process.id(), Signal::KILL).await.unwrap();
    collect(process).await.unwrap().expect(137);
}

/// Conformance: A5
#[test]
fn signals_arrive_also_after_the_end_of_input() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        let text = "trap 'echo caught' USR1; echo ready; while :; do sleep 0.02; done";
        let mut process = client.run(&handle, script(text)).await.unwrap();
        process.input().close_stdin().await.unwrap();
        read_until(&mut process, "ready").await;
        process.input().signal(Signal::parse("USR1").unwrap()).await.unwrap();
        read_until(&mut process, "caught").await;
        ends(&client, &handle, process).await;
    });
    engine.finish();
}

/// Conformance: A14
#[test]
fn two_clients_write_to_one_process_and_one_that_goes_does_not_end_its_input() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        let mut process = client.run(&handle, program(&["cat"])).await.unwrap();
        let other = client.attach(&handle, process.id(), true).await.unwrap();
        other.input().stdin("from the other\n").await.unwrap();
        read_until(&mut process, "from the other\n").await;
        drop(other);
        process.input().stdin("from the first\n").await.unwrap();
        read_until(&mut process, "from the first\n").await;
        process.input().close_stdin().await.unwrap();
        collect(process).await.unwrap().expect(0);
    });
    until("nothing to run", || engine.inspect(handle.as_str())["process_ids"].as_array().unwrap().is_empty());
    engine.finish();
}
