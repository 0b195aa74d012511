//! Processes on a terminal.

use engine_tests::Engine;
use engine_tests::session::{collect, read_until, script};
use gdn_types::{ContainerSpec, ProcessSpec, WindowSize};

fn on_terminal(text: &str, columns: u16, rows: u16) -> ProcessSpec {
    ProcessSpec { tty: Some(WindowSize { columns, rows }), ..script(text) }
}

/// How many terminals are opened one after the other; more than the hundred of the case if `GDN_TERMINALS` says so.
fn rounds() -> u32 {
    std::env::var("GDN_TERMINALS").map_or(100, |text| text.parse().expect("GDN_TERMINALS is a number"))
}

/// Conformance: G57
#[test]
fn a_hundred_terminals_deliver_ten_thousand_numbers_each() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let expected: String = (1..=10_000).map(|n| format!("{n}\r\n")).collect();
    for round in 0..rounds() {
        let ran = engine.run(&handle, on_terminal("seq 10000", 0, 0)).expect(0);
        assert!(ran.text() == expected, "round {round}: {} of {} bytes", ran.stdout.len(), expected.len());
    }
    engine.finish();
}

/// Conformance: G61-63
#[test]
fn a_terminal_has_a_size_and_turns_line_ends() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    assert_eq!(engine.run(&handle, on_terminal("stty size", 0, 0)).expect(0).text(), "24 80\r\n");
    assert_eq!(engine.run(&handle, on_terminal("stty size", 99, 33)).expect(0).text(), "33 99\r\n");
    let ran = engine.run(&handle, on_terminal("echo out; echo err >&2; tty | cut -d/ -f1-3", 0, 0)).expect(0);
    assert_eq!((ran.text().as_str(), ran.errors().as_str()), ("out\r\nerr\r\n/dev/pts\r\n", ""));
    engine.finish();
}

/// Conformance: G64
#[test]
fn a_resize_is_signalled_and_seen() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.with_client(async |client| {
        let text = "trap 'echo new $(stty size)' WINCH; echo ready; while :; do sleep 0.02; done";
        let mut process = client.run(&handle, on_terminal(text, 80, 24)).await.unwrap();
        read_until(&mut process, "ready").await;
        process.input().resize(WindowSize { columns: 123, rows: 45 }).await.unwrap();
        read_until(&mut process, "new 45 123").await;
        client.signal(&handle, process.id(), gdn_types::Signal::KILL).await.unwrap();
        collect(process).await.unwrap().expect(137);
    });
    engine.finish();
}

/// Conformance: G65
#[test]
fn all_attached_clients_see_a_terminal() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let seen = engine.with_client(async |client| {
        let process =
            client.run(&handle, on_terminal("stty -echo; read line; seq 1000; exit 6", 0, 0)).await.unwrap();
        let one = client.attach(&handle, process.id(), false).await.unwrap();
        let other = client.attach(&handle, process.id(), false).await.unwrap();
        process.input().stdin("go\n").await.unwrap();
        tokio::join!(collect(process), collect(one), collect(other))
    });
    let expected: String = (1..=1000).map(|n| format!("{n}\r\n")).collect();
    for ran in [seen.0, seen.1, seen.2] {
        let text = ran.unwrap().expect(6).text();
        assert!(text.ends_with(&expected), "{text:?}");
    }
    engine.finish();
}
