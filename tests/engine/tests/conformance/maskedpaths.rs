//! Files of the kernel that containers do not see.

use engine_tests::Engine;
use engine_tests::session::script;
use gdn_types::ContainerSpec;

/// Conformance: G111-113
#[test]
fn files_that_tell_about_the_host_are_the_null_device_or_absent() {
    let engine = Engine::start();
    // Every kernel has it; the others depend on how it was built.
    assert!(std::path::Path::new("/proc/timer_list").exists(), "the host has nothing to mask");
    let handle = engine.create_from(ContainerSpec::default());
    let names = "for name in kcore sched_debug timer_list keys timer_stats latency_stats; do \
                 test ! -e /proc/$name || stat -c '%n %F %t:%T' /proc/$name; done";
    let said = engine.run(&handle, script(names)).expect(0).text();
    assert!(said.contains("/proc/timer_list"), "{said}");
    assert!(said.lines().all(|line| line.ends_with("character special file 1:3")), "{said}");
    for path in said.lines().map(|line| line.split(' ').next().unwrap()) {
        let read = engine.run(&handle, script(&format!("head -c 1 {path} | wc -c"))).expect(0);
        assert_eq!(read.text(), "0\n", "{path}");
        engine.run(&handle, script(&format!("umount {path}"))).expect(1);
    }
    engine.finish();
}

/// Conformance: G114
#[test]
fn directories_of_the_hosts_hardware_are_empty() {
    let engine = Engine::start();
    let hidden = |path: &str| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    assert!(hidden("/sys/firmware") || hidden("/proc/scsi"), "the host has nothing to mask");
    let handle = engine.create_from(ContainerSpec::default());
    let said =
        engine.run(&handle, script("for d in /proc/scsi /sys/firmware; do test ! -e $d || ls -A $d; done"));
    assert_eq!(said.expect(0).text(), "");
    engine.finish();
}
