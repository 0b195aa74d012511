//! `gdn cp`.

use std::fs;
use std::os::unix::fs::symlink;

use engine_tests::{Engine, images};

#[test]
fn files_and_directories_go_in_and_come_out() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let place = engine.scratch().join("copy");
    fs::create_dir_all(place.join("tree/deep")).unwrap();
    fs::write(place.join("tree/deep/leaf"), "leaf").unwrap();
    symlink("deep/leaf", place.join("tree/link")).unwrap();
    fs::write(place.join("file"), "content").unwrap();
    let here = |name: &str| images::path_text(&place.join(name));
    let there = |path: &str| format!("{handle}:{path}");
    let copy = |from: &str, to: &str| engine.gdn(["cp", from, to]).expect_status(0);

    copy(&here("file"), &there("/tmp/renamed"));
    copy(&here("file"), &there("/tmp/"));
    copy(&here("file"), &there("/tmp"));
    copy(&here("tree"), &there("/tmp/"));
    copy(&here("tree"), &there("/tmp/other"));
    let said = engine.shell(
        &handle,
        "cd /tmp; cat renamed file tree/link other/deep/leaf; echo; readlink tree/link; stat -c %u file",
    );
    assert_eq!(said.expect_status(0).text(), "contentcontentleafleaf\ndeep/leaf\n0\n");

    copy(&there("/tmp/renamed"), &here("back"));
    assert_eq!(fs::read_to_string(place.join("back")).unwrap(), "content");
    fs::create_dir(place.join("out")).unwrap();
    copy(&there("/tmp/renamed"), &here("out/"));
    copy(&there("/tmp/other"), &here("out"));
    copy(&there("/tmp/other/"), &here("copied"));
    for path in ["out/renamed", "out/other/deep/leaf", "copied/deep/leaf", "copied/link"] {
        assert!(place.join(path).exists(), "{path} did not come out");
    }
    engine.gdn(["cp", &there("/no/such"), &here("x")]).expect_error("/no/such");
    engine.gdn(["cp", &here("no-such"), &there("/tmp")]).expect_error("no-such");
    engine.gdn(["cp", &there("/tmp"), &there("/root")]).expect_error("both");
    engine.finish();
}

#[test]
fn links_inside_a_container_do_not_lead_to_the_host() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let canary = engine.scratch().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("secret"), "of the host").unwrap();
    let host = images::path_text(&canary);
    let file = images::path_text(&engine.scratch().join("file"));
    fs::write(&file, "of the copy").unwrap();
    let up = "../".repeat(20);
    engine
        .shell(&handle, &format!("cd /tmp; ln -s {host} absolute; ln -s {up}{host} relative; ln -s {host}/secret file; ln -s /proc/1/root{host} magic"))
        .expect_status(0);
    for target in ["absolute/", "relative/", "absolute/secret", "relative/new", "file", "magic/", "magic/x"] {
        // It may fail, or write inside: never on the host.
        engine.gdn(["cp", &file, &format!("{handle}:/tmp/{target}")]);
    }
    assert_eq!(fs::read_to_string(canary.join("secret")).unwrap(), "of the host");
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 1);
    for source in ["absolute/secret", "relative/secret", "file", "magic/secret"] {
        let out = engine.scratch().join("stolen");
        let _ = fs::remove_file(&out);
        engine.gdn(["cp", &format!("{handle}:/tmp/{source}"), &images::path_text(&out)]);
        let stolen = fs::symlink_metadata(&out).is_ok_and(|metadata| metadata.is_file());
        assert!(!stolen || fs::read_to_string(&out).unwrap() != "of the host", "{source} came out");
    }
    engine.finish();
}

#[test]
fn a_hostile_container_cannot_make_a_copy_write_beside_its_target() {
    let engine = Engine::start();
    let handle = engine.create(&[]);
    let out = engine.scratch().join("out");
    let canary = engine.scratch().join("canary");
    fs::create_dir(&canary).unwrap();
    let host = images::path_text(&canary);
    engine
        .shell(
            &handle,
            &format!("mkdir -p /tmp/d/sub; ln -s {host} /tmp/d/a; mkfifo /tmp/d/fifo; touch /tmp/d/sub/x"),
        )
        .expect_status(0);
    let copied = engine.gdn(["cp", &format!("{handle}:/tmp/d"), &images::path_text(&out)]).expect_status(0);
    assert!(copied.stderr.contains("fifo"), "{}", copied.stderr);
    engine.shell(&handle, "rm /tmp/d/a; mkdir /tmp/d/a; touch /tmp/d/a/written").expect_status(0);
    // A link that the first copy made stands where the second has a directory.
    engine.gdn(["cp", &format!("{handle}:/tmp/d"), &images::path_text(&out)]);
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
    engine.finish();
}
