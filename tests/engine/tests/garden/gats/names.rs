//! The network: ports, names and subnets.

use engine_tests::host::{GREETING, Host};
use engine_tests::until;
use serde_json::json;

use super::{Bed, program, script, with};

/// Conformance: G123-129, G133-134, P7
#[test]
fn ports_lead_in_names_lead_out_and_subnets_are_shared() {
    let host = Host::new();
    let mut engine = engine_tests::Engine::new();
    engine.start_server_in(&host.inside, &["--network-pool", "10.254.0.0/22"]);
    let garden = engine.garden();
    let bed = Bed { engine, garden };
    let garden = &bed.garden;

    bed.create(json!({ "handle": "web" }));
    let greet = |port: &str| garden.run("web", &program(&["nc", "-ll", "-p", port, "-e", "echo", GREETING]));
    let greeter = greet("8080").unwrap();
    until("the greeter to listen", || bed.said("web", "", "netstat -ltn").contains(":8080 "));
    let mapped = garden.post("/containers/web/net/in", &json!({ "handle": "web", "container_port": 8080 }));
    let mapped = mapped.expect(200).json();
    assert_eq!(mapped["container_port"], 8080);
    let port = u16::try_from(mapped["host_port"].as_u64().unwrap()).unwrap();
    let external = garden.info("web")["ExternalIP"].as_str().unwrap().to_owned();
    assert!(host.outside.reaches(&external, port), "{external}:{port}");

    let rule = |number: u32| {
        let network = json!({ "start": format!("10.{}.{}.1", 100 + number / 250, number % 250) });
        json!({ "protocol": 1, "networks": [network], "ports": [{ "start": 80, "end": 80 }] })
    };
    let rules: Vec<_> = (0..1000).map(rule).collect();
    garden.post("/containers/web/net/out/bulk", &json!(rules)).expect_done();

    bed.create(json!({ "handle": "privileged", "privileged": true }));
    for handle in ["web", "privileged"] {
        for name in ["localhost", handle] {
            bed.said(handle, "", &format!("ping -c 1 -W 1 {name}"));
        }
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            bed.said(handle, "", &format!("echo '# x' >> {file} && grep '# x' {file}"));
            let text = script(&format!("echo y >> {file}"));
            let refused = bed.run(handle, with(text, json!({ "user": "alice" }))).expect(1);
            assert!(refused.errors().contains("Permission denied"), "{}", refused.errors());
        }
    }

    for (handle, address) in [("one", "10.9.0.2"), ("two", "10.9.0.3"), ("three", "10.9.0.4")] {
        bed.create(json!({ "handle": handle, "network": "10.9.0.0/24" }));
        assert_eq!(garden.info(handle)["ContainerIP"], address);
    }
    let reach = |address: &str| bed.said("one", "", &format!("ping -c 1 -W 1 {address}"));
    reach("10.9.0.3");
    garden.destroy("two");
    // A neighbour's end disturbs nobody; what is behind the uplink stands for the internet.
    for address in ["10.9.0.4", "10.9.0.1", "192.0.2.1"] {
        reach(address);
    }
    for handle in ["one", "three"] {
        garden.destroy(handle);
    }
    // An address is free when its link is gone and nothing is known of its connections, a moment after the destroy.
    until("the subnet to be used again", || {
        bed.create(json!({ "handle": "again", "network": "10.9.0.0/24" }));
        let first = garden.info("again")["ContainerIP"] == "10.9.0.2";
        if first {
            bed.said("again", "", "ping -c 1 -W 1 192.0.2.1");
        }
        garden.destroy("again");
        first
    });
    drop(greeter);
    bed.finish();
}
