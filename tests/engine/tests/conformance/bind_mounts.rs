//! Directories and files of the host in a container: who can read them, and who can write them.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use engine_tests::mounts::Mounts;
use engine_tests::session::{as_user, script};
use engine_tests::{Engine, inside};
use gdn_types::{BindMode, BindMount, ContainerSpec, Handle};

use BindMode::{ReadOnly, ReadWrite};

/// Whoever may be in a container: its root, and a user without rights.
const USERS: [&str; 2] = ["root", "alice"];

fn bind(source: &Path, target: &str, mode: BindMode) -> BindMount {
    BindMount::new(source, target, mode).unwrap()
}

fn create(engine: &Engine, privileged: bool, binds: &[BindMount]) -> Handle {
    engine.create_from(ContainerSpec { privileged, bind_mounts: binds.to_vec(), ..ContainerSpec::default() })
}

/// What everybody reads there, unprivileged and privileged.
#[track_caller]
fn expect_readable(engine: &Engine, binds: &[BindMount], file: &str, word: &str) {
    for privileged in [false, true] {
        let handle = create(engine, privileged, binds);
        for user in USERS {
            let said = engine.run(&handle, as_user(user, script(&format!("cat {file}"))));
            assert_eq!(said.expect(0).text(), word, "{file} by {user}, privileged {privileged}");
        }
        engine.gdn(["destroy", handle.as_str()]).expect_status(0);
    }
}

/// Tries every way to change what is there, and tells what each was told: `done`, or the error.
fn attempts(engine: &Engine, handle: &Handle, user: &str, place: &str) -> Vec<String> {
    let ways = ["touch new", "mkdir dir", "echo more >> file", "rm file", "mv file moved", "chmod 777 ."];
    let attempt = |way: &str| {
        let ran = engine.run(handle, as_user(user, script(&format!("cd {place} && {way}"))));
        match ran.status.code() {
            0 => "done".to_owned(),
            _ => ran.errors().trim().rsplit(": ").next().unwrap().to_owned(),
        }
    };
    ways.map(attempt).to_vec()
}

/// A directory's files, and what the one that it began with says.
fn content(directory: &Path) -> (Vec<String>, String) {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    (names, fs::read_to_string(directory.join("file")).unwrap())
}

/// Nobody changed the directory of this name.
#[track_caller]
fn expect_untouched(directory: &Path) {
    let name = directory.file_name().unwrap().to_str().unwrap();
    assert_eq!(content(directory), (vec!["file".to_owned()], name.to_owned()));
}

/// Conformance: Q1-2
#[test]
fn files_and_files_that_are_mounts_are_read_by_all() {
    let mut mounts = Mounts::new();
    let (file, covered, shown) =
        (mounts.file("single", 0o644), mounts.file("covered", 0o644), mounts.file("shown", 0o644));
    mounts.bind(&shown, &covered);
    let engine = Engine::start();
    for mode in [ReadOnly, ReadWrite] {
        expect_readable(&engine, &[bind(&file, "/mnt/file", mode)], "/mnt/file", "single");
        expect_readable(&engine, &[bind(&covered, "/mnt/file", mode)], "/mnt/file", "shown");
    }
    // Where the image has a file, it is covered, and only that file.
    expect_readable(&engine, &[bind(&file, "/etc/group", ReadOnly)], "/etc/group", "single");
    engine.finish();
}

/// Conformance: Q3
#[test]
fn a_file_mounted_for_writing_is_written_in_a_privileged_container() {
    let mounts = Mounts::new();
    let (open, shut) = (mounts.file("open", 0o644), mounts.file("shut", 0o666));
    let engine = Engine::start();
    let binds = [bind(&open, "/mnt/open", ReadWrite), bind(&shut, "/mnt/shut", ReadOnly)];
    let handle = create(&engine, true, &binds);
    engine.run(&handle, script("echo -n , changed >> /mnt/open")).expect(0);
    assert_eq!(fs::read_to_string(&open).unwrap(), "open, changed");
    // The container sees what the host writes there.
    fs::write(&open, "by the host").unwrap();
    assert_eq!(engine.run(&handle, script("cat /mnt/open")).expect(0).text(), "by the host");
    let refused = engine.run(&handle, as_user("alice", script("echo x >> /mnt/open")));
    assert!(refused.expect(1).errors().contains("Permission denied"));
    for user in USERS {
        let refused = engine.run(&handle, as_user(user, script("echo x >> /mnt/shut")));
        assert!(refused.expect(1).errors().contains("Read-only file system"), "{user}");
    }
    // It is a mount, and stays one.
    let refused = engine.run(&handle, script("rm /mnt/open"));
    assert!(refused.expect(1).errors().contains("busy"));
    assert_eq!(fs::read_to_string(&open).unwrap(), "by the host");
    assert_eq!(fs::read_to_string(&shut).unwrap(), "shut");
    engine.finish();
}

/// Conformance: Q4
#[test]
fn a_source_that_is_a_link_is_followed() {
    let mounts = Mounts::new();
    let (directory, file) = (mounts.directory("behind", 0o755), mounts.file("single", 0o644));
    let link = |name: &str, target: &Path| {
        symlink(target, mounts.path(name)).unwrap();
        mounts.path(name)
    };
    let absolute = link("absolute", &directory);
    let (relative, twice) = (link("relative", Path::new("behind")), link("twice", &absolute));
    let to_file = link("to-file", &file);
    let dangling = link("dangling", Path::new("missing"));
    let engine = Engine::start();
    for source in [&absolute, &relative, &twice] {
        expect_readable(&engine, &[bind(source, "/mnt/dir", ReadOnly)], "/mnt/dir/file", "behind");
    }
    expect_readable(&engine, &[bind(&to_file, "/mnt/file", ReadOnly)], "/mnt/file", "single");
    let below = absolute.join("file");
    expect_readable(&engine, &[bind(&below, "/mnt/file", ReadOnly)], "/mnt/file", "behind");
    let spec =
        ContainerSpec { bind_mounts: vec![bind(&dangling, "/mnt/x", ReadOnly)], ..ContainerSpec::default() };
    let error = engine.try_create(spec).unwrap_err().report();
    assert!(error.contains("dangling"), "{error}");
    engine.finish();
}

/// Conformance: Q5-6
#[test]
fn directories_and_mounted_directories_are_shown() {
    let mut mounts = Mounts::new();
    let (plain, other) = (mounts.directory("plain", 0o755), mounts.directory("other", 0o755));
    let memory = mounts.tmpfs("memory", 0o755, "rw");
    let covered = mounts.directory("covered", 0o755);
    mounts.bind(&other, &covered);
    let engine = Engine::start();
    for (source, word) in [(&plain, "plain"), (&memory, "memory"), (&covered, "other")] {
        for mode in [ReadOnly, ReadWrite] {
            expect_readable(&engine, &[bind(source, "/mnt/dir", mode)], "/mnt/dir/file", word);
        }
    }
    engine.finish();
}

/// Flags of a mount as the kernel tells them to a process, in order; those of time that nobody asked for left out.
fn flags_of(mountinfo: &str, target: &str) -> Vec<String> {
    let line = mountinfo.lines().find(|line| line.split(' ').nth(4) == Some(target));
    let line = line.unwrap_or_else(|| panic!("{target} is no mount: {mountinfo}"));
    let mut flags: Vec<_> = line.split(' ').nth(5).unwrap().split(',').map(str::to_owned).collect();
    flags.sort();
    flags
}

/// Conformance: Q7
#[test]
fn options_of_the_sources_mount_survive() {
    let mut mounts = Mounts::new();
    let cases = [
        ("usual", "rw"),
        ("no-suid", "nosuid"),
        ("no-devices", "nodev"),
        ("no-programs", "noexec"),
        ("no-times", "noatime"),
        ("no-directory-times", "nodiratime"),
        ("read-only", "ro"),
        ("most", "nosuid,nodev,noexec,noatime,ro"),
        ("most-writable", "nosuid,nodev,noexec,noatime"),
    ];
    let sources = cases.map(|(name, options)| mounts.tmpfs(name, 0o755, options));
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let told = sources.each_ref().map(|source| flags_of(&host, source.to_str().unwrap()));
    for ((name, options), told) in cases.iter().zip(&told) {
        assert!(options.split(',').all(|option| told.iter().any(|flag| flag == option)), "{name}: {told:?}");
    }
    let engine = Engine::start();
    for (privileged, mode) in [(false, ReadOnly), (false, ReadWrite), (true, ReadOnly), (true, ReadWrite)] {
        let target = |source: &PathBuf| format!("/mnt/{}", source.file_name().unwrap().to_str().unwrap());
        let binds: Vec<_> = sources.iter().map(|source| bind(source, &target(source), mode)).collect();
        let handle = create(&engine, privileged, &binds);
        let seen = engine.run(&handle, script("cat /proc/self/mountinfo")).expect(0).text();
        for (source, told) in sources.iter().zip(&told) {
            let mut expected = told.clone();
            if mode == ReadOnly {
                expected.retain(|flag| flag != "rw" && flag != "ro");
                expected.push("ro".to_owned());
                expected.sort();
            }
            let seen = flags_of(&seen, &target(source));
            assert_eq!(seen, expected, "{} privileged {privileged} {mode:?}", source.display());
        }
        engine.gdn(["destroy", handle.as_str()]).expect_status(0);
    }
    engine.finish();
}

/// What the options forbid is refused, also to a privileged root that may write there.
#[test]
fn options_of_the_sources_mount_hold() {
    let mut mounts = Mounts::new();
    let all = mounts.tmpfs("all", 0o777, "nosuid,nodev,noexec");
    let quiet = mounts.tmpfs("quiet", 0o777, "nosuid");
    let none = mounts.tmpfs("none", 0o777, "rw");
    let shut = mounts.tmpfs("shut", 0o777, "ro");
    let engine = Engine::start();
    let binds = [("/mnt/all", &all), ("/mnt/quiet", &quiet), ("/mnt/none", &none), ("/mnt/shut", &shut)]
        .map(|(target, source)| bind(source, target, ReadWrite));
    let handle = create(&engine, true, &binds);
    let programs = "for place in /mnt/all /mnt/quiet /mnt/none; do \
                    cp /bin/busybox $place/crontab && chmod 4755 $place/crontab && mknod $place/null c 1 3 && \
                    chmod 666 $place/null || exit; done";
    engine.run(&handle, script(programs)).expect(0);
    let does = |text: &str| engine.run(&handle, as_user("alice", script(text)));
    // It says so when it is not root's by its file's mode.
    let by_mode = |place: &str| !does(&format!("{place}/crontab -l")).errors().contains("must be suid");
    assert!(by_mode("/mnt/none") && !by_mode("/mnt/quiet"));
    does("echo x > /mnt/none/null").expect(0);
    assert!(does("/mnt/all/crontab -l").expect(126).errors().contains("Permission denied"));
    assert!(does("echo x > /mnt/all/null").expect(1).errors().contains("Permission denied"));
    for refused in attempts(&engine, &handle, "root", "/mnt/shut") {
        assert_eq!(refused, "Read-only file system");
    }
    engine.finish();
}

/// Conformance: Q8-11
#[test]
fn read_only_directories_are_read_and_written_by_nobody() {
    let mut mounts = Mounts::new();
    // Nothing but the mount forbids it.
    let sources = [mounts.directory("plain", 0o777), mounts.tmpfs("memory", 0o777, "rw")];
    for source in &sources {
        fs::set_permissions(source.join("file"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .unwrap();
    }
    let engine = Engine::start();
    for source in &sources {
        let word = source.file_name().unwrap().to_str().unwrap();
        let binds = [bind(source, "/mnt/dir", ReadOnly)];
        expect_readable(&engine, &binds, "/mnt/dir/file", word);
        for privileged in [false, true] {
            let handle = create(&engine, privileged, &binds);
            for user in USERS {
                for refused in attempts(&engine, &handle, user, "/mnt/dir") {
                    assert_eq!(refused, "Read-only file system", "{word} {user}, privileged {privileged}");
                }
            }
        }
        expect_untouched(source);
    }
    engine.finish();
}

/// Conformance: Q12-15
#[test]
fn writable_directories_are_written_by_those_whom_their_owner_admits() {
    let mut mounts = Mounts::new();
    let sources = [mounts.directory("plain", 0o755), mounts.tmpfs("memory", 0o755, "rw")];
    let engine = Engine::start();
    for source in &sources {
        let binds = [bind(source, "/mnt/dir", ReadWrite)];
        // The host's root owns it, who is nobody in an unprivileged container, and no user anywhere.
        for (privileged, user) in [(false, "root"), (false, "alice"), (true, "alice")] {
            let handle = create(&engine, privileged, &binds);
            for refused in attempts(&engine, &handle, user, "/mnt/dir") {
                let refusals = ["Permission denied", "Operation not permitted"];
                assert!(refusals.contains(&refused.as_str()), "{user}, privileged {privileged}: {refused}");
            }
            expect_untouched(source);
        }
        let handle = create(&engine, true, &binds);
        let write = "cd /mnt/dir && touch new && mkdir dir && echo -n , more >> file && mv new moved";
        engine.run(&handle, script(write)).expect(0);
        let word = source.file_name().unwrap().to_str().unwrap();
        let names = ["dir", "file", "moved"].map(str::to_owned).to_vec();
        assert_eq!(content(source), (names, format!("{word}, more")));
        assert_eq!(fs::metadata(source.join("moved")).unwrap().uid(), 0);
    }
    engine.finish();
}

/// The other side of it: a directory for everybody, and one that was given to the container's root.
#[test]
fn whom_the_hosts_owner_admits_may_write_in_an_unprivileged_container() {
    let mounts = Mounts::new();
    let (open, given) = (mounts.directory("open", 0o1777), mounts.directory("given", 0o755));
    let engine = Engine::start();
    let binds = [bind(&open, "/mnt/open", ReadWrite), bind(&given, "/mnt/given", ReadWrite)];
    let handle = create(&engine, false, &binds);
    let owner = |path: &Path| fs::metadata(path).map(|file| (file.uid(), file.gid())).unwrap();
    let root = owner(Path::new(&format!("/proc/{}", engine.init_pid(handle.as_str()))));
    assert_ne!(root.0, 0, "an unprivileged container's root is not the host's");
    std::os::unix::fs::chown(&given, Some(root.0), Some(root.1)).unwrap();
    engine.run(&handle, script("touch /mnt/open/roots /mnt/given/roots")).expect(0);
    engine.run(&handle, as_user("alice", script("touch /mnt/open/hers"))).expect(0);
    let refused = engine.run(&handle, as_user("alice", script("touch /mnt/given/hers")));
    assert!(refused.expect(1).errors().contains("Permission denied"));
    assert_eq!(owner(&open.join("roots")), root);
    assert_eq!(owner(&given.join("roots")), root);
    assert_ne!(owner(&open.join("hers")), root);
    assert_ne!(owner(&open.join("hers")).0, 0);
    engine.finish();
}

/// Conformance: Q16-17
#[test]
fn mounts_within_mounts_come_in_the_order_given() {
    let mounts = Mounts::new();
    let outer = mounts.directory("outer", 0o755);
    fs::create_dir_all(outer.join("a/b")).unwrap();
    fs::write(outer.join("a/file"), "outer's own a").unwrap();
    let (inner, innermost) = (mounts.directory("inner", 0o755), mounts.directory("innermost", 0o755));
    fs::create_dir(inner.join("b")).unwrap();
    let engine = Engine::start();
    let look = "cat /mnt/file; echo; cat /mnt/a/file; echo; cat /mnt/a/b/file || echo none";
    let said = |privileged, binds: &[BindMount]| {
        let handle = create(&engine, privileged, binds);
        let by = USERS.map(|user| engine.run(&handle, as_user(user, script(look))).expect(0).text());
        assert_eq!(by[0], by[1], "everybody sees the same");
        (handle, by[0].clone())
    };
    for mode in [ReadOnly, ReadWrite] {
        for privileged in [false, true] {
            let binds = [("/mnt", &outer), ("/mnt/a", &inner), ("/mnt/a/b", &innermost)]
                .map(|(target, source)| bind(source, target, mode));
            let (handle, seen) = said(privileged, &binds);
            assert_eq!(seen, "outer\ninner\ninnermost", "privileged {privileged} {mode:?}");
            let write = "touch /mnt/new /mnt/a/new /mnt/a/b/new";
            let wrote = engine.run(&handle, script(write));
            let new = [&outer, &inner, &innermost].map(|source| source.join("new"));
            assert_eq!(wrote.status.code() == 0, privileged && mode == ReadWrite, "{}", wrote.errors());
            assert!(new.iter().all(|new| new.exists() == (wrote.status.code() == 0)));
            new.iter().filter(|new| new.exists()).for_each(|new| fs::remove_file(new).unwrap());
            engine.gdn(["destroy", handle.as_str()]).expect_status(0);

            // One that comes later covers what was mounted below its place.
            let covered = [bind(&inner, "/mnt/a", mode), bind(&outer, "/mnt", mode)];
            let (handle, seen) = said(privileged, &covered);
            assert_eq!(seen, "outer\nouter's own a\nnone\n", "privileged {privileged} {mode:?}");
            engine.gdn(["destroy", handle.as_str()]).expect_status(0);
        }
    }
    // Each is written, or not, as it was asked for.
    let mixed = [bind(&outer, "/mnt", ReadOnly), bind(&inner, "/mnt/a", ReadWrite)];
    let (handle, _) = said(true, &mixed);
    engine.run(&handle, script("touch /mnt/a/new")).expect(0);
    assert!(engine.run(&handle, script("touch /mnt/new")).expect(1).errors().contains("Read-only"));
    assert!(inner.join("new").exists() && !outer.join("a/new").exists());
    engine.finish();
}

/// What the host mounts below a source later, and what a container mounts in it, stays where it was made.
#[test]
fn mounts_made_later_do_not_show_on_the_other_side() {
    let mut mounts = Mounts::new();
    let source = mounts.tmpfs("source", 0o755, "rw");
    for name in ["hosts", "containers"] {
        fs::create_dir(source.join(name)).unwrap();
    }
    let other = mounts.directory("other", 0o755);
    // As the mounts of most hosts are.
    let shared = Command::new("mount").arg("--make-shared").arg(&source).status().unwrap();
    assert!(shared.success());
    let engine = Engine::start();
    let handle = create(&engine, true, &[bind(&source, "/mnt", ReadWrite)]);
    mounts.bind(&other, &source.join("hosts"));
    let mount = "mount -t tmpfs none /mnt/containers && touch /mnt/containers/file && ls /mnt/hosts";
    assert_eq!(engine.run(&handle, script(mount)).expect(0).text(), "");
    let init = engine.init_pid(handle.as_str());
    assert!(inside::path(init, "/mnt/containers/file").exists());
    assert!(!source.join("containers/file").exists() && source.join("hosts/file").exists());
    engine.finish();
}
