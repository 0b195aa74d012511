//! The stream of events.

use std::io::{BufRead, BufReader};

use engine_tests::{Engine, Gdn};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn what_happens_to_a_container_is_told_in_order() {
    let engine = Engine::start();
    let mut watch = Gdn::start_unread(&engine.root(), ["--format", "json", "events"]);
    let mut lines = BufReader::new(watch.take_stdout()).lines().map(Result::unwrap);
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("an event")).unwrap();
    // Containers are made until the watcher, who tells nobody that it listens, sees one.
    let first = loop_until_seen(&engine, &mut next);
    engine.create(&["--handle", "watched"]);
    engine.gdn(["exec", "--process", "p", "watched", "sh", "-c", "exit 7"]).expect_status(7);
    engine.gdn(["destroy", "watched"]).expect_status(0);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event: &Value| event["event"] != "destroyed") {
        let event = next();
        if event["handle"] == "watched" {
            seen.push(event);
        }
    }
    let names: Vec<_> = seen.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["created", "process_started", "process_exited", "destroyed"], "after {first}");
    assert_eq!((&seen[2]["process"], &seen[2]["exit_code"]), (&Value::from("p"), &Value::from(7)));
    watch.signal(Signal::INT);
    watch.finish();
    engine.finish();
}

/// Makes and destroys containers beside until an event has come, and answers with it.
fn loop_until_seen(engine: &Engine, next: &mut impl FnMut() -> Value) -> Value {
    std::thread::scope(|scope| {
        let (seen, told) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while told.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let handle = engine.create(&[]);
                engine.gdn(["destroy", &handle]).expect_status(0);
            }
        });
        let first = next();
        seen.send(()).unwrap();
        first
    })
}
