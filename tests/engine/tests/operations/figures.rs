//! The port for operators.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use engine_tests::garden::{Answer, head};
use engine_tests::host::{Host, Namespace};
use engine_tests::{Engine, binary, until_some};
use serde_json::Value;

/// Where figures are served, as the log tells.
fn address(engine: &Engine) -> String {
    until_some("the address in the log", || {
        let log = engine.log();
        let line = log.lines().rfind(|line| line.contains("serving figures"))?.to_owned();
        Some(line.split_once("address=")?.1.trim().to_owned())
    })
}

fn ask(address: &str, method: &str, path: &str, body: &str) -> Answer {
    let mut connection = BufReader::new(TcpStream::connect(address).unwrap());
    let head = head(method, path, &[], Some(body.len()));
    connection.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
    let answer = Answer::read(&mut connection);
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "the connection ends");
    answer
}

/// The value of one sample.
fn sample(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
}

/// Conformance: G12, Q93
#[test]
fn figures_are_real_and_tell_no_secret() {
    let mut engine = Engine::new();
    engine.start_server(&["--debug-bind-ip", "127.0.0.1", "--debug-bind-port", "0", "--tag", "hunter2"]);
    let address = address(&engine);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert!(!engine.log().contains("figures of this engine are served to whoever"), "{}", engine.log());
    let handles: Vec<_> = (0..2).map(|_| engine.create(&["--property", "secret=hunter2"])).collect();
    engine.gdn(["stop", &handles[0]]).expect_status(0);
    engine.shell(&handles[1], "true").expect_status(0);
    engine.gdn(["destroy", "none"]).expect_error("none");

    let vars: Value =
        serde_json::from_slice(&ask(&address, "GET", "/debug/vars", "").expect(200).body).unwrap();
    assert!(vars["memstats"]["Alloc"].as_u64().unwrap() > 100_000, "{vars}");
    assert_eq!(vars["depotDirs"], 2, "{vars}");
    for name in ["numCPUS", "numGoRoutines", "loopDevices", "backingStores"] {
        assert!(vars[name].is_u64(), "{name}: {vars}");
    }

    let metrics = ask(&address, "GET", "/metrics", "").expect(200);
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = metrics.text();
    for (name, expected) in [
        ("gdn_containers{state=\"active\"}", 1.0),
        ("gdn_containers{state=\"stopped\"}", 1.0),
        ("gdn_operations_total{operation=\"create\",outcome=\"succeeded\"}", 2.0),
        ("gdn_operations_total{operation=\"run\",outcome=\"succeeded\"}", 1.0),
        ("gdn_operations_total{operation=\"destroy\",outcome=\"failed\"}", 1.0),
        ("gdn_operation_seconds_count{operation=\"create\"}", 2.0),
        ("gdn_panics_total", 0.0),
    ] {
        assert_eq!(sample(text, name), expected, "{name}: {text}");
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", engine.server_pid())).unwrap().count();
    let told = sample(text, "process_open_fds");
    assert!((told - open as f64).abs() < 20.0, "{told} open, {open} seen");
    assert!(sample(text, "process_resident_memory_bytes") > 1e6, "{text}");
    assert!(sample(text, "gdn_operation_seconds_sum{operation=\"create\"}") > 0.0, "{text}");
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok() && text.contains("# TYPE "), "{name} {value}");
    }

    let all = format!("{vars}{text}");
    assert!(!all.contains("hunter2") && handles.iter().all(|handle| !all.contains(handle)), "{all}");
    ask(&address, "GET", "/debug/pprof/", "").expect(404);
    engine.finish();
}

#[test]
fn the_level_of_the_log_is_changed_while_the_server_runs() {
    let mut engine = Engine::new();
    engine.start_server(&["--debug-bind-ip", "::1", "--debug-bind-port", "0"]);
    let address = address(&engine);
    assert_eq!(ask(&address, "GET", "/log-level", "").expect(200).text(), "info\n");
    let requests = |engine: &Engine| engine.log().matches("request operation=\"Ping\"").count();
    engine.garden().get("/ping").expect_done();
    assert_eq!(requests(&engine), 0, "{}", engine.log());
    assert_eq!(ask(&address, "PUT", "/log-level", "debug").expect(200).text(), "debug\n");
    engine.garden().get("/ping").expect_done();
    until_some("the request in the log", || (requests(&engine) == 1).then_some(()));
    ask(&address, "PUT", "/log-level", "loud").expect(400);
    ask(&address, "PUT", "/log-level", "I").expect(200);
    engine.garden().get("/ping").expect_done();
    assert_eq!(requests(&engine), 1, "{}", engine.log());
    engine.finish();
}

/// Conformance: Q92-93
#[test]
fn there_is_no_port_unless_it_is_asked_for_and_others_only_read_it() {
    let (host, mut engine) = (Host::new(), Engine::new());
    engine.start_server_in(&host.inside, &[]);
    assert!(!engine.log().contains("serving figures"), "{}", engine.log());
    engine.stop_server();
    engine.start_server_in(&host.inside, &["--debug-bind-ip", "0.0.0.0"]);
    let warned = engine.log().matches("figures of this engine are served to whoever").count();
    assert_eq!(warned, 1, "{}", engine.log());
    let level = |from: &Namespace, address: &str| {
        from.within(|| ask(&format!("{address}:17013"), "PUT", "/log-level", "warn").status)
    };
    assert_eq!(level(&host.outside, "192.0.2.2"), 403);
    assert_eq!(host.outside.within(|| ask("192.0.2.2:17013", "GET", "/metrics", "").status), 200);
    assert_eq!(level(&host.inside, "127.0.0.1"), 200);
    // One address is one address.
    engine.stop_server();
    engine.start_server_in(&host.inside, &["--debug-bind-ip", "127.0.0.1"]);
    assert!(host.outside.within(|| TcpStream::connect("192.0.2.2:17013").is_err()));
    let mut second = host.inside.command(binary().to_str().unwrap());
    let other = engine.scratch().join("other");
    let second =
        second.arg("--root").arg(other).args(["server", "--debug-bind-ip", "127.0.0.1"]).output().unwrap();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && told.contains("cannot serve figures"), "{told}");
    engine.finish();
}
