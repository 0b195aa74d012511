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

/// Who was ended for want of memory is told before its end is, where it can be known.
#[test]
fn want_of_memory_names_the_process_that_was_ended_for_it() {
    const GREEDY: &str = "BEGIN { text = \"x\"; while (1) text = text text }";
    let engine = Engine::start();
    let mut watch = Gdn::start_unread(&engine.root(), ["--format", "json", "events"]);
    let mut lines = BufReader::new(watch.take_stdout()).lines().map(Result::unwrap);
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("an event")).unwrap();
    loop_until_seen(&engine, &mut next);
    engine.create(&["--handle", "small", "--memory", "40m"]);
    let shell = format!("awk '{GREEDY}'");
    let others = format!("awk '{GREEDY}' & wait; exit 3");
    let cases: [(&str, &[&str], u64, Option<&str>); 3] = [
        ("itself", &["awk", GREEDY], 137, Some("itself")),
        ("shell", &["sh", "-c", &format!("{shell}; exit $?")], 137, Some("shell")),
        ("silent", &["sh", "-c", &others], 3, None),
    ];
    for (process, words, code, named) in cases {
        let exec = [&["exec", "--process", process, "small"], words].concat();
        engine.gdn(exec).expect_status(i32::try_from(code).unwrap());
        let mut seen = Vec::new();
        while seen.last().is_none_or(|event: &Value| event["event"] != "process_exited") {
            let event = next();
            if event["handle"] == "small" && event["event"] != "created" {
                seen.push(event);
            }
        }
        let names: Vec<_> = seen.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["process_started", "out_of_memory", "process_exited"], "{process}");
        assert_eq!(seen[1]["process"].as_str(), named, "{process}");
        assert_eq!(seen[2]["exit_code"], Value::from(code), "{process}");
    }
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
