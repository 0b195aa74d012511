//! Containers, and what is told about them.

use engine_tests::inside;
use serde_json::{Value, json};

use super::Bed;

/// Conformance: G1-10, G40-41, G224
#[test]
fn what_is_told_about_containers_is_what_was_asked_for() {
    let bed = Bed::start();
    let garden = &bed.garden;
    let capacity = garden.get("/capacity").expect(200).json();
    for name in ["memory_in_bytes", "disk_in_bytes", "schedulable_disk_in_bytes", "max_containers"] {
        assert!(capacity[name].as_u64() > Some(0), "{name} in {capacity}");
    }
    let one = bed.create(json!({ "properties": { "foo": "bar", "bar": "baz" } }));
    let other = bed.create(json!({ "properties": { "foo": "other" } }));

    // Figures first: nobody asked for the information yet.
    let figures = garden.get(&format!("/containers/{one}/metrics")).expect(200).json();
    assert!(figures["MemoryStat"].as_object().unwrap().values().any(|value| *value != json!(0)), "{figures}");
    let info = garden.info(&one);
    assert_eq!(info["State"], "active");
    assert_eq!((&info["Properties"]["foo"], &info["Properties"]["bar"]), (&json!("bar"), &json!("baz")));

    let at = format!("/containers/{one}/properties/some");
    garden.put(&at, &json!({ "value": "thing" })).expect_done();
    let all = garden.get(&format!("/containers/{one}/properties")).expect(200).json();
    assert_eq!((&all["foo"], &all["some"]), (&json!("bar"), &json!("thing")));
    assert_eq!(garden.get(&at).expect(200).json(), json!({ "value": "thing" }));
    assert_eq!(garden.info(&one)["Properties"]["some"], "thing");
    garden.delete(&at).expect_done();
    garden.get(&at).expect_error(500, "");
    assert_eq!(garden.info(&one)["Properties"]["some"], Value::Null);

    let listed = |query: &str| {
        let mut handles: Vec<String> = serde_json::from_value(
            garden.get(&format!("/containers{query}")).expect(200).json()["Handles"].clone(),
        )
        .unwrap();
        handles.sort_unstable();
        handles
    };
    assert_eq!(listed("?foo=bar"), [&*one]);
    assert!(listed("?foo=baz").is_empty() && listed("?nope=bar").is_empty());
    let mut both = [one.clone(), other];
    both.sort_unstable();
    assert_eq!(listed(""), both);
    bed.run(&one, super::program(&["true"])).expect(0);
    bed.finish();
}

/// Conformance: G32, G35, G42, G84
#[test]
fn what_is_taken_or_not_there_is_named_in_the_words_that_clients_compare() {
    let bed = Bed::start();
    let garden = &bed.garden;
    bed.create(json!({ "handle": "taken" }));
    let again = garden.post("/containers", &bed.engine.busybox(json!({ "handle": "taken" })));
    assert_eq!(again.expect_error(500, ""), "Handle 'taken' already in use");
    for unknown in
        [garden.delete("/containers/nope"), garden.call("PUT", "/containers/nope/grace_time", b"1000000000")]
    {
        assert_eq!(unknown.expect_error(404, "ContainerNotFoundError"), "unknown handle: nope");
        assert_eq!(unknown.json()["Handle"], "nope");
    }
    let unknown = garden.attach("taken", "nope").unwrap_err();
    assert_eq!(unknown.expect_error(404, "ProcessNotFoundError"), "unknown process: nope");
    assert_eq!(unknown.json()["ProcessID"], "nope");
    bed.finish();
}

/// Conformance: G33-34, G36-39
#[test]
fn a_container_is_named_by_the_end_of_its_handle_and_root_is_the_last_id_of_the_host() {
    let bed = Bed::start();
    let long: String = ('a'..='z').chain('0'..='9').chain('A'..='Z').collect();
    for handle in ["short-one", &long] {
        bed.create(json!({ "handle": handle }));
        assert_eq!(bed.said(handle, "", "hostname").trim(), &handle[handle.len().saturating_sub(49)..]);
    }
    for map in ["uid_map", "gid_map"] {
        let text = bed.said(&long, "", &format!("cat /proc/self/{map}"));
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [["0", "4294967294", "1"], ["1", "1", "4294967293"]], "{map}");
    }
    assert_eq!(bed.said(&long, "", "cat /proc/1/comm"), "garden-init\n");
    let look = "touch /dev/shm/x && awk '$2 == \"/dev/shm\" { print $3, $4 }' /proc/mounts";
    let mount = bed.said(&long, "alice", look);
    let (kind, options) = mount.trim().split_once(' ').unwrap();
    assert_eq!(kind, "tmpfs");
    for option in ["rw", "nosuid", "nodev", "noexec"] {
        assert!(options.split(',').any(|seen| seen == option), "{option} not in {options}");
    }
    bed.finish();
}

/// Conformance: G115-122
#[test]
fn a_container_that_worked_has_figures_above_zero() {
    let bed = Bed::start();
    let free = bed.create(json!({}));
    let limited = bed.create(json!({ "limits": { "pid_limits": { "max": 128 } } }));
    let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; head -c 5000000 /dev/zero > /dev/shm/x";
    for handle in [&free, &limited] {
        bed.said(handle, "", work);
    }
    let expect_figures = |figures: &Value, most_tasks: u64| {
        let number = |pointer: &str| figures.pointer(pointer).and_then(Value::as_u64).unwrap();
        assert!(
            number("/CPUStat/Usage") > 0 && number("/Age") > 0 && number("/PidStat/Current") > 0,
            "{figures}"
        );
        assert!(number("/MemoryStat/TotalUsageTowardLimit") >= 5_000_000, "{figures}");
        assert_eq!(number("/PidStat/Max"), most_tasks);
    };
    expect_figures(&bed.garden.get(&format!("/containers/{free}/metrics")).expect(200).json(), 0);
    let path = format!("/containers/bulk_metrics?handles={free},{limited}");
    let bulk = bed.garden.get(&path).expect(200).json();
    assert_eq!(bulk.as_object().unwrap().len(), 2);
    for (handle, most_tasks) in [(&free, 0), (&limited, 128)] {
        assert_eq!(bulk[handle]["Err"], Value::Null);
        expect_figures(&bulk[handle]["Metrics"], most_tasks);
    }
    bed.finish();
}

/// Conformance: G21
///
/// On version 2 of control groups there are no files for devices, and nothing to show.
#[test]
fn an_engine_in_a_privileged_container_may_open_its_device_group() {
    let bed = Bed::start();
    let handle = bed.create(json!({ "privileged": true }));
    if inside::cgroups_are_v1() {
        let open = "mkdir /tmp/devices && mount -t cgroup -o devices none /tmp/devices && \
                    cd /tmp/devices/$(sed -n 's/.*:devices://p' /proc/self/cgroup) && \
                    echo a > devices.allow && cat devices.list";
        assert_eq!(bed.said(&handle, "", open), "a *:* rwm\n");
    }
    bed.finish();
}
