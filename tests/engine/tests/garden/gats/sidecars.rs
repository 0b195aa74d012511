//! Sidecars: processes with an image of their own.

use std::fs;

use engine_tests::inside;
use serde_json::{Value, json};

use super::{Bed, program, script, with};

const MIB: u64 = 1 << 20;

/// A process in an image of its own.
fn sidecar(image: &str, spec: Value) -> Value {
    with(spec, json!({ "image": { "uri": image } }))
}

/// Conformance: G135-147, G155
#[test]
fn a_sidecar_shares_all_but_its_files_and_its_users() {
    let bed = Bed::start();
    let own = bed.engine.image_with("own", |rootfs| {
        fs::write(rootfs.join("only-in-the-sidecar"), "").unwrap();
        let users = "root:x:0:0::/root:/bin/sh\nbob:x:12:34::/home/bob:/bin/sh\n";
        fs::write(rootfs.join("etc/passwd"), users).unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:\nbob:x:34:\n").unwrap();
    });
    let userless = bed.engine.image_with("userless", |rootfs| {
        fs::remove_file(rootfs.join("etc/passwd")).unwrap();
        fs::remove_file(rootfs.join("etc/group")).unwrap();
    });
    let networked = bed.engine.image_with("networked", |rootfs| {
        fs::write(rootfs.join("etc/hosts"), "127.0.0.1 first\n").unwrap();
        fs::write(rootfs.join("etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
    });
    for privileged in [false, true] {
        let handle = bed.create(json!({ "image": { "uri": networked }, "privileged": privileged }));
        let look = "for n in mnt net ipc pid uts user; do readlink /proc/self/ns/$n; done; ls /";
        let side = bed.run(&handle, sidecar(&own, script(look))).expect(0).text();
        let main = bed.said(&handle, "", look);
        let (side, main): (Vec<_>, Vec<_>) = (side.lines().collect(), main.lines().collect());
        assert_ne!(side[0], main[0]);
        assert_eq!(side[1..6], main[1..6]);
        assert!(side.contains(&"only-in-the-sidecar") && !main.contains(&"only-in-the-sidecar"));
    }

    let handle = bed.create(json!({ "image": { "uri": networked } }));
    let who = |image: &str, user: &str| {
        let spec = with(script("echo $(id -u):$(id -g) $(pwd)"), json!({ "user": user }));
        bed.garden.run(&handle, &sidecar(image, spec)).map(|process| process.finish().expect(0).text())
    };
    for (image, user, told) in [
        (&own, "", "0:0 /\n"),
        (&own, "7:8", "7:8 /\n"),
        (&own, "bob", "12:34 /\n"),
        (&userless, "root", "0:0 /\n"),
    ] {
        assert_eq!(who(image, user).unwrap(), told, "{user:?}");
    }
    let message = who(&userless, "bob").unwrap_err().expect_error(500, "");
    assert!(message.contains("unable to find user bob: no matching entries in passwd file"), "{message}");

    let told = bed.run(&handle, sidecar(&own, script("echo out; echo err >&2; exit 123"))).expect(123);
    assert_eq!((&*told.text(), &*told.errors()), ("out\n", "err\n"));
    let missing = bed.garden.run(&handle, &sidecar(&own, program(&["missing"]))).unwrap_err();
    let message = missing.expect_error(500, "ExecutableNotFoundError");
    assert!(message.contains("executable file not found in $PATH"), "{message}");

    for file in ["/etc/hosts", "/etc/resolv.conf"] {
        let side = |text: &str| bed.run(&handle, sidecar(&own, script(text))).expect(0).text();
        assert_eq!(side(&format!("cat {file}")), bed.said(&handle, "", &format!("cat {file}")));
        bed.said(&handle, "", &format!("echo from the container >> {file}"));
        assert!(side(&format!("cat {file}; echo from the sidecar >> {file}")).contains("from the container"));
        assert!(bed.said(&handle, "", &format!("cat {file}")).contains("from the sidecar"));
    }
    bed.finish();
}

/// Conformance: G148-154
#[test]
fn a_sidecar_has_the_containers_limits_or_its_own_and_ends_with_it() {
    let bed = Bed::start();
    let image = bed.engine.image().to_owned();
    let limits = json!({ "memory_limits": { "limit_in_bytes": 64 * MIB }, "pid_limits": { "max": 20 } });
    let handle = bed.create(json!({ "limits": limits }));
    let run = |spec: Value| bed.run(&handle, sidecar(&image, spec));

    let trap = script("trap 'exit 42' TERM; echo ready; while :; do sleep 0.1; done");
    let (mut caught, _output) = bed.ready(&handle, sidecar(&image, trap));
    caught.terminate();
    caught.finish().expect(42);

    let fill =
        |mebibytes: u64| script(&format!("exec dd if=/dev/zero of=/dev/shm/x bs=1M count={mebibytes} 2>&1"));
    let own = |memory: Value, spec: Value| with(spec, json!({ "limits": { "memory_limits": memory } }));
    assert_ne!(run(fill(100)).status, Ok(0), "it shares the container's memory");
    run(own(json!({}), fill(100))).expect(0);
    let forks = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; kill $(jobs -p)";
    assert_ne!(run(script(forks)).status, Ok(0), "it shares the container's tasks");
    run(own(json!({}), script(forks))).expect(0);
    run(own(json!({ "limit_in_bytes": 32 * MIB }), fill(60))).expect(137);

    let work = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; echo ready; sleep 1000";
    let spec = with(own(json!({}), script(work)), json!({ "id": "greedy" }));
    let (endless, _output) = bed.ready(&handle, sidecar(&image, spec));
    let figures = bed.garden.get("/containers/greedy/metrics").expect(200).json();
    assert_eq!(figures["CPUEntitlement"], 0, "{figures}");
    assert!(figures["CPUStat"]["Usage"].as_u64() > Some(0) && figures["Age"].as_u64() > Some(0), "{figures}");
    // Where the sidecar's group is its own; on version 2 alone the kernel counts it so as well.
    assert!(figures["MemoryStat"]["TotalUsageTowardLimit"].as_u64() >= Some(20 * MIB), "{figures}");
    let bulk =
        bed.garden.get(&format!("/containers/bulk_metrics?handles=greedy,{handle}")).expect(200).json();
    assert_eq!((&bulk["greedy"]["Err"], &bulk[&handle]["Err"]), (&Value::Null, &Value::Null));

    let init = bed.engine.init_pid(&handle);
    bed.garden.destroy(&handle);
    endless.finish().expect(137);
    assert!(!inside::lives(init));
    bed.finish();
}
