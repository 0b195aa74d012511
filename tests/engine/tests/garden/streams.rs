//! Side streams: output on connections of its own.

use std::io::{Read, Write};

use engine_tests::garden::{Answer, head};
use engine_tests::{Engine, until};
use serde_json::json;

/// Conformance: S8-10
#[test]
fn output_is_complete_and_in_order_however_much_there_is() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let spec = json!({ "path": "sh", "args": ["-c", "seq 1 500000; seq 1 1000 >&2"] });
    let told = garden.run(&handle, &spec).unwrap().finish().expect(0);
    let expected: String = (1..=500_000).map(|number| format!("{number}\n")).collect();
    assert!(told.text() == expected, "{} bytes instead of {}", told.stdout.len(), expected.len());
    assert_eq!(told.errors().lines().count(), 1000);
    engine.finish();
}

/// Conformance: S8-10
#[test]
fn a_client_that_comes_late_gets_what_was_written_before() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let spec = json!({ "path": "sh", "args": ["-c", "seq 1 10000; echo problem >&2"] });
    let task = garden.run_unheard(&handle, &spec).unwrap();
    let (process, stream) = (task.process.clone(), task.stream.clone());
    task.finish().expect(0);
    let open = |process: &str, stream: &str, name: &str| {
        let path = format!("/containers/{handle}/processes/{process}/attaches/{stream}/{name}");
        let mut connection = garden.connect();
        connection.write_all(head("GET", &path, &[], None).as_bytes()).unwrap();
        let mut reader = std::io::BufReader::new(connection);
        assert_eq!(Answer::read_head(&mut reader).status, 200);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let expected: String = (1..=10_000).map(|number| format!("{number}\n")).collect();
    assert!(open(&process, &stream, "stdout") == expected);
    assert_eq!(open(&process, &stream, "stderr"), "problem\n");
    // What was read is gone, and what never was is not there.
    for unknown in [&*stream, "99", "x", "18446744073709551616"] {
        assert_eq!(open(&process, unknown, "stdout"), "");
    }
    engine.finish();
}

#[test]
fn a_client_may_read_the_status_before_the_output() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let spec = json!({ "path": "head", "args": ["-c", "700000", "/dev/zero"] });
    let task = garden.run_unheard(&handle, &spec).unwrap();
    let mut output = task.open(&garden, &handle, "stdout");
    // What does not fit into sockets and pipes is read first: the process ends when it has written all.
    let mut first = vec![0; 600_000];
    output.read_exact(&mut first).unwrap();
    task.finish().expect(0);
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 100_000);
    engine.finish();
}

#[test]
fn one_connection_serves_several_calls_and_then_a_process() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let mut connection = std::io::BufReader::new(garden.connect());
    for path in ["/ping", "/containers", "/nope", "/capacity"] {
        connection.get_mut().write_all(head("GET", path, &[], None).as_bytes()).unwrap();
        let answer = Answer::read(&mut connection);
        assert_eq!(answer.header("connection"), None, "{answer:?}");
    }
    // The first message of the client travels with the request.
    let body = json!({ "path": "cat", "id": "p" }).to_string();
    let request = head("POST", &format!("/containers/{handle}/processes"), &[], Some(body.len()));
    let messages = "{\"process_id\":\"p\",\"source\":0,\"data\":\"x\"}\n{\"process_id\":\"p\",\"source\":0}";
    connection.get_mut().write_all(format!("{request}{body}{messages}").as_bytes()).unwrap();
    assert_eq!(Answer::read_head(&mut connection).status, 201);
    let mut rest = String::new();
    connection.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("{\"process_id\":\"p\",\"stream_id\":\""), "{rest}");
    assert!(rest.ends_with("\"}\n{\"process_id\":\"p\",\"exit_status\":0}\n"), "{rest}");
    engine.finish();
}

/// Whoever comes for the output of a process that has just ended, having said nothing, is answered like all others.
#[test]
fn clients_that_come_while_an_output_is_given_up_are_answered() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    for _ in 0..100 {
        let told = garden.run(&handle, &json!({ "path": "true" })).unwrap().finish().expect(0);
        assert_eq!((told.text(), told.errors()), (String::new(), String::new()));
    }
    engine.finish();
}

/// Go's client sends a whole buffer in one message, and may be gone right after it.
#[test]
fn input_arrives_in_one_large_message_and_from_a_client_that_goes_away_at_once() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let mut counting = garden.run(&handle, &json!({ "path": "wc", "args": ["-c"] })).unwrap();
    counting.input(&"x".repeat(4 << 20));
    counting.close_input();
    assert_eq!(counting.finish().expect(0).text().trim(), (4 << 20).to_string());
    for number in 0..20 {
        let script = format!("cat > /tmp/part-{number}; mv /tmp/part-{number} /tmp/whole-{number}");
        let spec = json!({ "path": "sh", "args": ["-c", script] });
        let mut brief = garden.run_unheard(&handle, &spec).unwrap();
        brief.input("said before going");
        brief.close_input();
        brief.leave();
    }
    until("all of it to be written", || {
        let wholes = garden.shell(&handle, "cat /tmp/whole-* 2>/dev/null; true").expect(0).text();
        wholes == "said before going".repeat(20)
    });
    engine.finish();
}
