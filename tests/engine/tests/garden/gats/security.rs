//! What separates users and containers: owners, variables, system calls, capabilities.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::{Value, json};

use super::{Bed, on_terminal, program, script, with};

/// Prints inheritable, permitted, effective, bounding and ambient capabilities of the shell, and whether it has a filter.
const TELL: &str = "sed -n 's/^\\(Cap...\\|Seccomp\\):[[:space:]]*//p' /proc/self/status";

/// Number of settimeofday(2).
const SET_TIME: u32 = if cfg!(target_arch = "aarch64") { 170 } else { 164 };

/// The bounding set that this process, and so a server started by it, has. What it lacks nobody gets.
fn of_the_host() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

/// Conformance: G201-204, G207-211, G218-219
#[test]
fn capabilities_and_the_filter_are_those_that_clients_compare() {
    let bed = Bed::start();
    let sidecar = json!({ "image": { "uri": bed.engine.image() } });
    for privileged in [false, true] {
        let handle = bed.create(json!({ "privileged": privileged }));
        let (root, user) = match privileged {
            false => (0xa804_25fb, 0xa804_25fb),
            true => (0x3f_ffff_ffff & of_the_host(), 0xa824_25fb & of_the_host()),
        };
        let filter = if privileged { "0" } else { "2" };
        let told = |sets: [u64; 5]| sets.map(|set| format!("{set:016x}\n")).concat() + filter + "\n";
        let (of_root, of_user) = (told([root, root, root, root, 0]), told([user, 0, 0, user, 0]));
        let status = fs::read_to_string(format!("/proc/{}/status", bed.engine.init_pid(&handle))).unwrap();
        for line in [format!("CapBnd:\t{root:016x}\n"), format!("CapEff:\t{root:016x}\n")] {
            assert!(status.contains(&line), "{line:?} in {status}");
        }
        for (name, expected) in [("", &of_root), ("alice", &of_user)] {
            let plain = with(script(TELL), json!({ "user": name }));
            let kinds = [plain.clone(), with(plain.clone(), sidecar.clone()), on_terminal(plain)];
            for spec in kinds {
                let text = bed.run(&handle, spec.clone()).expect(0).text().replace("\r\n", "\n");
                assert_eq!(&text, expected, "{spec} privileged {privileged}");
            }
        }
        // The only namespace that needs no capability.
        let unshare = program(&["unshare", "-U", "true"]);
        for spec in [unshare.clone(), with(unshare, sidecar.clone())] {
            let told = bed.run(&handle, spec);
            if !privileged {
                assert!(told.errors().contains("Operation not permitted"), "{told:?}");
                assert_ne!(told.status, Ok(0));
            }
        }
    }
    bed.finish();
}

/// Conformance: G188-200, G205-206, G212-217, G220-221
#[test]
fn files_and_variables_belong_to_whom_the_image_says() {
    let bed = Bed::start();
    let image = bed.engine.image_with("owned", |rootfs| {
        fs::write(rootfs.join("root/own"), "root's").unwrap();
        fs::write(rootfs.join("home/alice/own"), "alice's").unwrap();
        fs::write(rootfs.join("home/alice/.hidden"), "hidden").unwrap();
        for path in ["home/alice/own", "home/alice/.hidden"] {
            chown(rootfs.join(path), Some(1000), Some(1000)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/setuid")).unwrap();
        fs::set_permissions(rootfs.join("bin/setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:\nalice:x:1000:\nwheel:x:10:alice\n").unwrap();
    });
    for privileged in [false, true] {
        let handle = bed.create(json!({ "image": { "uri": image }, "privileged": privileged }));
        let said = |user: &str, text: &str| bed.said(&handle, user, text);
        let owners =
            "stat -c %u:%g /root/own /bin/sh /home/alice /home/alice/own; stat -c %u /dev/pts /dev/pts/ptmx";
        assert_eq!(said("", owners), "0:0\n0:0\n1000:1000\n1000:1000\n0\n0\n");
        assert_eq!(said("", "stat -c %a /bin/setuid"), "4755\n");
        assert_eq!(
            said("alice", "pwd; cat .hidden; echo more >> own; cat own"),
            "/home/alice\nhiddenalice'smore\n"
        );
        assert_eq!(said("", "pwd; echo more >> own; cat own"), "/root\nroot'smore\n");
        assert_ne!(
            bed.run(&handle, with(script("echo x >> /etc/passwd"), json!({ "user": "alice" }))).status,
            Ok(0)
        );
        assert_eq!(said("alice", "id -u; id -g; id -G"), "1000\n1000\n1000 10\n");
        let dir = json!({ "user": "alice", "dir": "/home/alice" });
        assert_eq!(
            bed.run(&handle, with(script("pwd; touch x && echo yes"), dir)).expect(0).text(),
            "/home/alice\nyes\n"
        );
        if !privileged {
            // The letter that only prints help.
            assert_ne!(bed.run(&handle, script("echo h > /proc/sysrq-trigger")).status, Ok(0));
        }

        let tell = "echo $HOME $USER; echo $PATH";
        let for_all = "/usr/local/bin:/usr/bin:/bin";
        let for_root = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(said("alice", tell), format!("/home/alice alice\n{for_all}\n"));
        for root in ["", "root"] {
            assert_eq!(said(root, tell), format!("/root root\n{for_root}\n"));
        }
        for (user, path) in [("alice", for_all), ("root", for_root)] {
            let given = json!({ "user": user, "env": ["HOME=/tmp", "USER=me"] });
            assert_eq!(
                bed.run(&handle, with(script(tell), given)).expect(0).text(),
                format!("/tmp me\n{path}\n")
            );
        }
    }

    let handle = bed.create(json!({}));
    let forks = "ulimit -u; i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done; echo all";
    let limited = json!({ "user": "alice", "rlimits": { "nproc": 7 } });
    let told = bed.run(&handle, with(script(forks), limited));
    assert!(told.text() == "7\n" && told.errors().contains("can't fork"), "{told:?}");
    bed.garden.put(&format!("/containers/{handle}/stop"), &json!({ "kill": true })).expect_done();
    bed.finish();
}

/// The host's perl, which becomes root inside, stands for `sudo`.
///
/// Conformance: G222-223
#[test]
fn a_program_that_becomes_root_may_change_owners_and_not_the_clock() {
    let bed = Bed::start();
    let image = bed.engine.image_with("perl", |rootfs| {
        fs::copy("/usr/bin/perl", rootfs.join("bin/becomes-root")).expect("perl is part of the host");
        fs::set_permissions(rootfs.join("bin/becomes-root"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    let lent = ["/usr", "/lib", "/lib64"].into_iter().filter(|path| fs::metadata(path).is_ok());
    let lent: Vec<Value> = lent.map(|path| json!({ "src_path": path, "dst_path": path })).collect();
    // Without a time to set, the clock stays as it is whatever the kernel says.
    let text = format!(
        "$> == 0 or exit 11; $< == 1000 or exit 12; syscall({SET_TIME}, 0, 0) == 0 and exit 8; \
         open my $f, '>', '/tmp/new'; chown 0, 0, '/tmp/new' or exit 9; (stat '/tmp/new')[4] == 0 or exit 10; exit 5"
    );
    for privileged in [false, true] {
        let handle =
            bed.create(json!({ "image": { "uri": image }, "bind_mounts": lent, "privileged": privileged }));
        let spec = with(program(&["becomes-root", "-e", &text]), json!({ "user": "alice" }));
        bed.run(&handle, spec).expect(5);
    }
    bed.finish();
}

/// Conformance: G225-229
#[test]
fn users_and_groups_are_those_of_the_container() {
    let bed = Bed::start();
    let image = bed.engine.image_with("groups", |rootfs| {
        let groups = "root:x:0:\nalice:x:1000:\nwheel:x:10:bob,alice\nvideo:x:44:alice,root\n";
        fs::write(rootfs.join("etc/group"), groups).unwrap();
    });
    let handle = bed.create(json!({ "image": { "uri": image } }));
    assert_eq!(
        bed.said(&handle, "1000000000", "id -u; touch /tmp/x; stat -c %u /tmp/x"),
        "1000000000\n1000000000\n"
    );
    let make = "echo eve:x:50000:50000:eve:/home/eve:/bin/sh >> /etc/passwd; echo eve:x:50000: >> /etc/group; \
                mkdir /home/eve && chown 50000:50000 /home/eve";
    bed.said(&handle, "", make);
    assert_eq!(bed.said(&handle, "eve", "id -u; id -un; pwd; touch mine"), "50000\neve\n/home/eve\n");
    for (user, expected) in [("alice", &[10, 44][..]), ("root", &[44]), ("4321", &[])] {
        let said = bed.said(&handle, user, "sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status");
        let mut groups: Vec<u32> = said.split_whitespace().map(|group| group.parse().unwrap()).collect();
        // A user's own group may be among them.
        groups.retain(|group| ![0, 1000].contains(group));
        groups.sort_unstable();
        assert_eq!(groups, expected, "{user}");
    }

    let userless = bed.engine.image_with("userless", |rootfs| {
        fs::remove_file(rootfs.join("etc/passwd")).unwrap();
        fs::remove_file(rootfs.join("etc/group")).unwrap();
    });
    let handle = bed.create(json!({ "image": { "uri": userless } }));
    for user in ["", "root"] {
        assert_eq!(bed.said(&handle, user, "id -u; pwd"), "0\n/\n");
    }
    let unknown = with(program(&["true"]), json!({ "user": "alice" }));
    let message = bed.garden.run(&handle, &unknown).unwrap_err().expect_error(500, "");
    assert!(message.contains("unable to find user alice: no matching entries in passwd file"), "{message}");
    bed.finish();
}
