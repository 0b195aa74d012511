//! Names, paths and numbers that mean harm (rows A1.08 and A1.09 of the campaigns): taken as what they are, or refused by a typed
//! error, and never a path on the host.
//!
//! Each case has a line of its own; all of them are played before the test fails.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use engine_tests::Engine;
use engine_tests::garden::{Answer, Garden};
use serde_json::{Value, json};

/// How each case went.
#[derive(Default)]
struct Verdicts {
    cases: usize,
    wrong: Vec<String>,
}

impl Verdicts {
    /// Notes a case, and that the engine answers all the same.
    fn note(&mut self, garden: &Garden, case: &str, held: bool, told: &str) {
        let held = held && garden.get("/ping").status == 200;
        println!("{} {case}", if held { "ok   " } else { "WRONG" });
        self.cases += 1;
        if !held {
            self.wrong.push(format!("{case}: {}", &told[..told.floor_char_boundary(300)]));
        }
    }

    #[track_caller]
    fn expect_all(&self, cases: usize) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert!(self.cases >= cases, "{} cases", self.cases);
    }
}

/// Every path below a directory, but not below a container's own files.
fn paths(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && !path.ends_with("volumes")
            && !path.ends_with("images")
        {
            found.extend(paths(&path));
        }
        found.insert(path);
    }
    found
}

/// A path of a request with any text in it.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn handles_are_names_and_no_paths() {
    let engine = Engine::start();
    let garden = engine.garden();
    let mut verdicts = Verdicts::default();
    let long = |length: usize| "h".repeat(length);
    let (longest, too_long, far_too_long) = (long(255), long(256), long(4096));
    let (fits, does_not) = (long(49), long(50));
    for handle in [
        "a",
        "Z",
        "0",
        &fits,
        &does_not,
        &long(63),
        &long(64),
        &longest,
        "a.",
        "a..b",
        "a:b",
        "a@b",
        "a_b",
        "a-b",
        "check-1f6a",
        "executor-healthcheck-7c1e",
        "con",
        "nul",
        "lost+found".trim_end_matches("+found"),
        "Case",
        "case",
        "bulk_infos",
        "null",
        "0x1",
        "garden-init",
    ] {
        let answer = garden.post("/containers", &engine.busybox(json!({ "handle": handle })));
        let made = answer.status == 200 && answer.json()["Handle"] == handle;
        let told = answer.text().to_owned();
        let path = format!("/containers/{}/info", encoded(handle));
        let found = made && garden.get(&path).status == 200;
        let named = made
            && garden.shell(handle, "hostname").text().trim() == &handle[handle.len().saturating_sub(49)..];
        // Names of files say nothing of a client's words.
        let on_disk = paths(&engine.root()).into_iter().find(|path| {
            handle.len() > 3 && path.file_name().is_some_and(|name| name.to_string_lossy().contains(handle))
        });
        let held = found && named && on_disk.is_none();
        verdicts.note(&garden, &format!("taken: {:.40}", handle), held, &format!("{told} {on_disk:?}"));
        if made && handle != "Case" {
            garden.destroy(handle);
        }
    }
    // The twin is another.
    garden.destroy("Case");
    for handle in [
        ".",
        "..",
        "...",
        ".hidden",
        "/",
        "a/b",
        "../x",
        "/etc/passwd",
        "a/../b",
        "\\",
        "a\\b",
        "\0",
        "a\0",
        "a\n",
        "\n",
        "a\r\nX: y",
        "a b",
        " ",
        "a ",
        "\t",
        "\u{e9}",
        "\u{4f60}\u{597d}",
        "\u{202e}gpj",
        "\u{feff}a",
        "%",
        "%2e%2e",
        "-rf",
        "--help",
        "-",
        "_a",
        ":a",
        "@a",
        "$(id)",
        "`id`",
        "a;b",
        "a|b",
        "a&b",
        "a>b",
        "*",
        "?",
        "~",
        "a'b",
        "a\"b",
        "{a}",
        &too_long,
        &far_too_long,
    ] {
        let answer = garden.post("/containers", &engine.busybox(json!({ "handle": handle })));
        let refused = answer.status == 500 && answer.json()["Type"] == "";
        let path = format!("/containers/{}", encoded(handle));
        let unknown =
            |answer: Answer| answer.status == 404 && answer.json()["Type"] == "ContainerNotFoundError";
        let strange = unknown(garden.get(&format!("{path}/info"))) && unknown(garden.delete(&path));
        verdicts.note(
            &garden,
            &format!("refused: {:.40}", handle.escape_debug().to_string()),
            refused && strange,
            answer.text(),
        );
    }
    // Without one there is a name all the same, and it is not that of a call.
    let empty = garden.create(&engine.busybox(json!({ "handle": "" })));
    verdicts.note(&garden, "none", empty.len() == 36, &empty);
    garden.destroy(&empty);
    for reserved in ["bulk_info", "bulk_metrics"] {
        let made = garden.post("/containers", &engine.busybox(json!({ "handle": reserved }))).status == 200;
        let gone = !made || garden.delete(&format!("/containers/{reserved}")).status == 200;
        verdicts.note(&garden, reserved, gone, "it cannot be destroyed");
    }
    assert_eq!(garden.get("/containers?garden.state=all").text(), "{\"Handles\":[]}\n");
    verdicts.expect_all(70);
    engine.finish();
}

/// What comes of a create or a run.
#[derive(Clone, Copy)]
enum Outcome {
    Done,
    /// An error that says this.
    Refused(&'static str),
}

use Outcome::{Done, Refused};

/// Conformance: Q339
#[test]
fn creates_take_what_they_can_do_and_refuse_the_rest() {
    let mut engine = Engine::new();
    engine.start_server(&["--disable-privileged-containers"]);
    let garden = engine.garden();
    let mut verdicts = Verdicts::default();
    let file = engine.scratch().join("file");
    fs::write(&file, "content").unwrap();
    fs::create_dir(engine.scratch().join("dir")).unwrap();
    let file = file.to_str().unwrap();
    let dir = engine.scratch().join("dir");
    let dir = dir.to_str().unwrap();
    let long = format!("/{}", "p/".repeat(4000));
    let bind =
        |source: &str, target: &str| json!({ "bind_mounts": [{ "src_path": source, "dst_path": target }] });
    let limits = |name: &str, member: &str, value: Value| json!({ "limits": { name: { member: value } } });
    let rule = |rule: Value| json!({ "netout_rules": [rule] });
    let cases: Vec<(&str, Value, Outcome)> = vec![
        ("a file mounted", bind(file, "/mnt/file"), Done),
        ("a directory mounted", bind(dir, "/mnt/dir"), Done),
        ("a target with ways up", bind(dir, "/../../../mnt/../mnt/up"), Refused("contains ..")),
        ("a target that is a link out", bind(dir, "/proc/self/root/mnt"), Refused("")),
        ("the root for a target", bind(dir, "/"), Refused("")),
        ("no target", bind(dir, ""), Refused("")),
        ("a relative target", bind(dir, "mnt"), Refused("")),
        ("no source", bind("", "/mnt"), Refused("")),
        ("a relative source", bind("etc", "/mnt"), Refused("")),
        ("a source that is not there", bind("/not/there", "/mnt"), Refused("/not/there")),
        ("a NUL in a source", bind("/etc\0", "/mnt"), Refused("")),
        ("a NUL in a target", bind(dir, "/mnt\0"), Refused("")),
        ("a path too long", bind(&long, "/mnt"), Refused("")),
        ("a target too long", bind(dir, &long), Refused("")),
        (
            "an unknown mode",
            json!({ "bind_mounts": [{ "src_path": dir, "dst_path": "/mnt", "mode": 2 }] }),
            Refused("mode"),
        ),
        (
            "an unknown origin",
            json!({ "bind_mounts": [{ "src_path": dir, "dst_path": "/mnt", "origin": 2 }] }),
            Refused("origin"),
        ),
        ("an image that is not there", json!({ "image": { "uri": "oci:///not/there:v1" } }), Refused("")),
        ("an image by a relative path", json!({ "image": { "uri": "not/there.tar" } }), Refused("")),
        ("an image that is a file of the host", json!({ "image": { "uri": "/etc/passwd" } }), Refused("")),
        ("a device for an image", json!({ "image": { "uri": "/dev/zero" } }), Refused("")),
        ("a scheme that is none", json!({ "image": { "uri": "gopher://x/y" } }), Refused("")),
        ("a root that is not there", json!({ "image": { "uri": "raw:///not/there" } }), Refused("")),
        ("a relative root", json!({ "image": { "uri": "raw://x/../y" } }), Refused("")),
        ("a NUL in an image", json!({ "image": { "uri": "/tmp/x\0y" } }), Refused("")),
        ("two images", json!({ "rootfs": "/x" }), Refused("Cannot provide both Image.URI and RootFSPath")),
        ("privileged", json!({ "privileged": true }), Refused("privileged container creation is disabled")),
        ("a variable without value", json!({ "env": ["NOVALUE"] }), Refused("NOVALUE")),
        ("a variable without name", json!({ "env": ["=x"] }), Refused("")),
        ("a variable with a NUL", json!({ "env": ["A=\0"] }), Refused("")),
        ("a variable with an empty value", json!({ "env": ["A="] }), Done),
        (
            "a thousand variables",
            json!({ "env": (0..1000).map(|n| format!("V{n}={n}")).collect::<Vec<_>>() }),
            Done,
        ),
        ("no memory limit", limits("memory_limits", "limit_in_bytes", json!(0)), Done),
        ("all the memory there can be", limits("memory_limits", "limit_in_bytes", json!(u64::MAX)), Done),
        (
            "memory below zero",
            limits("memory_limits", "limit_in_bytes", json!(-1)),
            Refused("limit_in_bytes"),
        ),
        ("no limit of tasks", limits("pid_limits", "max", json!(0)), Done),
        ("all the tasks there can be", limits("pid_limits", "max", json!(u64::MAX)), Done),
        ("tasks below zero", limits("pid_limits", "max", json!(-1)), Refused("max")),
        ("no shares", limits("cpu_limits", "weight", json!(0)), Done),
        ("fewer shares than the kernel has", limits("cpu_limits", "weight", json!(1)), Done),
        ("the fewest shares", limits("cpu_limits", "weight", json!(2)), Done),
        ("the most shares", limits("cpu_limits", "weight", json!(262_144)), Done),
        ("shares below zero", limits("cpu_limits", "weight", json!(-1)), Refused("weight")),
        ("a scope that is none", limits("disk_limits", "scope", json!(2)), Refused("scope")),
        ("a disk below zero", limits("disk_limits", "byte_hard", json!(-1)), Refused("byte_hard")),
        ("no disk limit", limits("disk_limits", "byte_hard", json!(0)), Done),
        ("inodes that are not limited", limits("disk_limits", "inode_hard", json!(7)), Done),
        ("bandwidth that is not limited", limits("bandwidth_limits", "rate", json!(1)), Done),
        ("a grace time below zero", json!({ "grace_time": -1 }), Refused("grace_time")),
        ("the longest grace time", json!({ "grace_time": u64::MAX }), Done),
        ("a property with a colon", json!({ "properties": { "a:b": "c" } }), Done),
        ("a property without name", json!({ "properties": { "": "c" } }), Refused("")),
        ("a property of the engine's", json!({ "properties": { "garden.state": "x" } }), Done),
        ("a property with a NUL in its name", json!({ "properties": { "a\0": "c" } }), Refused("")),
        ("a property with a long name", json!({ "properties": { "k".repeat(1025): "c" } }), Refused("")),
        ("a network that is none", json!({ "network": "10.0.0.300" }), Refused("")),
        ("a command for a network", json!({ "network": "x; rm -rf /" }), Refused("")),
        ("a rule of a protocol that is none", rule(json!({ "protocol": 5 })), Refused("invalid protocol: 5")),
        ("ports of all protocols", rule(json!({ "ports": [{ "start": 1, "end": 2 }] })), Refused("")),
        ("ports of ICMP", rule(json!({ "protocol": 3, "ports": [{ "start": 1, "end": 2 }] })), Refused("")),
        (
            "an address that is none",
            rule(json!({ "networks": [{ "start": "localhost" }] })),
            Refused("localhost"),
        ),
        (
            "a port beyond all",
            rule(json!({ "protocol": 1, "ports": [{ "start": 1, "end": 65536 }] })),
            Refused(""),
        ),
    ];
    for (case, more, outcome) in cases {
        let answer = garden.post("/containers", &engine.busybox(more));
        let told = answer.text().to_owned();
        let held = match outcome {
            Done => answer.status == 200,
            Refused(says) => answer.status == 500 && told.contains(says) && !told.contains("panicked"),
        };
        verdicts.note(&garden, case, held, &told);
        if answer.status == 200 {
            let handle = answer.json()["Handle"].as_str().unwrap().to_owned();
            let listed = garden.get("/containers").expect(200).json()["Handles"].clone();
            assert_eq!(listed, json!([handle]), "{case}");
            garden.destroy(&handle);
        }
    }
    assert_eq!(garden.get("/containers?garden.state=all").text(), "{\"Handles\":[]}\n");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "nothing was written through a mount");
    verdicts.expect_all(55);
    engine.finish();
}

#[test]
fn runs_take_what_they_can_do_and_refuse_the_rest() {
    let engine = Engine::start();
    let garden = engine.garden();
    let mut verdicts = Verdicts::default();
    let handle = garden.create(&engine.busybox(json!({})));
    garden
        .shell(
            &handle,
            "ln -s / /tmp/root; ln -s /proc/1/root /tmp/out; mkdir -m 700 /closed; echo > /not-a-program",
        )
        .expect(0);
    let words = |length: usize| json!({ "args": ["x".repeat(length)] });
    let rlimit = |name: &str, value: Value| json!({ "rlimits": { name: value } });
    let cases: Vec<(&str, Value, Outcome)> = vec![
        ("nothing more", json!({}), Done),
        ("no program", json!({ "path": "" }), Refused("executable file not found in $PATH")),
        ("a program that is not there", json!({ "path": "/nope" }), Refused("ExecutableNotFoundError")),
        ("a program not in PATH", json!({ "path": "nope" }), Refused("executable file not found in $PATH")),
        ("a program by ways up", json!({ "path": "/../../bin/true" }), Done),
        ("a program that may not be run", json!({ "path": "/not-a-program" }), Refused("")),
        ("a directory for a program", json!({ "path": "/tmp" }), Refused("")),
        ("a NUL in a program", json!({ "path": "/bin/true\0" }), Refused("")),
        ("a program with a path too long", json!({ "path": format!("/{}", "p/".repeat(4000)) }), Refused("")),
        ("an argument of 100 KiB", words(100 << 10), Done),
        ("an argument of 2 MiB", words(2 << 20), Refused("")),
        ("a NUL in an argument", json!({ "args": ["a\0b"] }), Refused("")),
        ("a thousand arguments", json!({ "args": vec!["x"; 1000] }), Done),
        ("a variable without value", json!({ "env": ["A"] }), Refused("")),
        ("a NUL in a variable", json!({ "env": ["A=\0"] }), Refused("")),
        ("a variable that loads code", json!({ "env": ["LD_PRELOAD=/tmp/x"] }), Done),
        ("a user by name", json!({ "user": "alice" }), Done),
        (
            "a user that is not there",
            json!({ "user": "bob" }),
            Refused("unable to find user bob: no matching entries in passwd file"),
        ),
        ("a user with a NUL", json!({ "user": "al\0ice" }), Refused("")),
        ("a user with a line feed", json!({ "user": "alice\nroot" }), Refused("")),
        ("a user of many colons", json!({ "user": "1:2:3" }), Refused("")),
        ("a user below zero", json!({ "user": "-1" }), Refused("")),
        ("the largest user", json!({ "user": "4294967293" }), Done),
        ("a user that is not mapped", json!({ "user": "4294967294" }), Refused("")),
        ("no user at all", json!({ "user": "4294967295" }), Refused("")),
        ("a user beyond all", json!({ "user": "4294967296" }), Refused("")),
        ("a group that is not there", json!({ "user": "alice:nope" }), Refused("")),
        ("no group", json!({ "user": "alice:" }), Refused("")),
        ("a directory by ways up", json!({ "dir": "/../../tmp" }), Done),
        ("a directory behind a link", json!({ "dir": "/tmp/root/tmp" }), Done),
        ("a directory in another's root", json!({ "dir": "/tmp/out/tmp" }), Done),
        ("a directory that is a file", json!({ "dir": "/etc/passwd" }), Refused("")),
        ("a directory below a file", json!({ "dir": "/etc/passwd/x" }), Refused("")),
        ("a NUL in a directory", json!({ "dir": "/tmp\0" }), Refused("")),
        (
            "a directory with a path too long",
            json!({ "dir": format!("/{}", "p/".repeat(4000)) }),
            Refused(""),
        ),
        ("a directory that is closed", json!({ "dir": "/closed", "user": "alice" }), Done),
        ("a process id with a slash", json!({ "id": "a/b" }), Refused("")),
        ("a process id with ways up", json!({ "id": ".." }), Refused("")),
        ("a process id with a NUL", json!({ "id": "a\0" }), Refused("")),
        ("a process id too long", json!({ "id": "p".repeat(5000) }), Refused("")),
        ("no open files", rlimit("nofile", json!(0)), Done),
        ("few open files", rlimit("nofile", json!(16)), Done),
        ("open files below zero", rlimit("nofile", json!(-1)), Refused("nofile")),
        ("all the memory that can be locked", rlimit("memlock", json!(u64::MAX)), Done),
        ("no core", rlimit("core", json!(0)), Done),
        ("no processes", rlimit("nproc", json!(0)), Refused("exec /bin/true")),
        ("a limit that is text", rlimit("nofile", json!("many")), Refused("nofile")),
        ("a limit that nobody has", rlimit("other", json!(1)), Done),
        (
            "a mount without image",
            json!({ "bind_mounts": [{ "src_path": "/etc", "dst_path": "/mnt" }] }),
            Refused("Running a process with bind mounts and no image provided is not allowed"),
        ),
        ("an image of its own", json!({ "image": { "uri": engine.image() } }), Done),
        ("an image that is not there", json!({ "image": { "uri": "oci:///not/there:v1" } }), Refused("")),
        ("an image by a relative path", json!({ "image": { "uri": "../x" } }), Refused("")),
        ("credentials without image", json!({ "image": { "username": "hunter2" } }), Refused("")),
        (
            "own limits without image",
            json!({ "limits": { "memory_limits": { "limit_in_bytes": 1 << 25 } } }),
            Refused(""),
        ),
        (
            "own memory below zero",
            json!({ "image": { "uri": engine.image() }, "limits": { "memory_limits": { "limit_in_bytes": -1 } } }),
            Refused("limit_in_bytes"),
        ),
        (
            "a sidecar that mounts what is not there",
            json!({ "image": { "uri": engine.image() }, "bind_mounts": [{ "src_path": "/not/there", "dst_path": "/mnt" }] }),
            Refused("/not/there"),
        ),
        ("a window of no size", json!({ "tty": { "window_size": { "columns": 0, "rows": 0 } } }), Done),
        (
            "a window of the largest size",
            json!({ "tty": { "window_size": { "columns": 65535, "rows": 65535 } } }),
            Done,
        ),
        (
            "a window beyond all",
            json!({ "tty": { "window_size": { "columns": 65536 } } }),
            Refused("columns"),
        ),
    ];
    for (case, more, outcome) in cases {
        let mut spec = json!({ "path": "/bin/true" });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (held, told) = match (garden.run(&handle, &spec), outcome) {
            (Ok(process), Done) => {
                let ended = process.finish();
                (ended.status == Ok(0), format!("{ended:?}"))
            }
            (Ok(process), Refused(_)) => (false, format!("{:?}", process.finish())),
            (Err(answer), outcome) => {
                let told = answer.text().to_owned();
                let says = match outcome {
                    Done => "\0",
                    Refused(says) => says,
                };
                (answer.status == 500 && told.contains(says) && !told.contains("panicked"), told)
            }
        };
        verdicts.note(&garden, case, held && !told.contains("hunter2"), &told);
    }
    verdicts.expect_all(55);
    engine.finish();
}
