//! The device directory.

use engine_tests::Engine;
use engine_tests::session::script;
use gdn_types::ContainerSpec;

/// A container of this kind, and what a script says in it.
fn said(engine: &Engine, privileged: bool, text: &str) -> String {
    let handle = engine.create_from(ContainerSpec { privileged, ..ContainerSpec::default() });
    engine.run(&handle, script(text)).expect(0).text()
}

/// Conformance: G13-19
#[test]
fn devices_have_the_numbers_the_kernel_gives_them() {
    let engine = Engine::start();
    let names = "cd /dev; stat -c '%n %F %t:%T' tty random urandom null zero full pts/ptmx";
    let kind = "character special file";
    let expected = [
        ("tty", "5:0"),
        ("random", "1:8"),
        ("urandom", "1:9"),
        ("null", "1:3"),
        ("zero", "1:5"),
        ("full", "1:7"),
        ("pts/ptmx", "5:2"),
    ];
    let expected: String =
        expected.iter().map(|(name, device)| format!("{name} {kind} {device}\n")).collect();
    assert_eq!(said(&engine, false, names), expected);
    assert_eq!(said(&engine, true, names), expected);
    let use_them = "head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; echo x > /dev/null; \
                    echo x > /dev/full || echo full";
    assert_eq!(said(&engine, false, use_them), "3\n3\nfull\n");
    engine.finish();
}

/// Conformance: G20
#[test]
fn a_privileged_container_has_the_fuse_device() {
    let engine = Engine::start();
    assert_eq!(said(&engine, true, "stat -c '%F %t:%T' /dev/fuse"), "character special file a:e5\n");
    assert_eq!(said(&engine, false, "test -e /dev/fuse || echo absent"), "absent\n");
    engine.finish();
}

/// Conformance: G21
#[test]
fn a_privileged_container_may_open_its_device_group_to_everything() {
    let engine = Engine::start();
    assert!(engine_tests::inside::cgroups_are_v1(), "version 2 has no files for devices");
    let open = "mkdir /tmp/devices && mount -t cgroup -o devices none /tmp/devices && \
                cd /tmp/devices/$(sed -n 's/.*:devices://p' /proc/self/cgroup) && \
                echo a > devices.allow && cat devices.list";
    assert_eq!(said(&engine, true, open), "a *:* rwm\n");
    engine.finish();
}

/// Conformance: G22-25
#[test]
fn standard_streams_are_links_into_procfs() {
    let engine = Engine::start();
    let links = "for name in fd stdin stdout stderr; do readlink /dev/$name; done";
    assert_eq!(
        said(&engine, false, links),
        "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n"
    );
    engine.finish();
}

/// Conformance: G26
#[test]
fn terminals_are_mounted_with_exactly_the_options_clients_look_for() {
    let engine = Engine::start();
    for privileged in [false, true] {
        let options = said(&engine, privileged, "awk '$2 == \"/dev/pts\" { print $3, $4 }' /proc/mounts");
        let (before, after) = options.split_once("gid=").unwrap_or_else(|| panic!("no group in {options}"));
        assert_eq!(before, "devpts rw,nosuid,noexec,relatime,");
        let (gid, after) = after.split_once(',').unwrap();
        assert!(gid.parse::<u32>().is_ok(), "{options}");
        assert_eq!(after, "mode=620,ptmxmode=666\n");
    }
    engine.finish();
}
