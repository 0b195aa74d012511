//! The server itself: its socket, and clients that misbehave.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use engine_tests::garden::{Answer, Garden, head};
use engine_tests::{Engine, binary, inside, until, until_some};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// Conformance: S1
///
/// The mode is 0660 and not 0777 as with the reference engine: who speaks to the engine is as good as root.
#[test]
fn the_socket_has_its_mode_and_is_made_anew_after_a_kill() {
    let mut engine = Engine::start();
    let socket = engine.root().join("garden.sock");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&socket), 0o660);
    engine.kill_server();
    assert!(socket.exists());
    engine.start_server(&[]);
    engine.garden().get("/ping").expect_done();
    engine.stop_server();
    assert!(!socket.exists());
    let other = engine.scratch().join("other.sock");
    let other_text = other.to_str().unwrap();
    engine.start_server(&["--bind-socket", other_text, "--bind-socket-mode", "0600"]);
    assert_eq!((mode(&other), socket.exists()), (0o600, false));
    Garden::new(&other).get("/ping").expect_done();
    engine.stop_server();
    engine.start_server(&["--no-bind-socket"]);
    assert!(!socket.exists());
    engine.finish();
}

#[test]
fn an_address_is_served_with_one_warning_unless_it_is_the_loopback() {
    let mut engine = Engine::new();
    engine.start_server(&["--bind-ip", "127.0.0.1", "--bind-port", "0"]);
    let port = |engine: &Engine| {
        let log = engine.log();
        let line = log.lines().rfind(|line| line.contains("listening for Garden's clients"))?.to_owned();
        line.rsplit(':').next()?.trim().parse::<u16>().ok()
    };
    let port_of_loopback = until_some("the port in the log", || port(&engine));
    let mut connection = BufReader::new(TcpStream::connect(("127.0.0.1", port_of_loopback)).unwrap());
    connection.get_mut().write_all(head("GET", "/ping", &[], None).as_bytes()).unwrap();
    Answer::read(&mut connection).expect_done();
    drop(connection);
    assert!(!engine.root().join("garden.sock").exists());
    assert!(!engine.log().contains("whoever reaches this address"), "{}", engine.log());
    engine.stop_server();
    engine.start_server(&["--bind-ip", "0.0.0.0", "--bind-port", "0"]);
    assert_eq!(engine.log().matches("whoever reaches this address is root").count(), 1, "{}", engine.log());
    engine.finish();
}

/// The keeper of a container.
fn keeper(engine: &Engine, handle: &str) -> Pid {
    Pid::from_raw(inside::parent(engine.init_pid(handle)).cast_signed()).unwrap()
}

#[test]
fn clients_of_a_server_that_is_not_done_with_its_start_wait_for_their_answer() {
    let mut engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let keeper = keeper(&engine, &handle);
    engine.kill_server();
    fs::remove_file(garden.socket()).unwrap();
    // The start cannot come to its end without an answer of the keeper.
    kill_process(keeper, Signal::STOP).unwrap();
    engine.begin_server(&[]);
    until("the socket is there", || garden.socket().exists());
    let mut early = garden.connect();
    early.write_all(head("GET", &format!("/containers/{handle}/info"), &[], None).as_bytes()).unwrap();
    let waits = PollFd::new(&early, PollFlags::IN);
    assert_eq!(poll(&mut [waits], Some(&Timespec { tv_sec: 0, tv_nsec: 300_000_000 })).unwrap(), 0);
    kill_process(keeper, Signal::CONT).unwrap();
    let answer = Answer::read(&mut BufReader::new(early)).expect(200);
    assert_eq!(answer.json()["State"], "active");
    engine.wait_for_server();
    engine.finish();
}

/// Supervisors of the reference engine kill it ten seconds after they told it to stop.
#[test]
fn a_stop_does_not_wait_for_calls_that_come_to_no_end() {
    let mut engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({})));
    let keeper = keeper(&engine, &handle);
    kill_process(keeper, Signal::STOP).unwrap();
    let mut lost = garden.connect();
    let body = br#"{"path":"true"}"#;
    let run = head("POST", &format!("/containers/{handle}/processes"), &[], Some(body.len()));
    lost.write_all(&[run.as_bytes(), body].concat()).unwrap();
    // A later answer on another connection: the engine has the first call.
    garden.get("/ping").expect_done();
    // Three times what it may take.
    engine.stop_server_within(Duration::from_secs(30));
    let mut answer = Vec::new();
    lost.read_to_end(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "");
    kill_process(keeper, Signal::CONT).unwrap();
    engine.start_server(&[]);
    garden.shell(&handle, "exit 7").expect(7);
    engine.finish();
}

/// Conformance: S2
#[test]
fn slow_and_endless_requests_are_cut_off() {
    let mut engine = Engine::new();
    engine.start_server(&["--read-header-timeout", "1"]);
    let garden = engine.garden();
    let refused = String::from_utf8(garden.raw(b"GET /ping HTTP/1.1\r\nHost: a")).unwrap();
    assert!(refused.starts_with("HTTP/1.1 408 "), "{refused}");
    assert_eq!(garden.raw(b""), b"");

    let mut endless = garden.connect();
    let flood = std::thread::spawn({
        let mut endless = endless.try_clone().unwrap();
        move || while endless.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let mut answer = Vec::new();
    // What was not read may turn the end of the connection into a reset, which is as good here.
    let _ = endless.read_to_end(&mut answer);
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 431 "), "{answer:?}");
    endless.shutdown(std::net::Shutdown::Both).unwrap();
    flood.join().unwrap();
    garden.get("/ping").expect_done();
    engine.finish();
}

#[test]
fn requests_that_can_be_read_in_two_ways_are_refused() {
    let engine = Engine::start();
    let garden = engine.garden();
    for lines in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: -2\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked\r\n X: y\r\n",
    ] {
        let request =
            format!("POST /containers HTTP/1.1\r\nHost: api\r\n{lines}\r\n{{}}GET /ping HTTP/1.1\r\n\r\n");
        let answer = String::from_utf8(garden.raw(request.as_bytes())).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 501 "),
            "{lines:?}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let huge = head("POST", "/containers", &[], Some(1 << 40));
    assert!(String::from_utf8(garden.raw(huge.as_bytes())).unwrap().starts_with("HTTP/1.1 413 "));
    for garbage in [&b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n\r\n"[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n"]
    {
        assert!(String::from_utf8(garden.raw(garbage)).unwrap().starts_with("HTTP/1.1 400 "));
    }
    assert!(garden.get("/containers").expect(200).json()["Handles"].as_array().unwrap().is_empty());
    engine.finish();
}

/// Conformance: S6
#[test]
fn the_log_tells_a_clients_request_ids_and_none_of_its_secrets() {
    let mut engine = Engine::new();
    engine.start_server(&["--log-level", "debug"]);
    let garden = engine.garden();
    let call = |method: &str, path: &str, trace: &str, body: &str| {
        let mut connection = BufReader::new(garden.connect());
        let head = head(method, path, &[("X-Vcap-Request-Id", trace)], Some(body.len()));
        connection.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
        Answer::read_head(&mut connection)
    };
    let spec = engine.busybox(json!({
        "handle": "h", "env": ["A=hunter2"], "properties": { "p": "hunter2" },
    }));
    call("POST", "/containers", "trace-create", &spec.to_string()).expect(200);
    let process = json!({ "path": "true", "args": ["hunter2"], "env": ["B=hunter2"] }).to_string();
    call("POST", "/containers/h/processes", "trace-run", &process).expect(201);
    call("PUT", "/containers/h/properties/k", "trace-property", "{\"value\":\"hunter2\"}").expect(200);
    let secret =
        json!({ "image": { "uri": "docker://127.0.0.1:1/x", "username": "u", "password": "hunter2" } });
    call("POST", "/containers", "trace-failed", &secret.to_string()).expect(500);
    call("POST", "/containers", "trace-broken", "{\"env\":[\"A=hunter2\"] hunter2").expect(500);
    call("GET", "/ping", "trace-ping \u{e9}", "").expect(200);
    call("GET", "/ping", "trace\u{1b}[31m", "").expect(400);
    for trace in ["create", "run", "property", "failed", "broken", "ping"] {
        until("the trace in the log", || engine.log().contains(&format!("trace-{trace}")));
    }
    assert!(!engine.log().contains("hunter2") && !engine.log().contains('\u{1b}'), "{}", engine.log());
    engine.finish();
}

#[test]
fn one_connection_too_many_is_told_so_and_there_is_room_again() {
    let mut engine = Engine::new();
    engine.start_server(&["--max-connections", "3"]);
    let garden = engine.garden();
    let mut held: Vec<_> = (0..3).map(|_| garden.connect()).collect();
    let refused = Answer::read(&mut BufReader::new(garden.connect()));
    assert_eq!(refused.expect_error(503, "ServiceUnavailableError"), "too many connections");
    held.pop();
    until("there to be room", || {
        let mut connection = garden.connect();
        // It may be refused before it has asked.
        let _ = connection.write_all(head("GET", "/ping", &[], None).as_bytes());
        Answer::read(&mut BufReader::new(connection)).status == 200
    });
    drop(held);
    engine.finish();
}

/// As a supervisor does it that opens the socket before it starts the engine.
#[test]
fn a_socket_that_was_inherited_is_served_and_stays() {
    let mut engine = Engine::new();
    let socket = engine.scratch().join("inherited.sock");
    let open = "$^F = 1000; my $s; socket($s, PF_UNIX, SOCK_STREAM, 0) or die $!; bind($s, sockaddr_un(shift)) or die $!; \
                listen($s, 9) or die $!; $ENV{SOCKET2ME_FD} = fileno($s); exec @ARGV or die $!";
    let mut command = Command::new("perl");
    command.args(["-MSocket", "-e", open]).arg(&socket).arg(binary()).args(engine.server_arguments(&[]));
    engine.start_server_by(command);
    assert!(!engine.root().join("garden.sock").exists());
    let garden = Garden::new(&socket);
    garden.get("/ping").expect_done();
    let handle = garden.create(&engine.busybox(json!({})));
    // Nobody inherits it from the engine.
    let told = garden.shell(&handle, "ls /proc/self/fd").expect(0);
    assert_eq!(told.text(), "0\n1\n2\n3\n");
    garden.destroy(&handle);
    engine.stop_server();
    assert!(socket.exists() && std::os::unix::net::UnixStream::connect(&socket).is_err());
    engine.finish();
}

/// Defect 20 of the reference engine: two processes for each container whose figures are asked for.
#[test]
fn figures_are_read_without_a_process() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handles: Vec<String> = (0..5).map(|_| garden.create(&engine.busybox(json!({})))).collect();
    let bulk = format!("/containers/bulk_metrics?handles={}", handles.join(","));
    let trace = engine.scratch().join("trace");
    let server = engine.server_pid().to_string();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=process,pread64,openat", "-p", &server, "-o"]).arg(&trace);
    let mut strace = strace.spawn().expect("strace is installed");
    let traced = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        !status.contains("TracerPid:\t0\n")
    };
    until("the server to be traced", || traced(&server));
    for _ in 0..3 {
        let figures = garden.get(&bulk).expect(200).json();
        for handle in &handles {
            assert!(figures[handle]["Metrics"]["CPUStat"]["Usage"].as_u64() > Some(0), "{figures}");
        }
    }
    kill_process(Pid::from_child(&strace), Signal::TERM).unwrap();
    strace.wait().unwrap();
    let calls = fs::read_to_string(&trace).unwrap();
    // The files are opened at the first reading: that much shows that the trace sees who reads.
    assert!(calls.contains("memory.stat"), "{calls}");
    let makes_one = |call: &&str| {
        let thread = call.contains("CLONE_THREAD");
        !thread && ["fork(", "clone(", "clone3(", "execve("].iter().any(|name| call.contains(name))
    };
    assert_eq!(calls.lines().filter(makes_one).collect::<Vec<_>>(), Vec::<&str>::new());
    engine.finish();
}
