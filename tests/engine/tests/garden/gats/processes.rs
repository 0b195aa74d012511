//! Processes: their streams, signals and statuses, terminals, users and directories.

use engine_tests::{inside, until};
use serde_json::json;

use super::{Bed, next_line, on_terminal, program, script, with};

/// Conformance: G43-47, G51-54, G156
#[test]
fn streams_and_signals_need_neither_rights_nor_programs_of_the_image() {
    let bed = Bed::start();
    let handle = bed.create(json!({}));
    let told = bed.run(&handle, with(script("id -u; echo error >&2; exit 42"), json!({ "user": "root" })));
    let told = told.expect(42);
    assert_eq!((&*told.text(), &*told.errors()), ("0\n", "error\n"));
    for user in ["alice", "root", "4321"] {
        let text = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr";
        let mut process = bed.garden.run(&handle, &with(script(text), json!({ "user": user }))).unwrap();
        process.input("in\n");
        process.close_input();
        let told = process.finish().expect(0);
        assert_eq!((&*told.text(), &*told.errors()), ("in\nout\n", "err\n"), "{user}");

        let trap = "trap 'echo caught; exit 42' TERM; echo ready; while :; do sleep 0.02; done";
        let (mut process, mut output) = bed.ready(&handle, with(script(trap), json!({ "user": user })));
        process.terminate();
        next_line(&mut output, "caught");
        process.finish().expect(42);
    }
    let image = bed.engine.image_with("helpless", |rootfs| {
        std::fs::rename(rootfs.join("bin/busybox"), rootfs.join("sleep")).unwrap();
        std::fs::remove_dir_all(rootfs.join("bin")).unwrap();
    });
    let helpless = bed.create(json!({ "image": { "uri": image } }));
    for (signal, status) in [(1, 137), (0, 143)] {
        // Nobody waits for the program to have begun.
        let mut process = bed.garden.run(&helpless, &program(&["/sleep", "1000"])).unwrap();
        process.say(json!({ "signal": signal }));
        process.finish().expect(status);
    }
    bed.finish();
}

/// Conformance: G48-50, G55-56, G58-60, G162
#[test]
fn however_many_follow_and_however_short_it_is_nothing_of_a_process_is_lost() {
    let bed = Bed::start();
    let handle = bed.create(json!({}));
    let garden = &bed.garden;

    let mut first = garden.run(&handle, &script("read line; exit 12")).unwrap();
    let followers: Vec<_> = (0..6).map(|_| garden.attach(&handle, &first.process).unwrap()).collect();
    let process = first.process.clone();
    first.input("go\n");
    for told in followers {
        told.finish().expect(12);
    }
    first.finish().expect(12);
    for _ in 0..3 {
        garden.attach(&handle, &process).unwrap().finish().expect(12);
    }

    let text = "read line; i=0; while [ $i -lt 2000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done";
    let mut ran = garden.run(&handle, &script(text)).unwrap();
    let followed = garden.attach(&handle, &ran.process).unwrap();
    ran.input("go\n");
    let lines = |name: &str| (0..2000).map(|i| format!("{name}{i}\n")).collect::<String>();
    for told in [ran.finish().expect(0), followed.finish().expect(0)] {
        assert!(told.text() == lines("out") && told.errors() == lines("err"), "{} bytes", told.stdout.len());
    }

    for _ in 0..20 {
        let mut killed = garden.run_unheard(&handle, &program(&["sleep", "1000"])).unwrap();
        killed.kill();
        killed.finish().expect(137);
    }
    assert_eq!(inside::processes_beside(bed.engine.init_pid(&handle)), Vec::<u32>::new());

    for n in 0..100 {
        let told = bed.run(&handle, script(&format!("echo out{n}; echo err{n} >&2"))).expect(0);
        assert_eq!((told.text(), told.errors()), (format!("out{n}\n"), format!("err{n}\n")));
    }

    let mut cat = garden.run_unheard(&handle, &program(&["cat"])).unwrap();
    let mut output = cat.open(garden, &handle, "stdout");
    cat.input("hello\n");
    next_line(&mut output, "hello");
    cat.close_input();
    cat.finish().expect(0);
    for _ in 0..10 {
        let mut deaf = garden.run(&handle, &script("sleep 0.05; exit 3")).unwrap();
        deaf.input(&"x".repeat(1024));
        deaf.finish().expect(3);
    }

    // The child ends while nobody waits for it: it stays a zombie as long as its parent lives.
    let mut parent = garden.run(&handle, &script("sh -c 'exit 3' & exec sh -c 'cat; exit 4'")).unwrap();
    parent.close_input();
    parent.finish().expect(4);
    until("no zombie to be left", || inside::processes_beside(bed.engine.init_pid(&handle)).is_empty());
    bed.finish();
}

/// Conformance: G57, G61-65
#[test]
fn terminals_have_a_size_turn_line_ends_and_lose_nothing() {
    let bed = Bed::start();
    let handle = bed.create(json!({}));
    let expected: String = (1..=10_000).map(|n| format!("{n}\r\n")).collect();
    for round in 0..100 {
        let told = bed.run(&handle, on_terminal(program(&["seq", "10000"]))).expect(0);
        assert!(told.text() == expected, "round {round}: {} bytes", told.stdout.len());
    }
    let size = program(&["stty", "size"]);
    assert_eq!(bed.run(&handle, on_terminal(size.clone())).expect(0).text(), "24 80\r\n");
    let given = json!({ "tty": { "window_size": { "columns": 99, "rows": 33 } } });
    assert_eq!(bed.run(&handle, with(size, given)).expect(0).text(), "33 99\r\n");
    let told = bed.run(&handle, on_terminal(script("echo out; echo err >&2"))).expect(0);
    assert_eq!((&*told.text(), &*told.errors()), ("out\r\nerr\r\n", ""));

    let watch = "trap 'echo new $(stty size)' WINCH; echo ready; while :; do sleep 0.02; done";
    let (mut watching, mut output) = bed.ready(&handle, on_terminal(script(watch)));
    watching.resize(123, 45);
    next_line(&mut output, "new 45 123");
    watching.kill();
    watching.finish().expect(137);

    let mut first =
        bed.garden.run(&handle, &on_terminal(script("stty -echo; read line; seq 1000; exit 6"))).unwrap();
    let others: Vec<_> = (0..2).map(|_| bed.garden.attach(&handle, &first.process).unwrap()).collect();
    first.input("go\n");
    let expected: String = (1..=1000).map(|n| format!("{n}\r\n")).collect();
    for conversation in others.into_iter().chain([first]) {
        let text = conversation.finish().expect(6).text();
        assert!(text.ends_with(&expected), "{text:?}");
    }
    bed.finish();
}

/// Conformance: G157-161, G163-165
#[test]
fn a_process_has_the_name_the_variables_and_the_user_that_were_asked_for() {
    let bed = Bed::start();
    let image = bed.engine.image_with("users", |rootfs| {
        std::fs::write(rootfs.join("etc/group"), "root:x:0:\nalice:x:1000:\nstaff:x:50:\n").unwrap();
    });
    let handle =
        bed.create(json!({ "image": { "uri": image }, "env": ["OF_CONTAINER=1", "BOTH=container"] }));
    let refused = |spec: serde_json::Value| bed.garden.run(&handle, &spec).unwrap_err().expect_error(500, "");

    let mounts = json!({ "bind_mounts": [{ "src_path": "/etc", "dst_path": "/mnt" }] });
    let text = "Running a process with bind mounts and no image provided is not allowed";
    assert_eq!(refused(with(program(&["true"]), mounts)), text);

    let named = |words: &[&str]| with(program(words), json!({ "id": "mine" }));
    let mut mine = bed.garden.run(&handle, &named(&["cat"])).unwrap();
    assert_eq!(mine.process, "mine");
    let message = refused(named(&["true"]));
    assert!(message.contains("already in use") && message.contains("mine"), "{message}");
    mine.close_input();
    mine.finish().expect(0);

    let env = json!({ "env": ["TEST=hello", "BOTH=process", "FRUIT=banana"] });
    let said = bed.run(&handle, with(program(&["env"]), env)).expect(0).text();
    let of = |names: &[&str]| -> Vec<String> {
        let wanted = |line: &&str| line.split('=').next().is_some_and(|name| names.contains(&name));
        said.lines().filter(wanted).map(str::to_owned).collect()
    };
    assert_eq!(of(&["OF_CONTAINER", "TEST", "FRUIT"]), ["OF_CONTAINER=1", "TEST=hello", "FRUIT=banana"]);
    assert_eq!(of(&["BOTH"]), ["BOTH=process"]);

    for (user, ids) in [
        ("", "0 0"),
        ("root", "0 0"),
        ("alice", "1000 1000"),
        ("1000", "1000 1000"),
        ("1001:1002", "1001 1002"),
        ("alice:staff", "1000 50"),
        ("1234:staff", "1234 50"),
    ] {
        assert_eq!(bed.said(&handle, user, "echo $(id -u) $(id -g)").trim(), ids, "{user:?}");
    }
    bed.finish();
}

/// Conformance: G66, G166-171
#[test]
fn the_working_directory_is_made_for_the_user_or_is_home() {
    let bed = Bed::start();
    let handle = bed.create(json!({}));
    let run = |user: &str, dir: &str, text: &str| {
        bed.run(&handle, with(script(text), json!({ "user": user, "dir": dir })))
    };
    let about = "pwd; stat -c '%u:%g %a' . ; touch file && echo written";
    for (user, dir, told) in [
        ("", "/tmp", "/tmp\n0:0 1777\nwritten\n"),
        ("", "/made/by/us", "/made/by/us\n0:0 755\nwritten\n"),
        ("alice", "/only/for/alice", "/only/for/alice\n1000:1000 755\nwritten\n"),
        ("alice", "/etc/new", "/etc/new\n1000:1000 755\nwritten\n"),
        ("alice", "", "/home/alice\n1000:1000 755\nwritten\n"),
    ] {
        assert_eq!(run(user, dir, about).expect(0).text(), told, "{user:?} in {dir:?}");
    }
    let denied = run("alice", "/etc", "pwd; touch x").expect(1);
    assert_eq!(denied.text(), "/etc\n");
    assert!(denied.errors().contains("Permission denied"), "{}", denied.errors());
    bed.finish();
}
