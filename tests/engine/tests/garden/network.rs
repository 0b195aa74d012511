//! Ports and rules.

use engine_tests::Engine;
use engine_tests::host::Host;
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
