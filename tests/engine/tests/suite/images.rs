//! Images of every form.

use std::path::Path;
use std::process::Stdio;

use engine_tests::{Engine, Gdn, images, until};

#[test]
fn run_hello_reports_from_inside_and_leaves_nothing() {
    let engine = Engine::new();
    let hello = engine.gdn(["run", "hello"]).expect_status(0);
    for word in ["Hello from inside a container", "garden-init", "a filter is loaded"] {
        assert!(hello.text().contains(word), "{word:?} not in: {}", hello.text());
    }
    engine.expect_nothing_left();
    assert_eq!(engine.gdn(["run", "hello"]).expect_status(0).stderr, "");
    engine.expect_nothing_left();
}

#[test]
fn a_tar_an_oci_layout_and_a_directory_run_alike() {
    let engine = Engine::start();
    for image in images::every_form(engine.scratch()) {
        let script = "id; cat /proc/1/comm; exit 42";
        let ran = engine.gdn(["run", "--rm", "--image", &image, "--", "sh", "-c", script]).expect_status(42);
        let lines: Vec<_> = ran.text().lines().map(str::to_owned).collect();
        assert!(lines[0].starts_with("uid=0(root) gid=0(root)"), "{image}: {lines:?}");
        assert_eq!(lines[1], "garden-init", "{image}");
    }
    engine.finish();
}

#[test]
fn an_oci_image_brings_its_command_and_its_environment() {
    let engine = Engine::start();
    let ran = engine.gdn(["run", engine.image()]).expect_status(0);
    assert_eq!(ran.text(), "the command of the image\n");
    let ran = engine.gdn(["run", engine.image(), "--", "sh", "-c", "echo $FROM_IMAGE"]).expect_status(0);
    assert_eq!(ran.text(), "yes\n");
    engine.finish();
}

#[test]
fn a_directory_is_the_root_itself_and_stays_when_the_container_goes() {
    let engine = Engine::start();
    let rootfs = engine.scratch().join("own");
    images::directory(&rootfs);
    let image = format!("raw://{}", rootfs.display());
    let seen = |path: &Path| std::fs::read_to_string(path).unwrap();
    engine
        .gdn(["run", "--image", &image, "--privileged", "--", "sh", "-c", "echo written > /tmp/x"])
        .expect_status(0);
    assert_eq!(seen(&rootfs.join("tmp/x")), "written\n");
    engine.finish();
}

#[test]
fn containers_of_one_image_do_not_see_each_others_files() {
    let engine = Engine::start();
    let (one, other) = (engine.create(&[]), engine.create(&["--privileged"]));
    engine.shell(&one, "echo mine > /etc/passwd; rm /bin/ls").expect_status(0);
    let seen = engine.shell(&other, "ls /bin/ls && head -n 1 /etc/passwd").expect_status(0);
    assert_eq!(seen.text(), "/bin/ls\nroot:x:0:0:root:/root:/bin/sh\n");
    engine.finish();
}

#[test]
fn runs_at_once_without_a_server_share_one_engine_and_leave_nothing() {
    let engine = Engine::new();
    let run = |number: usize| {
        let script = format!("echo {number}; exit {number}");
        Gdn::start(&engine.root(), ["run", engine.image(), "--", "sh", "-c", &script])
    };
    let runs: Vec<_> = (0..6).map(run).collect();
    for (number, run) in runs.into_iter().enumerate() {
        let ran = run.finish().expect_status(i32::try_from(number).unwrap());
        assert_eq!(ran.text(), format!("{number}\n"));
    }
    engine.expect_nothing_left();
}

/// The engine of a command stays until the last of its clients has gone, however long its own command is over.
#[test]
fn an_engine_of_a_command_outlives_the_command_for_its_clients() {
    let engine = Engine::new();
    let run = |script: &str| {
        let line = ["run", "-i", engine.image(), "--", "sh", "-c", script];
        Gdn::start_with_input(&engine.root(), line, Stdio::piped())
    };
    let mut first = run("read line");
    until("the first to be the engine", || engine.gdn(["ping"]).status == 0);
    let mut second = run("echo second; read line; echo over; exit 7");
    until("both to have containers", || engine.handles().len() == 2);
    drop(first.take_stdin());
    until("the first container to be gone", || engine.handles().len() == 1);
    // Looking for its clients takes an engine a moment.
    for _ in 0..20 {
        assert_eq!(engine.gdn(["list"]).status, 0);
        assert!(first.runs() && second.runs());
    }
    drop(second.take_stdin());
    assert_eq!(second.finish().expect_status(7).text(), "second\nover\n");
    first.finish().expect_status(1);
    engine.expect_nothing_left();
}
