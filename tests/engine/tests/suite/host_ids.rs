//! `--uid-range-pool`: unprivileged containers with host ids of their own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use engine_tests::session::{as_user, collect, script};
use engine_tests::{Engine, images, inside};
use gdn_types::{ContainerSpec, ErrorKind, Handle, ImageRef, ProcessSpec, WindowSize};

/// Room for three containers with [`EACH`] ids.
const POOL: &str = "100000:200000";
const OPTIONS: &[&str] = &["--uid-range-pool", POOL];
const EACH: u32 = 65_536;

/// The container's root on the host, as `gdn inspect` tells it and as the kernel has it, for users and groups.
#[track_caller]
fn root_of(engine: &Engine, handle: &str) -> u32 {
    let first = u32::try_from(engine.inspect(handle)["host_ids"]["first"].as_u64().unwrap()).unwrap();
    let init = engine.init_pid(handle);
    for file in ["uid_map", "gid_map"] {
        let map = fs::read_to_string(format!("/proc/{init}/{file}")).unwrap();
        let map: Vec<u32> = map.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!(map, [0, first, EACH], "{handle} {file}");
    }
    first
}

fn owner(init: u32, path: &str) -> (u32, u32) {
    let file = fs::symlink_metadata(inside::path(init, path)).unwrap();
    (file.uid(), file.gid())
}

fn started() -> Engine {
    let mut engine = Engine::new();
    engine.start_server(OPTIONS);
    engine
}

#[test]
fn each_container_owns_its_files_and_processes_by_ids_of_its_own() {
    let engine = started();
    let handles = [engine.create(&[]), engine.create(&[])];
    let roots = handles.each_ref().map(|handle| root_of(&engine, handle));
    assert_eq!(roots, [100_000, 100_000 + EACH]);
    for (handle, root) in handles.iter().zip(roots) {
        let init = engine.init_pid(handle);
        assert_eq!(fs::metadata(format!("/proc/{init}")).unwrap().uid(), root);
        // Inside nothing is different: the image's files are root's and alice's, and so is what they make.
        let made = "stat -c %u:%g / /bin/busybox /home/alice /dev /dev/null /dev/shm; id -u; touch /tmp/made";
        let said = engine.shell(handle, made).expect_status(0);
        assert_eq!(said.text(), "0:0\n0:0\n1000:1000\n0:0\n0:0\n0:0\n0\n");
        let by_alice =
            "touch /tmp/hers /home/alice/hers; stat -c %u:%g /tmp/hers; cat /etc/passwd >/dev/null";
        let said = engine.gdn(["exec", "--user", "alice", handle, "sh", "-c", by_alice]).expect_status(0);
        assert_eq!(said.text(), "1000:1000\n");
        // Copied up from the image, and changed.
        engine.shell(handle, "echo >> /etc/group; chown 65535:65535 /etc/group").expect_status(0);
        for (path, id) in [
            ("/", 0),
            ("/bin/busybox", 0),
            ("/tmp/made", 0),
            ("/tmp/hers", 1000),
            ("/home/alice/hers", 1000),
            ("/etc/group", 65_535),
            ("/dev/null", 0),
        ] {
            assert_eq!(owner(init, path), (root + id, root + id), "{path}");
        }
        // Nobody has more than the range.
        engine.shell(handle, "chown 65536 /tmp/made").expect_error("");
        let beyond = engine.gdn(["exec", "--user", "65536", handle, "true"]);
        beyond.expect_error("65536");
    }
    let handle = Handle::parse(&handles[0]).unwrap();
    let told = engine.with_client(async |client| client.info(&handle).await.unwrap().host_ids).unwrap();
    assert_eq!((told.first(), told.count()), (roots[0], EACH));
    assert!(engine.gdn(["inspect", &handles[0]]).expect_status(0).text().contains("100000-165535"));
    engine.finish();
}

#[test]
fn copies_terminals_sidecars_and_mounts_follow_the_ids() {
    let engine = started();
    let shown = engine.scratch().join("shown");
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("theirs"), "readable").unwrap();
    let _other = engine.create(&[]);
    let bind = format!("{}:/shown:rw", shown.display());
    let handle = engine.create(&["--bind", &bind]);
    let (root, init) = (root_of(&engine, &handle), engine.init_pid(&handle));
    assert_eq!(root, 100_000 + EACH);

    // In as alice and as root, and out again.
    fs::write(engine.scratch().join("in"), "content").unwrap();
    let (here, back) = (images::path_text(&engine.scratch().join("in")), engine.scratch().join("back"));
    engine.gdn(["cp", &here, &format!("{handle}:/tmp/in")]).expect_status(0);
    assert_eq!(owner(init, "/tmp/in"), (root, root));
    engine.gdn(["cp", "--user", "alice", &here, &format!("{handle}:/home/alice/in")]).expect_status(0);
    assert_eq!(owner(init, "/home/alice/in"), (root + 1000, root + 1000));
    engine.gdn(["cp", &format!("{handle}:/home/alice/in"), &images::path_text(&back)]).expect_status(0);
    assert_eq!(fs::read_to_string(&back).unwrap(), "content");

    // A terminal is its user's, and can be opened anew by him.
    let name = Handle::parse(&handle).unwrap();
    let terminal = ProcessSpec {
        tty: Some(WindowSize { columns: 80, rows: 24 }),
        ..as_user("alice", script("stat -c %u:%g $(tty); echo opened > $(tty)"))
    };
    let ran =
        engine.with_client(async |client| collect(client.run(&name, terminal).await.unwrap()).await.unwrap());
    assert_eq!(ran.expect(0).text(), "1000:5\r\nopened\r\n");

    // A file of the host is nobody's in there unless it belongs to the range.
    let said =
        engine.shell(&handle, "cat /shown/theirs; stat -c %u /shown/theirs; touch /shown/x").expect_status(1);
    assert_eq!(said.text(), "readable65534\n");
    chown(&shown, Some(root), Some(root)).unwrap();
    engine.shell(&handle, "touch /shown/mine && test $(stat -c %u /shown/mine) = 0").expect_status(0);
    assert_eq!(fs::metadata(shown.join("mine")).unwrap().uid(), root);

    // A sidecar with an image of its own is in the same user namespace.
    let image = engine.image_with("of-sidecar", |rootfs| {
        fs::write(rootfs.join("only-here"), "").unwrap();
        fs::set_permissions(rootfs.join("only-here"), fs::Permissions::from_mode(0o600)).unwrap();
    });
    let text = "stat -c %u:%g / /only-here /home/alice; readlink /proc/self/ns/user; cat /proc/self/uid_map; \
                echo x > /only-here; touch /made";
    let sidecar = ProcessSpec { image: Some(ImageRef::uri(image)), ..script(text) };
    let said = engine.run(&name, sidecar).expect(0).text();
    let own = fs::read_link(format!("/proc/{init}/ns/user")).unwrap();
    let mut lines = said.lines();
    assert_eq!(lines.by_ref().take(3).collect::<Vec<_>>(), ["0:0", "0:0", "1000:1000"]);
    assert_eq!(lines.next().unwrap(), own.to_str().unwrap());
    assert_eq!(lines.next().unwrap().split_whitespace().nth(1).unwrap(), root.to_string());
    engine.finish();
}

#[test]
fn a_range_outlives_the_server_and_is_handed_out_again_after_its_container() {
    let mut engine = started();
    let (first, second) = (engine.create(&[]), engine.create(&[]));
    let (one, two) = (root_of(&engine, &first), root_of(&engine, &second));
    engine.kill_server();
    engine.start_server(OPTIONS);
    assert_eq!((root_of(&engine, &first), root_of(&engine, &second)), (one, two));
    let third = engine.create(&[]);
    let three = root_of(&engine, &third);
    assert_eq!(three, 100_000 + 2 * EACH);
    engine.shell(&first, "touch /tmp/later").expect_status(0);
    assert_eq!(owner(engine.init_pid(&first), "/tmp/later"), (one, one));

    let spec = ContainerSpec { image: ImageRef::uri(engine.image()), ..ContainerSpec::default() };
    let error = engine.try_create(spec.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(error.message().contains("100000-299999"), "{}", error.message());
    // Who is privileged has no ids of his own, and needs none.
    let privileged = engine.create(&["--privileged"]);
    assert!(engine.inspect(&privileged)["host_ids"].is_null());

    engine.gdn(["destroy", &second]).expect_status(0);
    engine.kill_server();
    engine.start_server(OPTIONS);
    let again = engine.create(&[]);
    assert_eq!(root_of(&engine, &again), two);
    engine.try_create(spec).unwrap_err();
    // Without the pool the containers stay as they are, and new ones share the usual map.
    engine.stop_server();
    engine.start_server(&[]);
    let shared = engine.create(&[]);
    assert!(engine.inspect(&shared)["host_ids"].is_null());
    let map = fs::read_to_string(format!("/proc/{}/uid_map", engine.init_pid(&shared))).unwrap();
    assert!(map.contains("4294967294"), "{map}");
    assert_eq!(root_of(&engine, &first), one);
    // One of before has its own map still, in a sidecar too.
    let sidecar = ProcessSpec {
        image: Some(ImageRef::uri(engine.image())),
        ..script("stat -c %u /bin/busybox; echo > /new")
    };
    let said = engine.run(&Handle::parse(&first).unwrap(), sidecar).expect(0).text();
    assert_eq!(said, "0\n");
    engine.finish();
}

#[test]
fn what_one_container_uses_up_of_its_user_namespaces_others_still_have() {
    let mut engine = Engine::new();
    engine.start_server(&["--uid-range-pool", POOL, "--max-namespaces", "3"]);
    let handles = [0, 1].map(|_| engine.create(&["--seccomp", "unconfined"]));
    let use_up = "for n in 1 2 3; do unshare -U sleep 1000 & done; while unshare -U true; do :; done";
    for handle in &handles {
        // At first there is room, also in the second container when the first has used up its own.
        engine.shell(handle, "unshare -U true").expect_status(0);
        let refused = engine.shell(handle, use_up).expect_status(0);
        assert!(refused.stderr.contains("No space left"), "{}", refused.stderr);
    }
    engine.finish();
}

#[test]
fn a_pool_that_cannot_be_is_refused_at_the_start() {
    let engine = Engine::new();
    for (options, naming) in [
        (&["--uid-range-pool", "0:65536"][..], "65536"),
        (&["--uid-range-pool", "100000"][..], "FIRST:COUNT"),
        (&["--uid-range-pool", "100000:1000"][..], "65536"),
        (&["--uid-range-pool", "100000:100000", "--uid-range-size", "5"][..], "1000"),
        (&["--uid-range-size", "5000"][..], "--uid-range-pool"),
    ] {
        engine.gdn(["server"].iter().chain(options)).expect_error(naming);
    }
}

#[test]
fn runtime_plug_ins_are_told_of_the_range() {
    for runtime in ["runc", "crun"] {
        let mut engine = Engine::new();
        let options = ["--runtime-plugin", runtime, "--uid-range-pool", POOL];
        engine.start_server(&options);
        let (_other, handle) = (engine.create(&[]), engine.create(&[]));
        let (root, init) = (root_of(&engine, &handle), engine.init_pid(&handle));
        assert_eq!(root, 100_000 + EACH, "{runtime}");
        let name = Handle::parse(&handle).unwrap();
        let own = "stat -c %u:%g / /bin/busybox /home/alice; touch /tmp/$(id -u)";
        let expected = "0:0\n0:0\n1000:1000\n";
        assert_eq!(engine.run(&name, script(own)).expect(0).text(), expected, "{runtime}");
        engine.kill_server();
        engine.start_server(&options);
        // A working directory is made for its user.
        let by_alice = ProcessSpec { dir: "/made/for/her".to_owned(), ..as_user("alice", script(own)) };
        assert_eq!(engine.run(&name, by_alice).expect(0).text(), expected, "{runtime}");
        for (path, id) in [("/tmp/0", 0), ("/tmp/1000", 1000), ("/made/for/her", 1000)] {
            assert_eq!(owner(init, path), (root + id, root + id), "{runtime} {path}");
        }
        let sidecar = ProcessSpec { image: Some(ImageRef::uri(engine.image())), ..script(own) };
        assert_eq!(engine.run(&name, sidecar).expect(0).text(), expected, "{runtime}");
        engine.finish();
    }
}
