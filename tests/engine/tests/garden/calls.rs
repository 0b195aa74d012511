//! The calls that answer once.

use engine_tests::garden::Garden;
use engine_tests::{Engine, until};
use serde_json::{Value, json};

#[test]
fn a_container_is_created_listed_described_and_destroyed() {
    let engine = Engine::start();
    let garden = engine.garden();
    garden.get("/ping").expect_done();
    let capacity = garden.get("/capacity").expect(200).json();
    assert!(capacity["memory_in_bytes"].as_u64() > Some(1 << 20), "{capacity}");
    assert_eq!(capacity["max_containers"].as_u64(), Some(u64::MAX), "{capacity}");
    assert_eq!(garden.get("/containers").text(), "{\"Handles\":[]}\n");

    let spec = engine.busybox(json!({
        "handle": "web-1", "properties": { "executor:owner": "me", "tag": "a" },
        "limits": { "memory_limits": { "limit_in_bytes": 67_108_864 }, "cpu_limits": { "weight": 512 } },
    }));
    assert_eq!(garden.post("/containers", &spec).text(), "{\"Handle\":\"web-1\"}\n");
    let other = garden.create(&engine.busybox(json!({ "properties": { "tag": "b" } })));
    assert_eq!(other.len(), 36, "{other}");

    let info = garden.info("web-1");
    let names: Vec<&String> = info.as_object().unwrap().keys().collect();
    let expected = [
        "ContainerIP",
        "ContainerIPv6",
        "ContainerPath",
        "Events",
        "ExternalIP",
        "HostIP",
        "MappedPorts",
        "ProcessIDs",
        "Properties",
        "State",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        (&info["State"], &info["Events"], &info["MappedPorts"]),
        (&json!("active"), &Value::Null, &json!([]))
    );
    let properties = json!({ "executor:owner": "me", "garden.state": "created", "tag": "a" });
    assert_eq!(info["Properties"], properties);

    assert_eq!(listed(&garden, "?tag=a"), ["web-1"]);
    assert_eq!(listed(&garden, "?tag=a&tag=b"), ["web-1"]);
    assert_eq!(listed(&garden, "?executor%3Aowner=me&tag=b"), Vec::<String>::new());
    assert_eq!(listed(&garden, "?garden.state=all&tag=b"), [&*other]);

    assert_eq!(garden.get("/containers/web-1/limits/memory").text(), "{\"limit_in_bytes\":67108864}\n");
    assert_eq!(garden.get("/containers/web-1/limits/bandwidth").text(), "{}\n");
    assert_eq!(garden.get("/containers/web-1/limits/disk").text(), "{}\n");
    let shares = garden.get("/containers/web-1/limits/cpu").expect(200).json()["limit_in_shares"].as_u64();
    assert!(shares.is_some_and(|shares| shares > 0));

    garden.destroy("web-1");
    garden.destroy(&other);
    garden.delete("/containers/web-1").expect_error(404, "ContainerNotFoundError");
    engine.finish();
}

fn listed(garden: &Garden, query: &str) -> Vec<String> {
    let answer = garden.get(&format!("/containers{query}")).expect(200).json();
    answer["Handles"].as_array().unwrap().iter().map(|handle| handle.as_str().unwrap().to_owned()).collect()
}

/// Conformance: G29
///
/// On a host with control groups of version 2 the field holds the weight that the kernel has, on others the shares.
#[test]
fn the_shares_of_a_container_are_told_as_the_kernel_has_them() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle =
        garden.create(&engine.busybox(json!({ "limits": { "cpu_limits": { "limit_in_shares": 10 } } })));
    let told = garden.get(&format!("/containers/{handle}/limits/cpu")).expect(200).json();
    let v2 = std::fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap();
    assert_eq!(told, json!({ "limit_in_shares": if v2 { 4 } else { 10 } }));
    engine.finish();
}

/// Conformance: S11
#[test]
fn bulk_calls_answer_for_each_handle_and_never_fail_as_a_whole() {
    let engine = Engine::start();
    let garden = engine.garden();
    let handle = garden.create(&engine.busybox(json!({ "handle": "h" })));
    for call in ["bulk_info", "bulk_metrics"] {
        for query in ["", "?handles=", "?other=x"] {
            assert_eq!(garden.get(&format!("/containers/{call}{query}")).text(), "{}\n");
        }
    }
    let infos = garden.get("/containers/bulk_info?handles=h,nope,..").expect(200).json();
    assert_eq!((&infos["h"]["Err"], &infos["h"]["Info"]["State"]), (&Value::Null, &json!("active")));
    for unknown in ["nope", ".."] {
        assert_eq!(infos[unknown]["Err"]["Type"], "ContainerNotFoundError", "{infos}");
        assert_eq!(infos[unknown]["Err"]["Handle"], unknown);
        assert_eq!(infos[unknown]["Info"]["Properties"], Value::Null);
    }
    let figures = garden.get("/containers/bulk_metrics?handles=h%2Cnope").expect(200).json();
    assert!(figures["h"]["Metrics"]["Age"].as_u64() > Some(0), "{figures}");
    assert_eq!(figures["nope"]["Err"]["Message"], "unknown handle: nope");
    garden.destroy(&handle);
    engine.finish();
}

#[test]
fn figures_have_every_member_that_clients_read() {
    let engine = Engine::start();
    let garden = engine.garden();
    let limits = json!({ "memory_limits": { "limit_in_bytes": 67_108_864 }, "pid_limits": { "max": 100 } });
    let handle = garden.create(&engine.busybox(json!({ "limits": limits })));
    let figures = garden.get(&format!("/containers/{handle}/metrics")).expect(200);
    let members = "{\"MemoryStat\":{\"active_anon\":";
    assert!(figures.text().starts_with(members), "{}", figures.text());
    let figures = figures.json();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let all = ["Age", "CPUEntitlement", "CPUStat", "DiskStat", "MemoryStat", "NetworkStat", "PidStat"];
    assert_eq!(names(&figures), all);
    assert_eq!(names(&figures["CPUStat"]), ["System", "Usage", "User"]);
    assert_eq!(names(&figures["PidStat"]), ["Current", "Max"]);
    assert_eq!(figures["MemoryStat"].as_object().unwrap().len(), 32);
    assert_eq!((&figures["NetworkStat"], &figures["PidStat"]["Max"]), (&Value::Null, &json!(100)));
    assert_eq!(names(&figures["DiskStat"])[0], "ExclusiveBytesUsed");
    engine.finish();
}

#[test]
fn properties_are_set_read_and_removed() {
    let engine = Engine::start();
    let garden = engine.garden();
    garden.create(&engine.busybox(json!({ "handle": "h" })));
    let at = |key: &str| format!("/containers/h/properties/{key}");
    for (key, path) in [("a:b", "a:b"), ("a b", "a%20b"), ("\u{e9}", "%C3%A9"), ("a+b", "a+b")] {
        garden.put(&at(path), &json!({ "value": "<v>&" })).expect_done();
        assert_eq!(garden.get(&at(path)).text(), "{\"value\":\"\\u003cv\\u003e\\u0026\"}\n");
        assert_eq!(garden.get("/containers/h/properties").expect(200).json()[key], "<v>&");
        garden.delete(&at(path)).expect_done();
    }
    garden.delete(&at("gone")).expect_done();
    let message = garden.get(&at("gone")).expect_error(500, "");
    assert_eq!(message, "property does not exist: gone");
    engine.finish();
}

/// Conformance: A3
#[test]
fn hostile_handles_and_keys_are_refused() {
    let engine = Engine::start();
    let garden = engine.garden();
    for handle in ["..", "a/b", "-x", "a b", "x\n", "x\0", &"h".repeat(256)] {
        garden.post("/containers", &engine.busybox(json!({ "handle": handle }))).expect_error(500, "");
    }
    garden.create(&engine.busybox(json!({ "handle": "h" })));
    for key in ["%00", &"k".repeat(1025), "garden.state"] {
        garden
            .put(&format!("/containers/h/properties/{key}"), &json!({ "value": "v" }))
            .expect_error(500, "");
    }
    garden.put("/containers/h/properties/", &json!({ "value": "v" })).expect_error(404, "");
    garden.put("/containers/h/properties/..%2F..", &json!({ "value": "v" })).expect_done();
    assert_eq!(listed(&garden, "?garden.state=all"), ["h"]);
    engine.finish();
}

#[test]
fn errors_are_told_as_clients_know_them() {
    let engine = Engine::start();
    let garden = engine.garden();
    assert_eq!(
        garden.get("/containers/nope/info").expect(404).text(),
        "{\"Type\":\"ContainerNotFoundError\",\"Message\":\"unknown handle: nope\",\"Handle\":\"nope\",\
         \"ProcessID\":\"\",\"Binary\":\"\"}\n"
    );
    let calls: [(&str, &str, &[u8]); 15] = [
        ("GET", "info", b""),
        ("GET", "metrics", b""),
        ("PUT", "stop", b"{\"kill\":true}"),
        ("GET", "files?source=/", b""),
        ("PUT", "files?destination=/", b""),
        ("GET", "limits/bandwidth", b""),
        ("GET", "limits/cpu", b""),
        ("GET", "limits/disk", b""),
        ("GET", "limits/memory", b""),
        ("POST", "net/in", b"{}"),
        ("POST", "net/out/bulk", b"[{}]"),
        ("POST", "processes", b"{\"path\":\"true\"}"),
        ("PUT", "grace_time", b"1000"),
        ("PUT", "properties/k", b"{\"value\":\"v\"}"),
        ("DELETE", "properties/k", b""),
    ];
    for handle in ["nope", "%2e%2e", "a%2Fb"] {
        for (method, path, body) in calls {
            let answer = garden.call(method, &format!("/containers/{handle}/{path}"), body);
            answer.expect_error(404, "ContainerNotFoundError");
        }
    }
    garden.create(&engine.busybox(json!({ "handle": "h" })));
    let again = garden.post("/containers", &engine.busybox(json!({ "handle": "h" }))).expect_error(500, "");
    assert!(again.contains("already in use") && again.contains("'h'"), "{again}");
    let unknown = garden.attach("h", "nope").unwrap_err();
    assert_eq!(unknown.expect_error(404, "ProcessNotFoundError"), "unknown process: nope");
    assert_eq!(unknown.json()["ProcessID"], "nope");
    for (body, message) in [(&b""[..], "EOF"), (b"{\"handle\":", "unexpected EOF")] {
        assert_eq!(garden.call("POST", "/containers", body).expect_error(500, ""), message);
    }
    garden.post("/containers", &json!({ "handle": "../x" })).expect_error(500, "");
    assert!(garden.get("/nope").expect_error(404, "").contains("not found"));
    let wrong = garden.call("PATCH", "/containers/h/properties/k", b"");
    wrong.expect_error(405, "");
    assert_eq!(wrong.header("allow"), Some("GET, PUT, DELETE"));
    engine.finish();
}

/// Conformance: A4, S3-5
#[test]
fn a_container_that_nobody_names_goes_and_one_that_is_named_stays() {
    let mut engine = Engine::new();
    engine.start_server(&["--default-grace-time", "1s"]);
    let garden = engine.garden();
    let by_default = garden.create(&engine.busybox(json!({})));
    let by_itself = garden.create(&engine.busybox(json!({ "grace_time": 500_000_000 })));
    let for_ever = garden.create(&engine.busybox(json!({ "grace_time": 3_600_000_000_000_u64 })));
    garden.call("PUT", &format!("/containers/{for_ever}/grace_time"), b"0").expect_done();
    let busy = garden.create(&engine.busybox(json!({})));
    let mut task = garden.run(&busy, &json!({ "path": "cat" })).unwrap();
    until("two containers to go", || {
        let handles = listed(&garden, "?garden.state=all");
        !handles.contains(&by_default) && !handles.contains(&by_itself)
    });
    let mut left = listed(&garden, "");
    left.sort();
    let mut expected = [busy.clone(), for_ever];
    expected.sort();
    assert_eq!(left, expected);
    task.close_input();
    task.finish().expect(0);
    until("the busy one to go", || !listed(&garden, "?garden.state=all").contains(&busy));
    engine.finish();
}

/// Conformance: S3-5
#[test]
fn of_two_destroys_one_is_refused_with_the_known_text_or_finds_nothing() {
    let engine = Engine::start();
    let garden = engine.garden();
    for _ in 0..5 {
        let handle = garden.create(&engine.busybox(json!({})));
        let path = format!("/containers/{handle}");
        let answers: Vec<_> = std::thread::scope(|scope| {
            let destroys: Vec<_> = (0..4).map(|_| scope.spawn(|| garden.delete(&path))).collect();
            destroys.into_iter().map(|destroy| destroy.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            let error = refused.json();
            let known = ["container already being destroyed".to_owned(), format!("unknown handle: {handle}")];
            assert!(known.iter().any(|text| error["Message"] == **text), "{error}");
        }
    }
    engine.finish();
}

/// Defect 21 of the reference engine: the map of properties is read while it is written.
#[test]
fn readers_of_properties_see_what_was_written_and_never_go_back() {
    let engine = Engine::start();
    let garden = engine.garden();
    let more = json!({ "handle": "h", "properties": { "n": "0", "stays": "s" } });
    garden.create(&engine.busybox(more));
    let last = 100;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let garden = &garden;
                scope.spawn(move || {
                    let (mut before, mut looks) = (0, 0);
                    while before < last {
                        let all = garden.get("/containers/h/properties").expect(200).json();
                        assert_eq!((&all["stays"], &all["garden.state"]), (&json!("s"), &json!("created")));
                        let now: u32 = all["n"].as_str().unwrap().parse().unwrap();
                        assert!(now >= before, "{now} after {before}");
                        (before, looks) = (now, looks + 1);
                    }
                    looks
                })
            })
            .collect();
        for n in 1..=last {
            garden.put("/containers/h/properties/n", &json!({ "value": n.to_string() })).expect_done();
            let now = garden.get("/containers/h/properties/n").expect(200).json();
            assert_eq!(now["value"], n.to_string(), "what was acknowledged is read");
        }
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 3));
    });
    engine.finish();
}
