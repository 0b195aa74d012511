//! Clients of a server that stops and comes back.

use std::net::Shutdown;

use engine_tests::Engine;
use serde_json::json;

/// Conformance: S7
#[test]
fn conversations_end_by_an_end_of_file_and_go_on_after_a_restart() {
    let mut engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let spec = json!({ "path": "sh", "args": ["-c", "echo first; read x; echo got $x; exit 9"] });
    let mut task = garden.run(&handle, &spec).unwrap();
    let short =
        garden.run(&handle, &json!({ "path": "sh", "args": ["-c", "read x; exit 4"], "id": "short" }));
    let short = short.unwrap();
    // Half a message is on its way when the server stops: what is not read must not become a reset.
    task.say(json!({ "source": 0, "data": "" }));
    let process = task.process.clone();
    let idle = garden.connect();
    engine.stop_server();
    let told = task.finish();
    assert_eq!(told.status, Err("EOF".to_owned()));
    assert_eq!(told.text(), "first\n");
    assert_eq!(short.finish().status, Err("EOF".to_owned()));
    idle.shutdown(Shutdown::Both).unwrap();
    assert!(!garden.socket().exists());

    engine.start_server(&[]);
    let mut back = garden.attach(&handle, &process).unwrap();
    back.input("word\n");
    assert_eq!(back.finish().expect(9).text(), "got word\n");
    let mut short = garden.attach(&handle, "short").unwrap();
    short.input("\n");
    short.finish().expect(4);
    engine.finish();
}

#[test]
fn processes_outlive_a_kill_of_the_server() {
    let mut engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({ "properties": { "concourse:x": "1" } })));
    let spec = json!({ "path": "sh", "args": ["-c", "read x; echo got $x; exit 5"], "id": "task" });
    let task = garden.run(&handle, &spec).unwrap();
    engine.kill_server();
    assert_eq!(task.finish().status, Err("EOF".to_owned()));
    engine.start_server(&[]);
    assert_eq!(garden.info(&handle)["Properties"]["concourse:x"], "1");
    let mut back = garden.attach(&handle, "task").unwrap();
    back.input("word\n");
    assert_eq!(back.finish().expect(5).text(), "got word\n");
    engine.finish();
}
