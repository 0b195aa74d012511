//! Clients of a server that stops and comes back.

use std::fs;
use std::io::{BufRead, Read};
use std::net::Shutdown;
use std::path::PathBuf;

use engine_tests::{Engine, inside, until};
use serde_json::{Value, json};

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
    assert_eq!(short.finish().status, Err("EOF".to_owned()));
    idle.shutdown(Shutdown::Both).unwrap();
    assert!(!garden.socket().exists());

    engine.start_server(&[]);
    let mut back = garden.attach(&handle, &process).unwrap();
    back.input("word\n");
    // What the process said so shortly before the stop that nobody heard it is told now.
    assert_eq!(told.text() + &back.finish().expect(9).text(), "first\ngot word\n");
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

/// Prints this many lines once there is a file `go` in the directory at `/go`, and ends with this status.
fn talker(id: &str, lines: u32, status: i64) -> Value {
    let script = format!(
        "echo first; while [ ! -e /go/{id} ]; do sleep 0.02; done; \
         i=0; while [ $i -lt {lines} ]; do echo line $i; echo error $i >&2; i=$((i+1)); done; exit {status}"
    );
    json!({ "path": "sh", "args": ["-c", script], "id": id })
}

fn lines(word: &str, count: u32) -> String {
    (0..count).map(|number| format!("{word} {number}\n")).collect()
}

/// A container that waits for words in this directory of the host.
fn listener(engine: &Engine) -> (String, PathBuf) {
    let dir = engine.scratch().join("go");
    fs::create_dir(&dir).unwrap();
    let mount = json!([{ "src_path": dir, "dst_path": "/go" }]);
    (engine.garden().create(&engine.busybox(json!({ "bind_mounts": mount }))), dir)
}

/// The reference engine lets a process wait once its pipe is full. One that ends meanwhile loses its last words there.
#[test]
fn what_is_written_while_no_server_runs_waits_for_the_client() {
    let mut engine = Engine::start();
    let garden = engine.garden();
    let (handle, go) = listener(&engine);
    // More than all pipes hold, and less: this one ends while no server runs.
    let talkers = [("waits", 40_000, 3), ("ends", 100, 4)];
    let mut clients = Vec::new();
    for (id, count, status) in talkers {
        let client = garden.run_unheard(&handle, &talker(id, count, status)).unwrap();
        let mut stdout = client.open(&garden, &handle, "stdout");
        let stderr = client.open(&garden, &handle, "stderr");
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        assert_eq!(first, "first\n");
        clients.push((client, stdout, stderr));
    }
    let container = engine.init_pid(&handle);
    engine.kill_server();
    for (id, ..) in talkers {
        fs::write(go.join(id), "").unwrap();
    }
    until("one has ended, the other waits", || inside::processes_beside(container).len() == 1);
    engine.start_server(&[]);
    for (id, count, status) in talkers {
        let back = garden.attach(&handle, id).unwrap().finish().expect(status);
        assert!(back.text() == lines("line", count), "{id}: {} bytes", back.stdout.len());
        assert!(back.errors() == lines("error", count), "{id}: {} bytes", back.stderr.len());
    }
    drop(clients);
    engine.finish();
}

/// The client reads nothing: some of the output is in its socket, and the rest in pipes, whose other end nobody has any more.
#[test]
fn what_a_slow_client_had_not_got_of_a_process_that_ended_outlives_the_server() {
    let mut engine = Engine::start();
    let garden = engine.garden();
    let (handle, go) = listener(&engine);
    // In large pieces: the server then leads them past itself, and a kill reaches only what it has read.
    let whole = lines("line", 60_000);
    fs::write(go.join("data"), &whole).unwrap();
    let script = "while [ ! -e /go/ends ]; do sleep 0.02; done; cat /go/data; exit 6";
    let spec = json!({ "path": "sh", "args": ["-c", script], "id": "ends" });
    let client = garden.run_unheard(&handle, &spec).unwrap();
    let mut stdout = client.open(&garden, &handle, "stdout");
    let container = engine.init_pid(&handle);
    fs::write(go.join("ends"), "").unwrap();
    // The first piece goes through the server's hands; what comes behind it does not.
    let mut got = String::new();
    stdout.read_line(&mut got).unwrap();
    until("the process to end", || inside::processes_beside(container).is_empty());
    engine.kill_server();
    stdout.read_to_string(&mut got).unwrap();
    assert!(got.len() < 500_000, "{} bytes were on their way", got.len());
    engine.start_server(&[]);
    let back = garden.attach(&handle, "ends").unwrap().finish().expect(6);
    let (before, after) = (got.len(), back.stdout.len());
    assert!(got + &back.text() == whole, "{before} and {after} bytes of {}", whole.len());
    engine.finish();
}

#[test]
fn a_stop_in_the_middle_of_output_neither_loses_nor_repeats_a_byte() {
    let mut engine = Engine::start();
    let garden = engine.garden();
    let (handle, go) = listener(&engine);
    let count = 200_000;
    let mut stdout = String::new();
    let mut client = garden.run_unheard(&handle, &talker("talks", count, 5)).unwrap();
    let mut errors = Vec::new();
    for round in 0..3 {
        let reading = client.output(&garden, &handle, "stdout");
        errors.push(client.output(&garden, &handle, "stderr"));
        if round == 0 {
            fs::write(go.join("talks"), "").unwrap();
        }
        engine.stop_server();
        stdout += &String::from_utf8(reading.join().unwrap()).unwrap();
        engine.start_server(&[]);
        client = garden.attach_unheard(&handle, "talks").unwrap();
    }
    let reading = client.output(&garden, &handle, "stdout");
    errors.push(client.output(&garden, &handle, "stderr"));
    stdout += &String::from_utf8(reading.join().unwrap()).unwrap();
    client.finish().expect(5);
    let errors: Vec<u8> = errors.into_iter().flat_map(|reading| reading.join().unwrap()).collect();
    assert!(stdout == "first\n".to_owned() + &lines("line", count), "{} bytes", stdout.len());
    assert!(errors == lines("error", count).as_bytes(), "{} bytes", errors.len());
    engine.finish();
}

/// The reference engine counts on an orderly stop for that, and does not notice what happens meanwhile.
#[test]
fn want_of_memory_is_known_after_restarts_also_if_no_server_ran_when_it_came() {
    let mut engine = Engine::start();
    let garden = engine.garden();
    let go = engine.scratch().join("go");
    fs::create_dir(&go).unwrap();
    let more = json!({
        "limits": { "memory_limits": { "limit_in_bytes": 20 << 20 } },
        "bind_mounts": [{ "src_path": go, "dst_path": "/go" }],
    });
    let handle = garden.create(&engine.busybox(more));
    let hog = |id: &str| {
        let script = format!(
            "while [ ! -e /go/{id} ]; do sleep 0.02; done; exec dd if=/dev/zero of=/dev/null bs=100M count=1"
        );
        json!({ "path": "sh", "args": ["-c", script], "id": id })
    };
    let events = || garden.info(&handle)["Events"].clone();
    let first = garden.run(&handle, &hog("first")).unwrap();
    let second = garden.run(&handle, &hog("second")).unwrap();
    fs::write(go.join("first"), "").unwrap();
    first.finish().expect(137);
    assert_eq!(events(), json!(["Out of memory"]));
    let container = engine.init_pid(&handle);
    engine.kill_server();
    drop(second);
    engine.start_server(&[]);
    assert_eq!(events(), json!(["Out of memory"]));
    engine.kill_server();
    fs::write(go.join("second"), "").unwrap();
    until("the kernel to end it", || inside::processes_beside(container).is_empty());
    for _ in 0..2 {
        engine.start_server(&[]);
        assert_eq!(events(), json!(["Out of memory", "Out of memory"]));
        engine.stop_server();
    }
    engine.start_server(&[]);
    garden.attach(&handle, "second").unwrap().finish().expect(137);
    engine.finish();
}
