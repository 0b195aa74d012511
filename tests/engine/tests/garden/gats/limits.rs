//! What a container may use, read back and enforced.

use engine_tests::inside;
use serde_json::{Value, json};

use super::{Bed, program, script, with};

const MIB: u64 = 1 << 20;

/// Conformance: G27-30, G86-88
#[test]
fn limits_are_read_back_as_the_kernel_has_them() {
    let bed = Bed::start();
    let limits = json!({ "memory_limits": { "limit_in_bytes": 64 * MIB }, "cpu_limits": { "weight": 512 } });
    let handle = bed.create(json!({ "limits": limits }));
    let read = |name: &str| bed.garden.get(&format!("/containers/{handle}/limits/{name}")).expect(200).json();
    assert_eq!(read("memory"), json!({ "limit_in_bytes": 64 * MIB }));
    let shares = if inside::cgroups_are_v1() { 512 } else { 59 };
    assert_eq!(read("cpu"), json!({ "limit_in_shares": shares }));
    assert_eq!((read("disk"), read("bandwidth")), (json!({}), json!({})));
    let init = bed.engine.init_pid(&handle);
    let memory = inside::cgroup_file(init, ("memory", "memory.limit_in_bytes"), "memory.max");
    assert_eq!(memory.trim(), (64 * MIB).to_string());
    let weight = inside::cgroup_file(init, ("cpu", "cpu.shares"), "cpu.weight");
    assert_eq!(weight.trim(), shares.to_string());
    bed.finish();
}

/// Conformance: G89-90, G108-110
#[test]
fn limits_hold() {
    let bed = Bed::start();
    let limited = |limits: Value| bed.create(json!({ "limits": limits }));

    let small = limited(json!({ "memory_limits": { "limit_in_bytes": 64 * MIB } }));
    let fill = |mebibytes: u64| {
        let text =
            format!("dd if=/dev/zero of=/dev/shm/x bs=1M count={mebibytes}; s=$?; rm -f /dev/shm/x; exit $s");
        bed.run(&small, script(&text)).status
    };
    assert_eq!(fill(58), Ok(0));
    assert_ne!(fill(70), Ok(0));

    let forks = "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; kill $(jobs -p)";
    let refused = bed.run(&limited(json!({ "pid_limits": { "max": 50 } })), script(forks));
    assert!(refused.status != Ok(0) && refused.errors().contains("can't fork"), "{refused:?}");
    let free = limited(json!({ "pid_limits": { "max": 0 } }));
    bed.said(&free, "", forks);

    let files: Vec<String> = (0..40).map(|number| format!("/tmp/f{number}")).collect();
    bed.said(&free, "", &format!("touch {}", files.join(" ")));
    // It opens all before it reads one.
    let words: Vec<&str> = ["tail", "-n", "0"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let refused = bed.run(&free, with(program(&words), json!({ "rlimits": { "nofile": 30 } })));
    assert!(refused.errors().contains("Too many open files"), "{refused:?}");
    bed.run(&free, program(&words)).expect(0);
    bed.finish();
}
