//! Run and Attach.

use std::io::Read;
use std::process::Command;
use std::thread;

use engine_tests::garden::Garden;
use engine_tests::{Engine, rlimits, until};
use serde_json::{Value, json};

fn started() -> (Engine, Garden, String) {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    (engine, garden, handle)
}

fn script(text: &str) -> Value {
    json!({ "path": "sh", "args": ["-c", text] })
}

/// Conformance: Q353-354, Q358
#[test]
fn programs_are_run_with_their_streams_and_statuses() {
    let (engine, garden, handle) = started();
    let mut cat = garden.run(&handle, &script("cat; echo problem >&2; exit 42")).unwrap();
    cat.input("hello \u{e9}\n");
    cat.input("again\n");
    cat.close_input();
    let cat = cat.finish().expect(42);
    assert_eq!((&*cat.text(), &*cat.errors()), ("hello \u{e9}\nagain\n", "problem\n"));
    for path in ["/bin/echo", "echo"] {
        let echo = garden.run(&handle, &json!({ "path": path, "args": ["x"] })).unwrap().finish();
        assert_eq!(echo.expect(0).text(), "x\n");
    }
    let devices = garden.shell(&handle, "echo out > /dev/stdout; echo err > /dev/stderr");
    assert_eq!((&*devices.text(), &*devices.errors()), ("out\n", "err\n"));
    let name = garden.run(&handle, &json!({ "id": "mine", "path": "true" })).unwrap();
    assert_eq!(name.process, "mine");
    name.finish().expect(0);
    let taken = garden.run(&handle, &json!({ "id": "mine", "path": "sleep", "args": ["1000"] }));
    if let Err(refused) = taken {
        assert!(refused.expect_error(500, "").contains("already in use"));
    }
    engine.finish();
}

/// Conformance: Q382-388
#[test]
fn what_cannot_be_started_is_told_by_type() {
    let (engine, garden, handle) = started();
    for path in ["/does/not/exist", "not-in-path"] {
        for tty in [Value::Null, json!({})] {
            let refused = garden.run(&handle, &json!({ "path": path, "tty": tty })).unwrap_err();
            let message = refused.expect_error(500, "ExecutableNotFoundError");
            assert!(
                message.contains("executable file not found in $PATH") || message.contains("no such file"),
                "{message}"
            );
        }
    }
    let user = garden.run(&handle, &json!({ "path": "true", "user": "bob" })).unwrap_err();
    let message = user.expect_error(500, "");
    assert!(message.contains("unable to find user bob: no matching entries in passwd file"), "{message}");
    let mounts = json!({ "path": "true", "bind_mounts": [{ "src_path": "/etc", "dst_path": "/mnt" }] });
    let message = garden.run(&handle, &mounts).unwrap_err().expect_error(500, "");
    assert_eq!(message, "Running a process with bind mounts and no image provided is not allowed");
    // The container is none the worse for it.
    garden.shell(&handle, "true").expect(0);
    engine.finish();
}

/// Conformance: Q355-357
#[test]
fn a_terminal_is_there_when_asked_for() {
    let (engine, garden, handle) = started();
    assert_ne!(garden.shell(&handle, "test -t 1").status, Ok(0));
    let size = json!({ "window_size": { "columns": 100, "rows": 30 } });
    let spec =
        json!({ "path": "sh", "args": ["-c", "stty size; read x; stty size; echo err >&2"], "tty": size });
    let mut terminal = garden.run(&handle, &spec).unwrap();
    terminal.resize(123, 45);
    terminal.input("\n");
    let terminal = terminal.finish().expect(0);
    assert!(
        terminal.text().contains("45 123\r\n") && terminal.text().contains("err\r\n"),
        "{:?}",
        terminal.text()
    );
    assert_eq!(terminal.errors(), "");
    let usual =
        garden.run(&handle, &json!({ "path": "stty", "args": ["size"], "tty": {} })).unwrap().finish();
    assert_eq!(usual.expect(0).text(), "24 80\r\n");
    engine.finish();
}

/// Conformance: A5
#[test]
fn a_terminal_is_resized_also_after_the_end_of_its_input() {
    let (engine, garden, handle) = started();
    let text = "cat; while [ \"$(stty size)\" != '45 123' ]; do sleep 0.1; done; echo seen; sleep 1000";
    let mut terminal =
        garden.run(&handle, &json!({ "path": "sh", "args": ["-c", text], "tty": {} })).unwrap();
    terminal.close_input();
    terminal.resize(123, 45);
    let mut other = garden.attach(&handle, &terminal.process).unwrap();
    other.close_input();
    until("the new size", || garden.shell(&handle, "ps | grep -c '[s]leep 1000'").text().trim() != "0");
    terminal.terminate();
    terminal.finish().expect(143);
    other.finish().expect(143);
    engine.finish();
}

/// Conformance: A5, Q389-393
#[test]
fn signals_end_processes_also_after_the_end_of_their_input() {
    let (engine, garden, handle) = started();
    let mut ended = garden.run(&handle, &script("cat; sleep 1000")).unwrap();
    ended.close_input();
    ended.terminate();
    ended.finish().expect(143);
    let mut killed = garden.run(&handle, &script("trap '' TERM; echo ready; sleep 1000")).unwrap();
    killed.close_input();
    killed.kill();
    killed.finish().expect(137);

    let mut first = garden.run(&handle, &script("read x; echo $x; exit 12")).unwrap();
    let second = garden.attach(&handle, &first.process).unwrap();
    assert_ne!(first.stream, second.stream);
    first.input("both\n");
    let process = first.process.clone();
    for told in [first.finish(), second.finish()] {
        assert_eq!(told.expect(12).text(), "both\n");
    }
    for _ in 0..3 {
        let later = garden.attach(&handle, &process).unwrap().finish().expect(12);
        assert!(later.stdout.is_empty() && later.stderr.is_empty());
    }
    engine.finish();
}

/// Conformance: Q359-360
#[test]
fn a_client_that_goes_away_ends_nothing() {
    let (engine, garden, handle) = started();
    let gone = garden.run(&handle, &script("read x; echo got $x; exit 3")).unwrap();
    let process = gone.process.clone();
    gone.leave();
    let mut back = garden.attach(&handle, &process).unwrap();
    back.input("word\n");
    let back = back.finish().expect(3);
    assert_eq!(back.text(), "got word\n");
    garden.attach(&handle, &process).unwrap().finish().expect(3);
    engine.finish();
}

#[test]
fn a_stop_ends_every_process_and_marks_the_container() {
    let (engine, garden, handle) = started();
    let task = garden.run(&handle, &json!({ "path": "sleep", "args": ["1000"] })).unwrap();
    garden.put(&format!("/containers/{handle}/stop"), &json!({ "kill": true })).expect_done();
    task.finish().expect(137);
    assert_eq!(garden.info(&handle)["State"], "stopped");
    garden.shell(&handle, "true").expect(0);
    engine.finish();
}

#[test]
fn a_destroy_ends_processes_and_tells_those_who_wait() {
    let (engine, garden, handle) = started();
    let task = garden.run(&handle, &json!({ "path": "sleep", "args": ["1000"] })).unwrap();
    garden.destroy(&handle);
    task.finish().expect(137);
    engine.finish();
}

#[test]
fn want_of_memory_is_on_record_before_the_exit() {
    let engine = Engine::start();
    let garden = engine.garden();
    let limits = json!({ "memory_limits": { "limit_in_bytes": 20 << 20 } });
    let handle = garden.create(&engine.busybox(json!({ "limits": limits })));
    let spec = script("dd if=/dev/zero of=/dev/shm/x bs=1M count=100");
    let mut task = garden.run(&handle, &spec).unwrap();
    task.close_input();
    assert_ne!(task.finish().status, Ok(0));
    let events = garden.info(&handle)["Events"].clone();
    assert!(events.as_array().is_some_and(|events| events.contains(&json!("Out of memory"))), "{events}");
    engine.finish();
}

#[test]
fn messages_that_mean_nothing_are_passed_over_and_nonsense_ends_the_conversation() {
    let (engine, garden, handle) = started();
    let mut cat = garden.run(&handle, &json!({ "path": "cat" })).unwrap();
    for message in
        [json!({}), json!({ "source": 2, "data": "x" }), json!({ "signal": 9 }), json!({ "new": [{}] })]
    {
        cat.say(message);
    }
    cat.input("x");
    cat.close_input();
    assert_eq!(cat.finish().expect(0).text(), "x");

    let mut cat = garden.run(&handle, &json!({ "path": "cat" })).unwrap();
    let process = cat.process.clone();
    cat.say(json!({ "source": "zero" }));
    assert!(cat.finish().status.unwrap_err().contains("source"));
    let mut again = garden.attach(&handle, &process).unwrap();
    again.input("y");
    again.close_input();
    assert_eq!(again.finish().expect(0).text(), "y");
    engine.finish();
}

/// Conformance: Q365
///
/// Where the host does not let its root raise limits, what it has is all there is.
#[test]
fn processes_get_the_limits_they_ask_for() {
    let (engine, garden, handle) = started();
    let most = Command::new("sh").args(["-c", "ulimit -n 524288 2>/dev/null; ulimit -Hn"]).output().unwrap();
    let spec = json!({ "path": "sh", "args": ["-c", "ulimit -n"], "rlimits": { "nofile": 524_288 } });
    assert_eq!(garden.run(&handle, &spec).unwrap().finish().expect(0).stdout, most.stdout);
    let spec = json!({ "path": "sh", "args": ["-c", "ulimit -n; ulimit -Hn; ulimit -c"], "rlimits": { "nofile": 77, "core": 0 } });
    assert_eq!(garden.run(&handle, &spec).unwrap().finish().expect(0).text(), "77\n77\n0\n");
    engine.finish();
}

/// Each name stands for its own limit. Values that the host's root could not set are lowered to what it has.
#[test]
fn each_limit_has_its_name() {
    let (engine, garden, handle) = started();
    let held = rlimits::of(engine.server_pid());
    let values = rlimits::ALL.iter().zip(&held).map(|((name, _, value), held)| (*name, *value.min(&held.1)));
    let values: Vec<_> = values.collect();
    let asked: serde_json::Map<_, _> =
        values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let spec = json!({ "path": "cat", "args": ["/proc/self/limits"], "rlimits": asked });
    let told = rlimits::parse(&garden.run(&handle, &spec).unwrap().finish().expect(0).text());
    for ((name, value), told) in values.into_iter().zip(told) {
        assert_eq!(told, (value, value), "{name}");
    }
    engine.finish();
}

#[test]
fn an_output_that_nobody_opens_holds_no_process_back() {
    let (engine, garden, handle) = started();
    let spec = script("head -c 3000000 /dev/zero; echo done > /tmp/done");
    let task = garden.run_unheard(&handle, &spec).unwrap();
    let (mut late, process) = (task.open(&garden, &handle, "stderr"), task.process.clone());
    task.finish().expect(0);
    let mut rest = Vec::new();
    late.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    garden.attach(&handle, &process).unwrap().finish().expect(0);
    until("the file", || garden.shell(&handle, "cat /tmp/done").text() == "done\n");
    engine.finish();
}

/// A client that reads one output to its end before the other would wait for itself: what it leaves unread goes on, as far as
/// there is room.
#[test]
fn a_client_that_reads_one_output_before_the_other_gets_to_its_end() {
    let (engine, garden, handle) = started();
    let spec = script("head -c 3000000 /dev/zero >&2; echo done");
    let task = garden.run_unheard(&handle, &spec).unwrap();
    let mut errors = task.open(&garden, &handle, "stderr");
    let mut output = task.open(&garden, &handle, "stdout");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "done\n");
    task.finish().expect(0);
    let mut rest = Vec::new();
    errors.read_to_end(&mut rest).unwrap();
    // What sockets and pipes hold, and the quarter of a mebibyte that is kept; the log tells what was lost.
    assert!(rest.len() > 256 << 10, "{}", rest.len());
    if rest.len() < 3_000_000 {
        until("the log to tell the loss", || engine.log().contains("left an output unread"));
    }
    engine.finish();
}

/// A process is there for others once it is wholly there: whoever attaches while it is being started is told that there is none
/// yet, or gets all of it.
#[test]
fn who_attaches_while_a_process_is_being_started_gets_all_of_it_or_nothing() {
    let (engine, garden, handle) = started();
    for number in 0..10 {
        let id = format!("early-{number}");
        let mut spec = script("read line; exit 7");
        (spec["id"], spec["image"]) = (json!(id), json!({ "uri": engine.image() }));
        let begun = thread::spawn({
            let (garden, handle) = (garden.clone(), handle.clone());
            move || garden.run(&handle, &spec).unwrap()
        });
        let mut early = loop {
            match garden.attach(&handle, &id) {
                Ok(early) => break early,
                Err(answer) => drop(answer.expect_error(404, "ProcessNotFoundError")),
            }
        };
        early.input("go\n");
        early.finish().expect(7);
        begun.join().unwrap().finish().expect(7);
    }
    engine.finish();
}

/// A signal, and a client's going, count also while the process reads none of its input.
#[test]
fn signals_overtake_input_that_is_not_read_and_whoever_leaves_it_has_gone() {
    let (engine, garden, handle) = started();
    let mut deaf = garden.run(&handle, &json!({ "path": "sleep", "args": ["1000"] })).unwrap();
    // More pieces, and more bytes, than a pipe holds.
    for _ in 0..100 {
        deaf.input(&"x".repeat(16 << 10));
    }
    deaf.terminate();
    deaf.finish().expect(143);

    let short = garden.create(&engine.busybox(json!({ "grace_time": 500_000_000 })));
    let deaf = garden.run_unheard(&short, &json!({ "path": "sleep", "args": ["1000"] })).unwrap();
    // More than there is room for.
    deaf.overflow();
    deaf.leave();
    // A list names nobody.
    until("the container to be alone", || !engine.handles().contains(&short));
    engine.finish();
}
