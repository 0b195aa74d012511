//! Tars that go in and come out.

use std::io::Cursor;

use engine_tests::session::{as_user, script};
use engine_tests::tars::{self, CAPABILITY, append_capable};
use engine_tests::{Engine, images, inside};
use gdn_types::{ContainerSpec, ErrorKind, Handle, ImageRef, Result, StreamInSpec, StreamOutSpec};

fn stream_in(engine: &Engine, handle: &Handle, user: &str, path: &str, tar: Vec<u8>) -> Result<()> {
    let spec = StreamInSpec { path: path.into(), user: user.into() };
    engine.with_client(async |client| client.stream_in(handle, spec, Cursor::new(tar)).await)
}

/// Names and contents of what comes out.
fn stream_out(engine: &Engine, handle: &Handle, user: &str, path: &str) -> Vec<(String, String)> {
    let spec = StreamOutSpec { path: path.into(), user: user.into() };
    let mut bytes = Vec::new();
    engine.with_client(async |client| {
        client.stream_out(handle, spec).await.unwrap().copy_to(&mut bytes).await.unwrap();
    });
    tars::entries(bytes)
}

/// Conformance: G71
#[test]
fn extended_attributes_survive() {
    let engine = Engine::start();
    let image = engine.scratch().join("capable.tar");
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", engine.scratch().join("busybox")).unwrap();
    append_capable(&mut builder);
    std::fs::write(&image, builder.into_inner().unwrap()).unwrap();
    for privileged in [false, true] {
        let image = ImageRef::uri(images::path_text(&image));
        let handle = engine.create_from(ContainerSpec { image, privileged, ..ContainerSpec::default() });
        let mut builder = tar::Builder::new(Vec::new());
        append_capable(&mut builder);
        stream_in(&engine, &handle, "", "/tmp", builder.into_inner().unwrap()).unwrap();
        let init = engine.init_pid(handle.as_str());
        let seen = |path: &str| {
            let mut value = vec![0; 64];
            let read =
                rustix::fs::getxattr(inside::path(init, path), "security.capability", value.as_mut_slice());
            value.truncate(read.unwrap_or_else(|error| panic!("{path} privileged {privileged}: {error}")));
            value
        };
        for path in ["/tmp/capable", "/capable"] {
            let value = seen(path);
            // The first word is the version, which a user namespace turns into 3, and a flag; the rest are the sets.
            assert_eq!(value[4..20], CAPABILITY[4..], "{path} privileged {privileged}");
        }
    }
    engine.finish();
}

/// Conformance: G72-74
#[test]
fn files_belong_to_the_user_asked_for() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    for (user, path, owner) in [
        ("alice", "/home/alice/in", "1000:1000"),
        ("root", "/root/in", "0:0"),
        ("", "/tmp/in", "0:0"),
        ("", "/", "0:0"),
        ("alice", "/tmp", "1000:1000"),
    ] {
        stream_in(&engine, &handle, user, path, tars::of_file("file", b"content")).unwrap();
        let look = format!("cd {path}; stat -c %u:%g . file; cat file; rm file");
        let said = engine.run(&handle, script(&look)).expect(0).text();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[1..], [owner, "content"], "{user:?} {path}");
        assert!(!path.ends_with("/in") || lines[0] == owner, "{user:?} {path}: {lines:?}");
    }
    engine.finish();
}

/// Conformance: G75-76
#[test]
fn unknown_users_and_closed_directories_are_errors_that_say_so() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let error = stream_in(&engine, &handle, "nobody-here", "/tmp", tars::of_file("file", b"x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UserNotFound);
    assert!(error.report().contains("error streaming in"), "{}", error.report());
    engine.run(&handle, script("mkdir -m 700 /closed")).expect(0);
    let error = stream_in(&engine, &handle, "alice", "/closed", tars::of_file("file", b"x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.report().contains("Permission denied"), "{}", error.report());
    engine.finish();
}

/// Conformance: G77-78
#[test]
fn a_relative_path_starts_at_home() {
    let engine = Engine::start();
    for privileged in [false, true] {
        let handle = engine.create_from(ContainerSpec { privileged, ..ContainerSpec::default() });
        for (user, home) in [("alice", "/home/alice"), ("", "/root"), ("root", "/root")] {
            stream_in(&engine, &handle, user, "some/where", tars::of_file("file", user.as_bytes())).unwrap();
            let said = engine.run(&handle, script(&format!("cat {home}/some/where/file"))).expect(0);
            assert_eq!(said.text(), user);
            let out = stream_out(&engine, &handle, user, "some/where/file");
            assert_eq!(out, [("file".to_owned(), user.to_owned())]);
        }
    }
    engine.finish();
}

/// Conformance: G79
#[test]
fn a_truncated_tar_is_an_error() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let whole = tars::of_file("file", &[b'x'; 3000]);
    for length in [511, 512, 600, 1024, 3000] {
        let error = stream_in(&engine, &handle, "", "/tmp", whole[..length].to_vec()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{length}: {}", error.report());
    }
    stream_in(&engine, &handle, "", "/tmp", whole).unwrap();
    engine.finish();
}

/// Conformance: G80-82
#[test]
fn names_in_a_tar_follow_the_slash_at_the_end() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    engine.run(&handle, as_user("alice", script("mkdir -p /tmp/dir; echo one > /tmp/dir/file"))).expect(0);
    let pair = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    for user in ["alice", ""] {
        let with_name = [pair("dir/", ""), pair("dir/file", "one\n")];
        assert_eq!(stream_out(&engine, &handle, user, "/tmp/dir"), with_name);
        let without = [pair("./", ""), pair("./file", "one\n")];
        assert_eq!(stream_out(&engine, &handle, user, "/tmp/dir/"), without);
    }
    // Names and targets of links that do not fit a header, the last also not cut at its end.
    let (long, full) = ("n".repeat(200), "f".repeat(98));
    let make = format!("mkdir /tmp/long; cd /tmp/long; echo x > {long}; echo y > {full}; ln -s {long} link");
    engine.run(&handle, script(&make)).expect(0);
    let out = stream_out(&engine, &handle, "", "/tmp/long/");
    let names: Vec<&str> = out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["./", &format!("./{full}"), "./link", &format!("./{long}")]);
    engine.run(&handle, script("mkdir /tmp/copy")).expect(0);
    let tar = engine.gdn(["cp", &format!("{handle}:/tmp/long/"), "-"]).stdout;
    stream_in(&engine, &handle, "", "/tmp/copy", tar).unwrap();
    let said =
        engine.run(&handle, script(&format!("cd /tmp/copy; cat {full} link; readlink link"))).expect(0);
    assert_eq!(said.text(), format!("y\nx\n{long}\n"));
    engine.finish();
}

/// Conformance: Q432
#[test]
fn a_large_tar_goes_in_and_comes_out_without_loss() {
    let engine = Engine::start();
    let handle = engine.create_from(ContainerSpec::default());
    let content: String = (0..400_000).map(|n| format!("line {n}\n")).collect();
    stream_in(&engine, &handle, "", "/tmp/big", tars::of_file("file", content.as_bytes())).unwrap();
    let out = stream_out(&engine, &handle, "", "/tmp/big/file");
    assert!(out == [("file".to_owned(), content)], "the tar was changed on its way");
    engine.finish();
}
