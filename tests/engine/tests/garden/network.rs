//! Ports and rules.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

use engine_tests::garden::Garden;
use engine_tests::host::{GREETING, Host};
use engine_tests::{Engine, images};
use serde_json::{Value, json};

#[test]
fn ports_are_mapped_and_rules_are_taken_as_clients_send_them() {
    let (host, mut engine) = (Host::new(), Engine::new());
    engine.start_server_in(&host.inside, &["--network-pool", "10.254.0.0/22"]);
    let garden = engine.garden();
    let spec = engine.busybox(json!({
        "handle": "web", "network": "10.3.0.0/30",
        "netin": [{ "host_port": 8080, "container_port": 80 }, { "host_port": 0, "container_port": 8081 }],
        "netout_rules": [{ "networks": [{ "start": "0.0.0.0", "end": "255.255.255.255" }], "log": true }],
    }));
    assert_eq!(garden.create(&spec), "web");
    let info = garden.info("web");
    let ports = json!([
        { "HostPort": 8080, "ContainerPort": 80 }, { "HostPort": 61001, "ContainerPort": 8081 },
    ]);
    assert_eq!(info["MappedPorts"], ports);
    assert_eq!((&info["HostIP"], &info["ContainerIP"]), (&json!("10.3.0.1"), &json!("10.3.0.2")));
    assert_ne!(info["ExternalIP"], "");
    assert_eq!(info["Properties"]["garden.network.container-ip"], "10.3.0.2");

    let at = |path: &str| format!("/containers/web/net/{path}");
    let mapped = garden.post(&at("in"), &json!({ "handle": "web" })).expect(200);
    assert_eq!(mapped.text(), "{\"host_port\":61002,\"container_port\":61002}\n");
    assert_eq!(garden.info("web")["MappedPorts"].as_array().unwrap().len(), 3);
    garden.post(&at("in"), &json!({ "host_port": 8080 })).expect_error(500, "");

    let rule = json!({
        "protocol": 1, "networks": [{ "start": "10.0.0.1" }, { "start": "10.0.1.1", "end": "10.0.1.9" }],
        "ports": [{ "start": 53, "end": 53 }, { "start": 8000, "end": 9000 }], "icmps": null,
    });
    garden.post(&at("out"), &rule).expect_done();
    garden.post(&at("out/bulk"), &json!([rule, { "protocol": 3, "icmps": { "type": 8 } }, {}])).expect_done();
    garden.post(&at("out/bulk"), &Value::Null).expect_done();
    let ports_of_all = json!({ "ports": [{ "start": 80, "end": 80 }] });
    let message = garden.post(&at("out"), &ports_of_all).expect_error(500, "");
    assert_eq!(message, "Ports cannot be specified for Protocol ALL");
    let message = garden.post(&at("out"), &json!({ "protocol": 5 })).expect_error(500, "");
    assert_eq!(message, "invalid protocol: 5");

    let figures = garden.get("/containers/web/metrics").expect(200).json();
    assert!(
        figures["NetworkStat"]["RxBytes"].is_u64() && figures["NetworkStat"]["TxBytes"].is_u64(),
        "{figures}"
    );
    garden.destroy("web");
    assert_eq!(garden.get("/capacity").expect(200).json()["max_containers"].as_u64(), Some(256));
    engine.finish();
}

/// A script's output in a container.
fn said(garden: &Garden, handle: &str, script: &str) -> String {
    String::from_utf8(garden.shell(handle, script).stdout).unwrap()
}

/// Whether a process of the container reaches a listener.
fn reaches(garden: &Garden, handle: &str, address: &str, port: u16) -> bool {
    said(garden, handle, &format!("nc -w 1 {address} {port} < /dev/null")).contains(GREETING)
}

/// Whether a process of the container gets an answer to a ping.
fn pings(garden: &Garden, handle: &str, address: &str) -> bool {
    garden.shell(handle, &format!("ping -c 1 -W 1 {address}")).status == Ok(0)
}

/// Gives a user a tree of files.
fn give(tree: &Path, owner: u32) {
    if fs::symlink_metadata(tree).unwrap().is_dir() {
        fs::read_dir(tree).unwrap().for_each(|entry| give(&entry.unwrap().path(), owner));
    }
    lchown(tree, Some(owner), Some(owner)).unwrap();
}

/// The two creates of Concourse, byte for byte as its client of Go encodes them: a step's with one rule that allows every
/// address of IPv4, and a hermetic step's without any, from which nothing may leave.
#[test]
fn of_concourses_two_requests_one_reaches_all_of_ipv4_and_the_other_nothing() {
    let (host, mut engine) = (Host::new(), Engine::new());
    let options =
        ["--network-pool", "10.254.0.0/22", "--network-pool6", "fd00:77::/48", "--default-egress", "deny"];
    engine.start_server_in(&host.inside, &options);
    let _listeners = [host.outside.listen(80), host.outside.listen(9000), host.inside.listen(80)];
    let garden = engine.garden();
    let place = images::path_text(engine.scratch());
    // Concourse makes its volumes belong to who is root in containers.
    let probe = garden.create(&engine.busybox(json!({})));
    let map = fs::read_to_string(format!("/proc/{}/uid_map", engine.init_pid(&probe))).unwrap();
    let root = map.split_whitespace().nth(1).unwrap().parse().unwrap();
    garden.destroy(&probe);
    for handle in ["open", "hermetic"] {
        images::directory(&engine.scratch().join(format!("{handle}-rootfs")));
        for volume in ["input", "output"] {
            fs::create_dir(engine.scratch().join(format!("{handle}-{volume}"))).unwrap();
        }
        fs::write(engine.scratch().join(format!("{handle}-input/file")), "an input\n").unwrap();
        for volume in ["rootfs", "input", "output"] {
            give(&engine.scratch().join(format!("{handle}-{volume}")), root);
        }
        let rule = match handle {
            "open" => r#","netout_rules":[{"networks":[{"start":"0.0.0.0","end":"255.255.255.255"}]}]"#,
            _ => "",
        };
        let body = format!(
            r#"{{"handle":"{handle}","rootfs":"raw://{place}/{handle}-rootfs","image":{{}},"bind_mounts":[{{"src_path":"{place}/{handle}-input","dst_path":"/tmp/build/input"}},{{"src_path":"{place}/{handle}-output","dst_path":"/tmp/build/output","mode":1}}],"properties":{{"user":"root"}},"env":["ATC_EXTERNAL_URL=https://ci.example.com/?a=1\u0026b=2"],"limits":{{"bandwidth_limits":{{}},"cpu_limits":{{"limit_in_shares":512}},"disk_limits":{{}},"memory_limits":{{"limit_in_bytes":268435456}},"pid_limits":{{}}}}{rule}}}"#
        );
        let created = garden.call("POST", "/containers", body.as_bytes()).expect(200);
        assert_eq!(created.text(), format!("{{\"Handle\":\"{handle}\"}}\n"));
    }

    let check = |engine: &Engine| {
        let garden = engine.garden();
        for (handle, egress) in [("open", true), ("hermetic", false)] {
            for port in [80, 9000] {
                assert_eq!(reaches(&garden, handle, "192.0.2.1", port), egress, "{handle} {port}");
                assert!(!reaches(&garden, handle, "2001:db8::1", port), "{handle} {port}");
            }
            assert_eq!(pings(&garden, handle, "192.0.2.1"), egress, "{handle}");
            assert!(!pings(&garden, handle, "2001:db8::1"), "{handle}");
            // What the host itself serves is closed to both.
            for address in ["192.0.2.2", "10.254.0.1", "fd00:77::1"] {
                assert!(!reaches(&garden, handle, address, 80), "{handle} {address}");
            }
            let loopback = "nc -l -p 7 -e echo inside & until nc -w 1 127.0.0.1 7; do :; done";
            assert!(said(&garden, handle, loopback).contains("inside"), "{handle}");
        }
        let info = |handle: &str| garden.info(handle);
        let address = |handle: &str| info(handle)["ContainerIP"].as_str().unwrap().to_owned();
        assert!(pings(&garden, "open", &address("hermetic")), "a neighbour's address is one of IPv4");
        assert!(!pings(&garden, "hermetic", &address("open")));
        assert_eq!(info("hermetic")["Properties"]["garden.network.egress"], "deny");
        assert_eq!(info("hermetic")["Properties"]["user"], "root");
    };
    check(&engine);
    for handle in ["open", "hermetic"] {
        let script = "cat /tmp/build/input/file; echo $ATC_EXTERNAL_URL; echo made > /tmp/build/output/file; \
                      echo x 2> /dev/null > /tmp/build/input/file || echo refused";
        let told = said(&garden, handle, script);
        assert_eq!(told, "an input\nhttps://ci.example.com/?a=1&b=2\nrefused\n", "{handle}");
        let made = fs::read_to_string(engine.scratch().join(format!("{handle}-output/file"))).unwrap();
        assert_eq!(made, "made\n");
        let limit =
            |name: &str| garden.get(&format!("/containers/{handle}/limits/{name}")).expect(200).json();
        assert_eq!(limit("memory"), json!({ "limit_in_bytes": 268_435_456 }));
        assert!(limit("cpu")["limit_in_shares"].as_u64().is_some_and(|shares| shares > 0));
    }
    engine.kill_server();
    engine.start_server_in(&host.inside, &options);
    check(&engine);
    garden.destroy("open");
    garden.destroy("hermetic");
    engine.finish();
}
