//! What containers had of the network stays theirs over a restart of the host, until they are destroyed.

use engine_tests::host::{GREETING, Host, Namespace};
use serde_json::{Value, json};

use super::*;

const OPTIONS: [&str; 6] =
    ["--network-pool", "10.254.0.0/29", "--network-pool6", "fd00:77::/48", "--port-pool-size", "3"];

/// What is told of where a container is in the network.
fn place(engine: &Engine, handle: &str) -> Value {
    let told = engine.inspect(handle);
    json!([told["container_ip"], told["container_ipv6"], told["mapped_ports"]])
}

/// The server as it would start after a restart of the host, in that host's network.
fn start_in(engine: &mut Engine, network: &Namespace) {
    let command = after_reboot(engine, network.command("unshare"), &OPTIONS);
    engine.note_start(Some(network), &OPTIONS);
    engine.start_server_by(command);
}

#[test]
fn addresses_and_ports_of_lost_containers_are_nobody_elses_until_they_are_destroyed() {
    // The host outlives the engine, which a failed test sweeps in it.
    let (mut host, mut engine) = (Host::new(), Engine::new());
    engine.start_server_in(&host.inside, &OPTIONS);
    engine.create(&["--handle", "pool", "--publish", "80", "--publish", "53/udp"]);
    engine.create(&["--handle", "named", "--network", "10.9.0.2/24", "--publish", "8080:80"]);
    engine.gdn(["net", "out", "named", "tcp,to=192.0.2.1,ports=80"]).expect_status(0);
    let places = [place(&engine, "pool"), place(&engine, "named")];
    assert_eq!(engine.in_use(), [1, 2, 1, 1]);
    engine.kill_server();
    restart_host(&engine);
    // Links, tables and what was ever known of connections went with the host.
    host = Host::new();
    let _listener = host.outside.listen(80);

    let create = |engine: &Engine, options: &[&str]| {
        engine.gdn([&["create", "--image", engine.image()], options].concat())
    };
    for round in 0..2 {
        start_in(&mut engine, &host.inside);
        for (handle, before) in ["pool", "named"].iter().zip(&places) {
            assert_eq!(engine.inspect(handle)["state"], "lost");
            assert_eq!(&place(&engine, handle), before);
            for words in [["net", "in", handle, "99:99"], ["net", "out", handle, "all"]] {
                engine.gdn(words).expect_error("lost");
            }
            engine.gdn(["net", "replace", handle]).expect_error("lost");
            let shown = engine.gdn(["net", "show", handle]).expect_status(0).text();
            assert_eq!(shown.contains("allows tcp,to=192.0.2.1,ports=80"), *handle == "named", "{shown}");
        }
        assert_eq!(engine.in_use(), [1, 2, 1, 1]);
        assert!(!host.outside.reaches("192.0.2.2", 8080));
        for (network, said) in [
            ("10.9.0.2/24", "the requested IP is already allocated"),
            ("10.9.0.0/25", "overlaps an existing subnet"),
        ] {
            create(&engine, &["--network", network]).expect_error(said);
        }
        for port in ["8080:1", "61001:1", "61001:1/udp"] {
            let taken = port.split(':').next().unwrap();
            create(&engine, &["--publish", port]).expect_error(taken);
        }
        // The last subnet of the pool, and the ports behind the one that is held.
        engine.create(&["--handle", "new", "--publish", "80", "--publish", "80", "--publish", "8080:80/udp"]);
        assert_eq!(engine.inspect("new")["container_ip"], "10.254.0.6");
        let told = engine.shell("new", "nc -w 1 192.0.2.1 80").text();
        assert!(told.contains(GREETING), "a container that was made since has a network: {told}");
        assert_eq!(engine.in_use(), [2, 3, 3, 1]);
        create(&engine, &[]).expect_error("insufficient subnets");
        create(&engine, &["--network", "10.9.0.0/24", "--publish", "1"])
            .expect_error("port pool is exhausted");
        engine.gdn(["destroy", "new"]).expect_status(0);
        until("what the new one had to be free", || engine.in_use() == [1, 2, 1, 1]);
        if round == 0 {
            engine.kill_server();
        }
    }

    engine.gdn(["destroy", "pool", "named"]).expect_status(0);
    until("what the lost had to be free", || engine.in_use() == [0; 4]);
    let mut options = vec!["--network", "10.9.0.2/24", "--publish", "8080:80"];
    options.extend(["--publish", "61001:80", "--publish", "61001:53/udp"]);
    engine.create(&[&["--handle", "named"], &options[..]].concat());
    let _greeter = engine.begin(["exec", "named", "nc", "-ll", "-p", "80", "-e", "echo", GREETING]);
    until("the mapped port to be answered", || host.outside.reaches("192.0.2.2", 8080));
    assert!(host.outside.reaches("192.0.2.2", 61001));
    engine.create(&["--handle", "pool"]);
    assert_eq!(engine.in_use(), [1, 2, 1, 1]);
    engine.finish();
}
