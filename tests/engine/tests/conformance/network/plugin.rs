//! Networks that a plug-in makes: rows of the group net-plugin, and what a broken plug-in may not cost (S6.09).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use engine_tests::{Engine, until};

/// Writes down how it is called, and answers what the test has put in its place.
const RECORDER: &str = r#"#!/bin/sh
here=${0%/*}
while [ $# -gt 0 ]; do
    [ "$1" = --action ] && action=$2
    [ "$1" = --handle ] && handle=$2
    [ "$1" = --odd ] && echo "odd=$2" >> "$here/extra"
    shift
done
cat > "$here/input-$action-$handle"
echo "$action $handle" >> "$here/calls"
echo "working on $handle" >&2
[ -e "$here/$action.sh" ] && . "$here/$action.sh"
[ -e "$here/$action.json" ] && cat "$here/$action.json"
exit 0
"#;

const ANSWER: &str = r#"{"properties":{"garden.network.container-ip":"169.254.1.2","garden.network.host-ip":"169.254.0.1","garden.network.container-ipv6":"fd00::2","policy":"open"}}"#;

/// An engine whose networks a script makes.
struct Bed {
    engine: Engine,
    place: PathBuf,
}

impl Bed {
    fn start(options: &[&str]) -> Self {
        let mut engine = Engine::new();
        let place = engine.scratch().join("plugin");
        fs::create_dir(&place).unwrap();
        let program = place.join("program");
        fs::write(&program, RECORDER).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        serve(&mut engine, &program, options);
        Bed { engine, place }
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.place.join(name), text).unwrap();
    }

    fn told(&self, name: &str) -> String {
        fs::read_to_string(self.place.join(name)).unwrap_or_default()
    }

    fn calls(&self) -> Vec<String> {
        self.told("calls").lines().map(str::to_owned).collect()
    }

    /// A file as a process of the container reads it.
    fn reads(&self, handle: &str, path: &str) -> String {
        self.engine.gdn(["exec", handle, "cat", path]).expect_status(0).text()
    }

    fn destroy(&self, handle: &str) {
        self.engine.gdn(["destroy", handle]).expect_status(0);
    }
}

fn serve(engine: &mut Engine, program: &Path, options: &[&str]) {
    let program = program.to_str().unwrap();
    let fixed =
        ["--network-plugin", program, "--network-plugin-extra-arg=--odd", "--network-plugin-extra-arg=x y"];
    engine.start_server(&[&fixed[..], &["--external-ip", "192.0.2.9"], options].concat());
}

/// The plug-in is called at a create and a destroy, knows the process and what the client wants of networks, and what it
/// answers is the container's.
///
/// Conformance: Q190-193, Q201-204
#[test]
fn a_plug_in_is_told_what_a_client_wants_and_its_answer_is_the_containers() {
    let bed = Bed::start(&[]);
    bed.put("up.json", ANSWER);
    let properties =
        ["--property", "network.policy=all", "--property", "app=x", "--property", "log_config={}"];
    let ports = ["--publish", "0:8080", "--allow", "tcp,to=10.0.0.1,ports=80"];
    bed.engine.create(&[&["--handle", "one"], &properties[..], &ports[..]].concat());
    assert_eq!(bed.calls(), ["up one"]);
    assert_eq!(bed.told("extra"), "odd=x y\n");
    let input: serde_json::Value = serde_json::from_str(&bed.told("input-up-one")).unwrap();
    assert_eq!(input["Pid"], bed.engine.init_pid("one"));
    assert_eq!(input["Properties"], serde_json::json!({"policy": "all", "log_config": "{}"}));
    assert_eq!(input["netin"], serde_json::json!([{"host_port": 0, "container_port": 8080}]));
    assert_eq!(
        input["netout_rules"][0]["networks"],
        serde_json::json!([{"start": "10.0.0.1", "end": "10.0.0.1"}])
    );

    let told = bed.engine.inspect("one");
    assert_eq!(
        [&told["container_ip"], &told["host_ip"], &told["external_ip"], &told["container_ipv6"]],
        ["169.254.1.2", "169.254.0.1", "192.0.2.9", "fd00::2"]
    );
    for (key, value) in [("policy", "open"), ("app", "x"), ("network.policy", "all")] {
        assert_eq!(told["properties"][key], value, "{key}");
    }
    assert_eq!(
        bed.reads("one", "/etc/hosts"),
        "127.0.0.1 localhost\n::1 localhost\n169.254.1.2 one\nfd00::2 one\n"
    );
    bed.destroy("one");
    assert_eq!(
        (bed.calls(), bed.told("input-down-one").as_str()),
        (vec!["up one".to_owned(), "down one".to_owned()], "null")
    );
    bed.engine.finish();
}

/// Ports and rules of a container in use.
///
/// Conformance: Q194-196
#[test]
fn ports_and_rules_of_a_container_in_use_are_the_plug_ins() {
    let bed = Bed::start(&[]);
    bed.put("up.json", ANSWER);
    bed.put("net-in.json", r#"{"host_port":60123,"container_port":8080}"#);
    bed.engine.create(&["--handle", "one"]);
    let mapped = bed.engine.gdn(["net", "in", "one", "0:8080"]).expect_status(0).text();
    assert!(mapped.contains("60123"), "{mapped}");
    assert_eq!(
        bed.told("input-net-in-one"),
        r#"{"HostIP":"192.0.2.9","HostPort":0,"ContainerIP":"169.254.1.2","ContainerPort":8080}"#
    );
    assert_eq!(bed.engine.inspect("one")["mapped_ports"][0]["host_port"], 60123);
    bed.engine.gdn(["net", "out", "one", "udp,to=10.0.0.1-10.0.0.9,ports=53"]).expect_status(0);
    assert_eq!(
        bed.told("input-net-out-one"),
        r#"{"container_ip":"169.254.1.2","netout_rule":{"protocol":2,"networks":[{"start":"10.0.0.1","end":"10.0.0.9"}],"ports":[{"start":53,"end":53}]}}"#
    );
    bed.engine.gdn(["net", "out", "one", "icmp,to=10.0.0.1", "tcp,to=10.0.0.2,ports=80"]).expect_status(0);
    let bulk: serde_json::Value = serde_json::from_str(&bed.told("input-bulk-net-out-one")).unwrap();
    assert_eq!(bulk["netout_rules"].as_array().unwrap().len(), 2);
    bed.put("net-in.sh", "exit 4");
    bed.engine
        .gdn(["net", "in", "one", "0:8081"])
        .expect_error("external networker encountered an error running 'net-in' action: exit status: 4");
    bed.destroy("one");
    bed.engine.finish();
}

/// A container knows the plug-in's name servers before the operator's, and those before the host's.
///
/// Conformance: Q197-200, Q205-210
#[test]
fn name_servers_are_the_plug_ins_the_operators_or_the_hosts() {
    let bed = Bed::start(&["--additional-dns-server", "9.9.9.9"]);
    bed.engine.create(&["--handle", "no-op"]);
    let host = fs::read_to_string("/etc/resolv.conf").unwrap();
    let inside = bed.reads("no-op", "/etc/resolv.conf");
    let usable = host.lines().filter(|line| !line.contains("nameserver 127.") && !line.trim().is_empty());
    let expected: String =
        usable.chain(["nameserver 9.9.9.9"]).map(|line| format!("{}\n", line.trim())).collect();
    assert_eq!(inside, expected);
    bed.put("up.json", r#"{"dns_servers":["1.2.3.4","1.2.3.5"],"search_domains":["a.b","c.d"]}"#);
    bed.engine.create(&["--handle", "named"]);
    assert_eq!(
        bed.reads("named", "/etc/resolv.conf"),
        "nameserver 1.2.3.4\nnameserver 1.2.3.5\nsearch a.b c.d\n"
    );
    bed.engine.gdn(["net", "in", "no-op", "0:80"]).expect_error("gave the container no address");
    bed.destroy("no-op");
    bed.destroy("named");
    bed.engine.finish();

    let bed = Bed::start(&["--dns-server", "8.8.4.4", "--additional-dns-server", "9.9.9.9"]);
    bed.engine.create(&["--handle", "asked"]);
    assert_eq!(bed.reads("asked", "/etc/resolv.conf"), "nameserver 8.8.4.4\nnameserver 9.9.9.9\n");
    bed.destroy("asked");
    bed.engine.finish();
}

/// S6.09: whatever a plug-in does, the client is told so, nothing of the container stays, and others are served.
///
/// Conformance: Q85-86
#[test]
fn a_plug_in_that_fails_costs_one_container_and_leaves_nothing() {
    let bed = Bed::start(&["--network-plugin-timeout", "2s"]);
    let failures = [
        ("exit 3", "exit status: 3"),
        ("echo not json", "cannot be read"),
        ("printf '{\"properties\":{'", "cannot be read"),
        ("echo '{\"dns_servers\":[\"x\"]}'", "no address"),
        ("printf %s '{\"search_domains\":[\"a\\nnameserver 6.6.6.6\"]}'", "search domain"),
        ("echo '{\"properties\":{\"garden.network.container-ip\":\"../x\"}}'", "no address"),
        ("exec cat /dev/zero", "more than 1048576 bytes"),
        ("cat /dev/zero >&2", "did not end within"),
        ("sleep 1000", "did not end within"),
        ("sleep 1000 & wait", "did not end within"),
        ("kill -9 $$", "signal: 9"),
    ];
    for (index, (script, said)) in failures.iter().enumerate() {
        let handle = format!("broken-{index}");
        bed.put("up.sh", script);
        bed.engine.gdn(["create", "--handle", &handle, bed.engine.image()]).expect_error(said);
        until("the container to be taken down", || bed.calls().contains(&format!("down {handle}")));
        bed.engine.gdn(["ping"]).expect_status(0);
    }
    fs::remove_file(bed.place.join("up.sh")).unwrap();
    assert_eq!(bed.engine.handles(), Vec::<String>::new());
    bed.engine.create(&["--handle", "good"]);
    for words in [["net", "replace", "good"], ["net", "show", "good"]] {
        bed.engine.gdn(words).expect_error("unknown to network plug-ins");
    }
    bed.destroy("good");
    bed.engine.finish();
}

/// A network that an engine left behind is taken down by the next one, also when the plug-in fails at first (Q320).
#[test]
fn what_an_engine_leaves_is_taken_down_by_the_next() {
    let mut bed = Bed::start(&[]);
    bed.put("up.json", ANSWER);
    bed.engine.create(&["--handle", "stays"]);
    bed.engine.create(&["--handle", "goes"]);
    bed.put("down.sh", "exit 1");
    bed.engine.gdn(["destroy", "goes"]).expect_error("running 'down' action");
    bed.engine.kill_server();
    let program = bed.place.join("program");
    let refused = bed.engine.gdn(["server", "--no-bind-socket"]);
    refused.expect_error("networks of a plug-in");
    serve(&mut bed.engine, &program, &[]);
    fs::remove_file(bed.place.join("down.sh")).unwrap();
    until("the container to be gone", || bed.engine.handles() == ["stays"]);
    bed.put("net-in.json", r#"{"host_port":60123,"container_port":8080}"#);
    bed.engine.gdn(["net", "in", "stays", "0:8080"]).expect_status(0);
    assert!(bed.told("input-net-in-stays").contains(r#""ContainerIP":"169.254.1.2""#));
    bed.destroy("stays");
    bed.engine.finish();
}

/// I11: a call that outlives its engine is ended before its network is taken down, so that nothing comes up behind that.
#[test]
fn a_call_that_outlives_its_engine_sets_nothing_up_behind_its_end() {
    let mut bed = Bed::start(&[]);
    // It goes on in what it starts, too.
    bed.put("up.sh", "(sleep 4; echo >> \"$here/late\") & sleep 5; echo >> \"$here/late\"");
    let create = bed.engine.begin(["create", "--handle", "half", bed.engine.image()]);
    until("the plug-in to be called", || bed.calls() == ["up half"]);
    bed.engine.kill_server();
    assert_ne!(create.finish().status, 0);
    let program = bed.place.join("program");
    serve(&mut bed.engine, &program, &[]);
    until("the network to be taken down", || bed.calls() == ["up half", "down half"]);
    let program = program.to_str().unwrap();
    let runs =
        fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let left =
        runs.filter(|line| line.starts_with(b"/bin/sh") && String::from_utf8_lossy(line).contains(program));
    assert_eq!(left.count(), 0);
    assert_eq!(bed.told("late"), "");
    bed.engine.finish();
}
