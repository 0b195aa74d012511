//! What an unprivileged container may do within its own namespaces, and what it may not outside them.

use std::fs;

use engine_tests::{Engine, inside};

#[test]
fn root_of_a_container_rules_its_own_network() {
    let engine = Engine::start();
    let handle = engine.create(&["--sysctl", "net.ipv4.ip_unprivileged_port_start=77"]);
    let read = engine.shell(&handle, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start").expect_status(0);
    assert_eq!(read.text(), "77\n");
    engine.shell(&handle, "ping -c 1 -w 10 127.0.0.1").expect_status(0);
    let links = engine.shell(&handle, "ls /sys/class/net").expect_status(0);
    assert!(links.text().split_whitespace().any(|link| link == "lo"), "{}", links.text());
    // It goes into the background when it is bound.
    let served = engine.shell(
        &handle,
        "echo served > /tmp/page; httpd -p 77 -h /tmp && wget -q -O - http://127.0.0.1:77/page",
    );
    assert_eq!(served.expect_status(0).text(), "served\n");
    let privileged_port = engine.create(&[]);
    let served = engine.shell(
        &privileged_port,
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; echo served > /tmp/page; \
         httpd -p 80 -h /tmp && wget -q -O - http://127.0.0.1:80/page",
    );
    assert_eq!(served.expect_status(0).text(), "1024\nserved\n");
    engine.finish();
}

#[test]
fn root_of_a_container_is_nobody_on_the_host() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let init = engine.init_pid(&handle);
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    assert!(uids.split_whitespace().all(|uid| uid == "4294967294"), "{uids}");
    // What would succeed for root of the host, and do no harm there.
    for (what, script) in [
        ("make a block device", "mknod /tmp/disk b 8 0"),
        ("read the kernel's log", "dmesg"),
        ("write a global sysctl", "echo 1 > /proc/sys/vm/drop_caches"),
        ("raise a limit of the host", "ulimit -n 100000000"),
        ("see processes of the host", "ls /proc/self/root/proc/1/root/etc/shadow"),
    ] {
        assert_ne!(engine.shell(&handle, script).status, 0, "it can {what}");
    }
    let pids = engine.shell(&handle, "ls -d /proc/[0-9]* | wc -l").expect_status(0);
    assert!(pids.text().trim().parse::<u32>().unwrap() < 8, "{}", pids.text());
    assert!(inside::lives(init));
    engine.finish();
}
