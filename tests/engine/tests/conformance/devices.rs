//! The device directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use engine_tests::session::script;
use engine_tests::{Engine, inside};
use gdn_types::{BindMode, BindMount, ContainerSpec, Handle, ImageRef, MemoryLimits, ProcessSpec};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

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
    assert!(inside::cgroups_are_v1(), "version 2 has no files for devices");
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

/// Makes the nodes of devices and tries to open each to read and to write; tells which are opened.
fn opened(engine: &Engine, handle: &Handle, nodes: &[&str]) -> String {
    let tries: Vec<_> = nodes.iter().map(|node| format!("try {node}")).collect();
    let text = format!(
        "try() {{ n=/tmp/$1$2.$3; test -e $n || mknod $n $1 $2 $3 || echo no node $*; \
         (: <$n) 2>/dev/null && echo r $*; (: >>$n) 2>/dev/null && echo w $*; }}; {}; true",
        tries.join("; ")
    );
    engine.run(handle, script(&text)).expect(0).text()
}

const USUAL: [&str; 6] = ["c 1 3", "c 1 5", "c 1 7", "c 1 8", "c 1 9", "c 10 229"];

/// Every node may be made; those of the list may be opened, the kernel's log and its memory may not.
const OTHERS: [&str; 2] = ["c 1 11", "c 1 1"];

fn both_ways(nodes: &[&str]) -> String {
    nodes.iter().map(|node| format!("r {node}\nw {node}\n")).collect()
}

/// Conformance: Q50
#[test]
fn a_privileged_container_may_use_the_usual_devices_and_make_any_node() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec { privileged: true, ..ContainerSpec::default() });
    let nodes = [&USUAL[..], &OTHERS].concat();
    assert_eq!(opened(&engine, &handle, &nodes), both_ways(&USUAL));
    engine.finish();
}

/// Conformance: Q51
#[test]
fn the_operators_rules_open_more_devices_to_containers_and_sidecars() {
    let mut engine = Engine::new();
    let file = engine.scratch().join("config.ini");
    fs::write(&file, "[server]\ndevice-cgroup-rule = c 1:11 w\n").unwrap();
    engine.start_server(&["--config", file.to_str().unwrap()]);
    // A node that a container is given may be everybody's, as it decides alone who may open it.
    let node = engine.scratch().join("node");
    mknodat(CWD, &node, FileType::CharacterDevice, Mode::RWXU, makedev(1, 11)).unwrap();
    fs::set_permissions(&node, Permissions::from_mode(0o666)).unwrap();
    let create = |engine: &Engine, privileged| {
        let given = BindMount::new(&node, "/given", BindMode::ReadWrite).unwrap();
        engine.create_from(ContainerSpec { privileged, bind_mounts: vec![given], ..ContainerSpec::default() })
    };
    let made = create(&engine, true);
    let nodes = [&USUAL[..], &OTHERS].concat();
    let kernels_log = "w c 1 11\n";
    assert_eq!(opened(&engine, &made, &nodes), format!("{}{kernels_log}", both_ways(&USUAL)));
    let given = "(: <>/given) 2>/dev/null && echo both; (: >>/given) && echo w";
    assert_eq!(engine.run(&made, script(given)).expect(0).text(), "w\n");

    // A sidecar with limits of its own is in no group of the container.
    let limits = Some((Default::default(), MemoryLimits { bytes: 64 << 20 }));
    let image = Some(ImageRef::uri(engine.image()));
    let sidecar =
        ProcessSpec { limits, image, ..script("mknod /n c 1 11; (: >>/n) && echo w; (: <>/n) || echo no") };
    assert!(engine.run(&made, sidecar).expect(0).text().starts_with("w\nno"));
    engine.stop_server();

    // What was made before keeps what it has.
    engine.start_server(&["--device-cgroup-rule", "c 1:11 r", "--device-cgroup-rule", "c 1:11 wm"]);
    let later = create(&engine, true);
    assert_eq!(opened(&engine, &later, &nodes), both_ways(&[&USUAL[..], &OTHERS[..1]].concat()));
    assert_eq!(opened(&engine, &made, &nodes), format!("{}{kernels_log}", both_ways(&USUAL)));
    // Who is not root of the host makes no node, and may use one that is given.
    let unprivileged = create(&engine, false);
    let tried = "mknod /tmp/n c 1 11 2>/dev/null || echo none; (: >>/given) && echo w";
    assert_eq!(engine.run(&unprivileged, script(tried)).expect(0).text(), "none\nw\n");
    engine.finish();
}

/// Conformance: Q51
#[test]
fn a_rule_of_the_operator_takes_the_place_of_the_usual_one() {
    let mut engine = Engine::new();
    engine.start_server(&["--device-cgroup-rule", "c 1:5 rm"]);
    let handle = engine.create_from(ContainerSpec { privileged: true, ..ContainerSpec::default() });
    assert_eq!(opened(&engine, &handle, &["c 1 3", "c 1 5"]), "r c 1 3\nw c 1 3\nr c 1 5\n");
    engine.finish();
}
