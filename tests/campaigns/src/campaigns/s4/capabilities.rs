//! What processes are capable of.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use engine_tests::session::{as_user, program};
use gdn_types::{ContainerSpec, Handle, ImageRef, ProcessSpec, WindowSize};
use serde_json::Value;

use crate::{Bed, Peer, Stage, Target, Verdict};

/// The capabilities of an unprivileged container, and those of a user in a privileged one.
const FEW: u64 = 0xa804_25fb;
const OF_USERS: u64 = 0xa824_25fb;
/// All that Garden knows (up to AUDIT_READ).
const ALL: u64 = 0x3f_ffff_ffff;

const STATUS: [&str; 2] = ["cat", "/proc/self/status"];

/// A set of capabilities in the text of a `status` file.
fn set(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    u64::from_str_radix(line.unwrap_or_else(|| panic!("{name} not in {status}")).trim(), 16).unwrap()
}

/// Neither inherited nor ambient: what a program without capabilities in its file would gain.
fn hands_none_on(status: &str) -> Verdict {
    Verdict::equal((set(status, "CapInh"), set(status, "CapAmb")), (0, 0))
}

fn create(bed: &Bed, image: &str, privileged: bool) -> Handle {
    bed.create(ContainerSpec { image: ImageRef::uri(image), privileged, ..ContainerSpec::default() })
}

fn init_status(bed: &Bed, handle: &Handle) -> String {
    fs::read_to_string(format!("/proc/{}/status", bed.engine().init_pid(handle.as_str()))).unwrap()
}

pub(super) fn inherited(stage: &mut Stage<'_>) {
    let image = stage.bed().image().to_owned();
    for privileged in [false, true] {
        let kind = if privileged { "privileged" } else { "unprivileged" };
        let handle = create(stage.bed(), &image, privileged);
        stage.case(format!("{kind}: the first process"), |bed| hands_none_on(&init_status(bed, &handle)));
        let terminal = Some(WindowSize { columns: 80, rows: 24 });
        let own = Some(ImageRef::uri(&image));
        let specs = [
            ("root", program(&STATUS)),
            ("a user", as_user("alice", program(&STATUS))),
            ("root at a terminal", ProcessSpec { tty: terminal, ..program(&STATUS) }),
            ("root of a sidecar", ProcessSpec { image: own.clone(), ..program(&STATUS) }),
            ("a user of a sidecar", ProcessSpec { image: own, ..as_user("1000:1000", program(&STATUS)) }),
        ];
        for (name, spec) in specs {
            stage.case(format!("{kind}: {name}"), |bed| {
                hands_none_on(bed.inside(&handle).process(spec).said())
            });
        }
        stage.case(format!("{kind}: root after a restart of the server"), |bed| {
            bed.engine_mut().kill_server();
            bed.engine_mut().start_server(&[]);
            hands_none_on(bed.inside(&handle).run("", &STATUS).said())
        });
    }
    stage.control("runc, told to hand capabilities on", |bed| {
        let change = |config: &mut Value| {
            let bounding = config["process"]["capabilities"]["bounding"].clone();
            config["process"]["capabilities"]["inheritable"] = bounding;
        };
        hands_none_on(Peer::new("runc", bed.rootfs(), change).run("0", &STATUS).said())
    });
}

/// A copy of the probe that becomes root.
fn add_setuid(rootfs: &Path) {
    let file = rootfs.join("bin/setuid-cat");
    // busybox gives such rights up unless its configuration says otherwise: the probe keeps them.
    fs::copy(crate::probe(), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).unwrap();
}

/// Inheritable, permitted, effective, bounding and ambient set.
fn sets(status: &str) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| set(status, name))
}

fn has_sets(target: &dyn Target, user: &str, words: &[&str], expected: [u64; 5]) -> Verdict {
    let seen = target.run(user, words);
    Verdict::equal(sets(seen.said()).map(|set| format!("{set:x}")), expected.map(|set| format!("{set:x}")))
}

/// What a server that lacks a capability itself cannot give.
fn given(wanted: u64) -> u64 {
    set(&fs::read_to_string("/proc/self/status").unwrap(), "CapBnd") & wanted
}

pub(super) fn exact_sets(stage: &mut Stage<'_>) {
    let image = stage.bed().image_with("setuid", add_setuid);
    let becomes_root = ["setuid-cat", "cat", "/proc/self/status"];
    for (privileged, of_root, of_users) in [(false, FEW, FEW), (true, ALL, OF_USERS)] {
        let kind = if privileged { "privileged" } else { "unprivileged" };
        let handle = create(stage.bed(), &image, privileged);
        let (of_root, of_users) = (given(of_root), given(of_users));
        let root = [0, of_root, of_root, of_root, 0];
        let user = [0, 0, 0, of_users, 0];
        let cases = [
            ("root", "", &STATUS[..], root),
            ("a user", "alice", &STATUS[..], user),
            ("a number that is no user", "12345", &STATUS[..], user),
            ("a user with the group of root", "alice:root", &STATUS[..], user),
            ("a user who becomes root", "alice", &becomes_root, [0, of_users, of_users, of_users, 0]),
        ];
        for (name, who, words, expected) in cases {
            stage.case(format!("{kind}: {name}"), |bed| has_sets(&bed.inside(&handle), who, words, expected));
        }
        stage.case(format!("{kind}: no more for the first process"), |bed| {
            let status = init_status(bed, &handle);
            let most = sets(&status).into_iter().fold(0, |all, set| all | set);
            Verdict::held_unless(most & !of_root != 0, || format!("{most:x} and not only {of_root:x}"))
        });
    }
    stage.control("a runtime that drops none", |bed| {
        has_sets(&bed.bare().with(&["mount"]), "", &STATUS, [0, given(FEW), given(FEW), given(FEW), 0])
    });
}

/// Whether a user becomes root by a program that is marked so, as far as that is expected.
fn becomes(target: &dyn Target, expected: &str) -> Verdict {
    let seen = target.run("alice", &["setuid-cat", "cat", "/proc/self/status"]);
    let line =
        seen.said().lines().find(|line| line.starts_with("Uid:")).expect("a status has ids").to_owned();
    Verdict::equal(line.split('\t').nth(2).unwrap_or_default(), expected)
}

fn is_told(target: &dyn Target, user: &str, expected: &str) -> Verdict {
    let seen = target.run(user, &["sed", "-n", "s/^NoNewPrivs:\\t//p", "/proc/self/status"]);
    Verdict::equal(seen.said(), expected)
}

pub(super) fn no_new_privileges(stage: &mut Stage<'_>) {
    stage.bed().engine_mut().stop_server();
    for forbidden in [true, false] {
        let options: &[&str] = if forbidden { &["--no-new-privileges"] } else { &[] };
        stage.bed().engine_mut().start_server(options);
        let image = stage.bed().image_with(&format!("setuid-{forbidden}"), add_setuid);
        for privileged in [false, true] {
            let handle = create(stage.bed(), &image, privileged);
            let holds = forbidden && !privileged;
            let (flag, uid) = if holds { ("1", "1000") } else { ("0", "0") };
            let name = format!("forbidden {forbidden}, privileged {privileged}");
            stage.case(format!("{name}: the flag"), |bed| is_told(&bed.inside(&handle), "alice", flag));
            stage.case(format!("{name}: a program that becomes root"), |bed| {
                becomes(&bed.inside(&handle), uid)
            });
        }
        if forbidden {
            stage.bed().engine_mut().stop_server();
        }
    }
    stage.control("a runtime that forbids nothing", |bed| {
        let rootfs = bed.engine().scratch().join("setuid-true");
        becomes(&crate::Bare::new(&rootfs).with(&["mount"]), "1000")
    });
}
