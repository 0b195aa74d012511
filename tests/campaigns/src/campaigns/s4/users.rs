//! Who a process runs as.

use std::fs;
use std::path::Path;

use engine_tests::images::{self, path_text};
use gdn_types::{ContainerSpec, ImageRef};

use crate::{Stage, Target, Verdict};

/// Texts that are no number of 32 bits, or only nearly one.
const ODD_IDS: [&str; 13] = [
    "4294967295",
    "4294967296",
    "-1",
    "2147483648",
    "18446744073709551616",
    "0x0",
    " 0",
    "+0",
    "٠",
    "0:0:0",
    ":",
    "root:",
    "1e3",
];

/// The only one of them that names an id.
const VALID: &str = "2147483648";

/// Makes every odd id a name of user 0 and group 0.
fn lie(rootfs: &Path) {
    let line = |id: &str, rest: &str| format!("{id}:x:{rest}\n");
    let passwd: String = ODD_IDS.iter().map(|id| line(id, "0:0::/:/bin/sh")).collect();
    let group: String = ODD_IDS.iter().map(|id| line(id, "0:")).collect();
    fs::write(rootfs.join("etc/passwd"), format!("alice:x:1000:1000::/:/bin/sh\n{passwd}")).unwrap();
    fs::write(rootfs.join("etc/group"), format!("alice:x:1000:\n{group}")).unwrap();
}

/// Whether asking for it made the process something that was not asked for.
fn becomes(target: &dyn Target, user: &str, option: &str, asked: &str) -> Verdict {
    let seen = target.run(user, &["id", option]);
    match seen.status {
        None => Verdict::Held,
        Some(0) if asked == VALID && seen.stdout.trim() == asked => Verdict::Held,
        Some(_) => Verdict::Escaped(format!("{user:?} ran: {seen}")),
    }
}

pub(super) fn numbers_out_of_range(stage: &mut Stage<'_>) {
    let uri = stage.bed().image_with("odd-ids", lie);
    let handle = stage.bed().create(ContainerSpec { image: ImageRef::uri(uri), ..ContainerSpec::default() });
    for id in ODD_IDS {
        stage.case(format!("user {id:?}"), |bed| becomes(&bed.inside(&handle), id, "-u", id));
    }
    for id in ODD_IDS {
        let user = format!("alice:{id}");
        stage.case(format!("user {user:?}"), |bed| becomes(&bed.inside(&handle), &user, "-g", id));
    }
    stage.control("a look-up by atoi", |bed| becomes(&bed.bare(), "4294967296", "-u", "4294967296"));
    stage.control("a look-up that tries names first", |bed| {
        let rootfs = bed.engine().scratch().join("odd-ids");
        becomes(&crate::Bare::new(&rootfs), "alice: 0", "-g", " 0")
    });
}

const PASSWD: &str =
    "root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\nbob:x:2000:2001::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\naudio:x:29:alice,bob\nwheel:x:10:alice\nalice:x:1001:\n";

/// Every form of a user with the ids it means: user, group, supplementary groups.
const FORMS: [(&str, u32, u32, &str); 16] = [
    ("", 0, 0, ""),
    ("root", 0, 0, ""),
    ("0", 0, 0, ""),
    ("0:0", 0, 0, ""),
    ("0:1000", 0, 1000, ""),
    ("root:wheel", 0, 10, ""),
    ("alice", 1000, 1001, "10 29"),
    ("1000", 1000, 1001, "10 29"),
    ("1000:7", 1000, 7, ""),
    ("alice:29", 1000, 29, ""),
    ("alice:audio", 1000, 29, ""),
    ("bob", 2000, 2001, "29"),
    ("5", 5, 0, ""),
    ("5:6", 5, 6, ""),
    ("5:audio", 5, 29, ""),
    ("1000000000:1000000000", 1_000_000_000, 1_000_000_000, ""),
];

/// Whether all four user ids, all four group ids and the groups are what the form means.
fn is_exactly(target: &dyn Target, form: (&str, u32, u32, &str)) -> Verdict {
    let (user, uid, gid, groups) = form;
    let seen = target.run(user, &["sed", "-n", "s/^[UG][ir][do][:u].*/&/p", "/proc/self/status"]);
    let words: Vec<_> = seen.said().split_whitespace().collect();
    let four = |id: u32| [id; 4].map(|id| id.to_string()).join(" ");
    let expected = format!("Uid: {} Gid: {} Groups: {groups}", four(uid), four(gid));
    Verdict::equal(words.join(" "), expected.trim())
}

pub(super) fn exact_ids(stage: &mut Stage<'_>) {
    let change = |rootfs: &Path| {
        fs::write(rootfs.join("etc/passwd"), PASSWD).unwrap();
        fs::write(rootfs.join("etc/group"), GROUP).unwrap();
    };
    let uri = stage.bed().image_with("forms", change);
    let handle = stage.bed().create(ContainerSpec { image: ImageRef::uri(uri), ..ContainerSpec::default() });
    for form in FORMS {
        stage.case(format!("user {:?}", form.0), |bed| is_exactly(&bed.inside(&handle), form));
    }
    stage.control("a look-up that forgets groups", |bed| {
        let bare = crate::Bare::new(&bed.engine().scratch().join("forms")).with(&["mount"]);
        is_exactly(&bare, FORMS[6])
    });
}

/// Scripts that make a file of users as large as can be.
const HUGE: [(&str, &str); 4] = [
    ("a hole of 1 GiB", "truncate -s 1G"),
    ("ten million lines", "yes x: | head -n 10000000 >"),
    ("a line of 100 MiB", "head -c 104857600 /dev/zero | tr '\\0' a >"),
    ("two bytes more than is read", "head -c 1048578 /dev/zero | tr '\\0' a >"),
];

/// Most memory that a look-up may take, in KiB. The file's own limit is 1 MiB.
const MOST_MEMORY: u64 = 32 * 1024;

/// The most memory a process had, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("every process has memory");
    line.trim().split(' ').next().unwrap().parse().unwrap()
}

pub(super) fn huge_files(stage: &mut Stage<'_>) {
    for (file, user) in [("/etc/passwd", "alice"), ("/etc/group", "alice:audio")] {
        for (name, script) in HUGE {
            stage.case(format!("{file} is {name}"), |bed| {
                let handle = bed.create(ContainerSpec::default());
                let inside = bed.inside(&handle);
                inside.shell("0:0", &format!("{script} {file}")).said();
                let server = bed.engine().server_pid();
                // Forgets the peak so far (proc_pid_clear_refs(5)).
                fs::write(format!("/proc/{server}/clear_refs"), "5").unwrap();
                let before = peak(server);
                let seen = inside.run(user, &["true"]);
                let taken = peak(server).saturating_sub(before);
                Verdict::held_unless(seen.status.is_some() || taken > MOST_MEMORY, || {
                    format!("took {taken} KiB: {seen}")
                })
            });
        }
    }
    stage.control("a look-up that reads the whole file", |bed| {
        let large = bed.engine().scratch().join("large");
        fs::File::create(&large).unwrap().set_len(256 << 20).unwrap();
        let seen =
            bed.bare().unchanged_root().run("", &[&path_text(&crate::probe()), "slurp", &path_text(&large)]);
        let taken: u64 = seen.said().split(' ').next().unwrap().parse().unwrap();
        Verdict::held_unless(taken > MOST_MEMORY, || format!("took {taken} KiB"))
    });
}

/// What is put in the place of a file of users; `HOST` is a file of the host with a user and a group `mallory`.
const TRAPS: [(&str, &str); 6] = [
    ("an absolute link to a file of the host", "ln -s HOST FILE"),
    ("a relative link above the root", "ln -s ../../../../../../../..HOST FILE"),
    ("a fifo", "mkfifo FILE"),
    ("a link to the memory of whoever reads it", "ln -s /proc/self/mem FILE"),
    ("a link to an endless device", "ln -s /dev/zero FILE"),
    ("a directory", "mkdir FILE"),
];

/// A file of the host with a user and a group that only it has.
fn file_of_the_host(bed: &crate::Bed) -> String {
    let file = bed.engine().scratch().join("mallory");
    fs::write(&file, "mallory:x:4242:4242::/:/bin/sh\n").unwrap();
    path_text(&file)
}

fn becomes_mallory(target: &dyn Target, user: &str) -> Verdict {
    let seen = target.run(user, &["id"]);
    Verdict::held_unless(seen.status.is_some(), || format!("{user:?} was found: {seen}"))
}

pub(super) fn traps(stage: &mut Stage<'_>) {
    let host = file_of_the_host(stage.bed());
    for (file, user) in [("/etc/passwd", "mallory"), ("/etc/group", "0:mallory")] {
        for (name, script) in TRAPS {
            stage.case(format!("{file} is {name}"), |bed| {
                bed.in_container(ContainerSpec::default(), |inside| {
                    let script = script.replace("HOST", &host).replace("FILE", file);
                    inside.shell("0:0", &format!("rm {file} && {script}")).said();
                    becomes_mallory(inside, user)
                })
            });
        }
    }
    stage.control("a look-up that joins paths", |bed| {
        let rootfs = bed.engine().scratch().join("trap");
        images::directory(&rootfs);
        fs::remove_file(rootfs.join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink(&host, rootfs.join("etc/passwd")).unwrap();
        let seen = crate::Bare::new(&rootfs).run("mallory", &["id"]);
        Verdict::held_unless(seen.said().contains("uid=4242"), || format!("the host's file made it {seen}"))
    });
}
