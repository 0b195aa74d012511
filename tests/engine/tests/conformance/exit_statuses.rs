//! The matrix of exit statuses: 320 cases and some more, all exact.

use std::collections::BTreeMap;

use engine_tests::session::{collect, program, script};
use engine_tests::{Engine, inside, until};
use gdn_types::{
    ContainerSpec, ExitStatus, Handle, ImageRef, ProcessId, ProcessSpec, ProcessState, Rlimits, Signal,
    WindowSize,
};

/// Every signal that ends a program that does not care, with and without a core.
const DEADLY: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 24, 31];

/// Clients that wait for one process.
const WAITERS: usize = 1000;

/// A process of this name that waits until `/tmp/go` exists and then does something.
fn held(name: &str, then: &str) -> ProcessSpec {
    let text = format!("while [ ! -e /tmp/go ]; do sleep 0.02; done; {then}");
    ProcessSpec { id: Some(id(name)), ..script(&text) }
}

fn id(name: &str) -> ProcessId {
    ProcessId::parse(name).unwrap()
}

fn let_go(engine: &Engine, handle: &Handle) {
    std::fs::write(inside::path(engine.init_pid(handle.as_str()), "/tmp/go"), "").unwrap();
}

/// 256 cases.
#[test]
fn every_code_is_delivered_to_whoever_follows() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    for code in 0..=255 {
        let ran = engine.run(&handle, script(&format!("exit {code}")));
        assert_eq!(ran.status, ExitStatus::Code(code));
    }
    engine.finish();
}

/// 15 cases, and as many whose process leaves a core.
#[test]
fn every_deadly_signal_is_delivered_to_whoever_follows() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    for core in [0, 1 << 20] {
        for signal in DEADLY {
            let rlimits = Rlimits { core: Some(core), ..Rlimits::default() };
            let ran = engine.with_client(async |client| {
                let spec = ProcessSpec { rlimits, dir: "/tmp".into(), ..program(&["sleep", "1000"]) };
                let process = client.run(&handle, spec).await.unwrap();
                let signal = Signal::new(signal.into()).unwrap();
                client.signal(&handle, process.id(), signal).await.unwrap();
                collect(process).await.unwrap()
            });
            assert_eq!(ran.status, ExitStatus::Signal(signal), "core of {core} bytes");
        }
    }
    engine.finish();
}

/// 20 cases.
#[test]
fn statuses_of_processes_on_a_terminal() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let on_terminal = |spec| ProcessSpec { tty: Some(WindowSize::default()), ..spec };
    for code in [0, 1, 2, 3, 42, 63, 64, 100, 125, 126, 127, 128, 129, 137, 254, 255] {
        let ran = engine.run(&handle, on_terminal(script(&format!("exit {code}"))));
        assert_eq!(ran.status, ExitStatus::Code(code));
    }
    for signal in [1, 9, 11, 15] {
        let status = engine.with_client(async |client| {
            let process = client.run(&handle, on_terminal(program(&["sleep", "1000"]))).await.unwrap();
            client.signal(&handle, process.id(), Signal::new(signal.into()).unwrap()).await.unwrap();
            collect(process).await.unwrap().status
        });
        assert_eq!(status, ExitStatus::Signal(signal));
    }
    engine.finish();
}

/// 12 cases.
#[test]
fn statuses_of_sidecars() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let own = |spec| ProcessSpec { image: Some(ImageRef::uri(engine.image())), ..spec };
    for code in [0, 1, 2, 42, 127, 128, 137, 255] {
        let ran = engine.run(&handle, own(script(&format!("exit {code}"))));
        assert_eq!(ran.status, ExitStatus::Code(code));
    }
    for signal in [6, 9, 11, 15] {
        let ran = engine.run(&handle, own(script(&format!("kill -{signal} $$"))));
        assert_eq!(ran.status, ExitStatus::Signal(signal));
    }
    engine.finish();
}

/// 12 cases: nobody is attached when the process ends, and whoever asks later is told, as often as he asks.
#[test]
fn statuses_of_processes_nobody_follows() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let (codes, signals) = ([0u8, 1, 2, 42, 127, 128, 200, 255], [6u8, 9, 11, 15]);
    engine.with_client(async |client| {
        for code in codes {
            drop(client.run(&handle, held(&format!("code-{code}"), &format!("exit {code}"))).await.unwrap());
        }
        for signal in signals {
            let spec = held(&format!("signal-{signal}"), &format!("kill -{signal} $$"));
            drop(client.run(&handle, spec).await.unwrap());
        }
        let_go(&engine, &handle);
        for _ in 0..2 {
            for code in codes {
                let status = client.wait(&handle, &id(&format!("code-{code}"))).await.unwrap();
                assert_eq!(status, ExitStatus::Code(code));
            }
            for signal in signals {
                let status = client.wait(&handle, &id(&format!("signal-{signal}"))).await.unwrap();
                assert_eq!(status, ExitStatus::Signal(signal));
            }
        }
    });
    engine.finish();
}

/// 12 cases: eight that end while there is no server, four that end after the next has begun.
#[test]
fn statuses_of_processes_that_end_while_there_is_no_server() {
    let mut engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let ends: BTreeMap<&str, (&str, ExitStatus)> = [
        ("zero", ("exit 0", ExitStatus::Code(0))),
        ("one", ("exit 1", ExitStatus::Code(1))),
        ("more", ("exit 42", ExitStatus::Code(42))),
        ("most", ("exit 255", ExitStatus::Code(255))),
        ("abort", ("kill -6 $$", ExitStatus::Signal(6))),
        ("kill", ("kill -9 $$", ExitStatus::Signal(9))),
        ("fault", ("kill -11 $$", ExitStatus::Signal(11))),
        ("term", ("kill -15 $$", ExitStatus::Signal(15))),
    ]
    .into();
    let after = [("later-0", 0u8), ("later-3", 3), ("later-200", 200), ("later-255", 255)];
    engine.with_client(async |client| {
        for (name, (then, _)) in &ends {
            drop(client.run(&handle, held(name, then)).await.unwrap());
        }
        for (name, code) in after {
            let text = format!("while [ ! -e /tmp/restarted ]; do sleep 0.02; done; exit {code}");
            let spec = ProcessSpec { id: Some(id(name)), ..script(&text) };
            drop(client.run(&handle, spec).await.unwrap());
        }
    });
    let init = engine.init_pid(handle.as_str());
    engine.kill_server();
    std::fs::write(inside::path(init, "/tmp/go"), "").unwrap();
    let shells = || {
        let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        inside::processes_beside(init).iter().filter(|pid| name(pid) == "sh\n").count()
    };
    until("the others to have ended", || shells() == after.len());
    engine.start_server(&[]);
    engine.with_client(async |client| {
        for (name, (_, expected)) in &ends {
            assert_eq!(client.wait(&handle, &id(name)).await.unwrap(), *expected, "{name}");
            let late = client.attach(&handle, &id(name), false).await.unwrap();
            assert_eq!(collect(late).await.unwrap().status, *expected, "{name}");
        }
        let waiting = after.map(|(name, code)| {
            let (client, handle) = (client.clone(), handle.clone());
            (code, tokio::spawn(async move { client.wait(&handle, &id(name)).await }))
        });
        std::fs::write(inside::path(init, "/tmp/restarted"), "").unwrap();
        for (code, wait) in waiting {
            assert_eq!(wait.await.unwrap().unwrap(), ExitStatus::Code(code));
        }
    });
    engine.finish();
}

/// 5 cases.
#[test]
fn statuses_of_processes_with_an_unusual_life() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let signal = |number: i32| Signal::new(number).unwrap();
    engine.with_client(async |client| {
        // Stopped, continued, and then ended by itself.
        let process = client.run(&handle, held("stopped", "exit 21")).await.unwrap();
        client.signal(&handle, process.id(), signal(19)).await.unwrap();
        let_go(&engine, &handle);
        client.signal(&handle, process.id(), signal(18)).await.unwrap();
        collect(process).await.unwrap().expect(21);
        // Killed while it is stopped.
        let process = client.run(&handle, program(&["sleep", "1000"])).await.unwrap();
        client.signal(&handle, process.id(), signal(19)).await.unwrap();
        client.signal(&handle, process.id(), Signal::KILL).await.unwrap();
        collect(process).await.unwrap().expect(137);
        // Its child's child lives on and is not asked.
        let text = "(sh -c 'sleep 1000 >/dev/null 2>&1 & exit 1' &) ; exit 22";
        let process = client.run(&handle, script(text)).await.unwrap();
        collect(process).await.unwrap().expect(22);
        // It becomes another program.
        let process = client.run(&handle, script("exec sh -c 'exit 23'")).await.unwrap();
        collect(process).await.unwrap().expect(23);
        // Attached to at the moment of its end.
        for _ in 0..20 {
            let process = client.run(&handle, script("exit 24")).await.unwrap();
            let follower = client.attach(&handle, process.id(), false).await.unwrap();
            collect(follower).await.unwrap().expect(24);
            collect(process).await.unwrap().expect(24);
        }
    });
    engine.finish();
}

/// One process, and a thousand who wait for it.
#[test]
fn a_thousand_who_wait_are_told_the_same() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        drop(client.run(&handle, held("awaited", "exit 77")).await.unwrap());
        let wait = || {
            let (client, handle) = (client.clone(), handle.clone());
            tokio::spawn(async move { client.wait(&handle, &id("awaited")).await })
        };
        let waits: Vec<_> = (0..WAITERS).map(|_| wait()).collect();
        let_go(&engine, &handle);
        for wait in waits {
            assert_eq!(wait.await.unwrap().unwrap(), ExitStatus::Code(77));
        }
    });
    engine.finish();
}

/// Never waited for: it is known to have ended all the same, and nothing is left when its container goes.
#[test]
fn a_process_nobody_waits_for_leaves_nothing_but_its_status() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let states = || engine.with_client(async |client| client.processes(&handle).await.unwrap());
    engine.with_client(async |client| {
        drop(client.run(&handle, held("forgotten", "exit 9")).await.unwrap());
    });
    let_go(&engine, &handle);
    until("it to have ended", || !states().iter().any(|(_, state)| *state == ProcessState::Running));
    assert_eq!(inside::processes_beside(engine.init_pid(handle.as_str())), Vec::<u32>::new());
    engine.finish();
}
