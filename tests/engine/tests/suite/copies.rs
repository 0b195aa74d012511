//! `gdn cp`.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::Path;

use engine_tests::tars::{CAPABILITY, append_capable};
use engine_tests::{Engine, images, inside};
use gdn_types::{ContainerSpec, Handle, StreamInSpec, StreamOutSpec};
use rustix::fs::XattrFlags;

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

/// What other readers of tars take for the end of a record or of a key, no value at all, and one of many bytes.
const ODD: [(&[u8], &[u8]); 4] = [
    (b"user.binary", b"x\n11 size=99\n14 path=other\n\0\xff\n"),
    (b"user.empty", b""),
    (b"user.long", &[b'l'; 2000]),
    (b"user.odd=name%3D\n \xff", b"1"),
];

fn attribute(path: &Path, name: &[u8]) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

fn out_of(engine: &Engine, handle: &Handle, user: &str, path: &str) -> Vec<u8> {
    let spec = StreamOutSpec { path: path.into(), user: user.into() };
    let mut tar = Vec::new();
    engine.with_client(async |client| {
        client.stream_out(handle, spec).await.unwrap().copy_to(&mut tar).await.unwrap();
    });
    tar
}

fn into(engine: &Engine, handle: &Handle, user: &str, path: &str, tar: Vec<u8>) {
    let spec = StreamInSpec { path: path.into(), user: user.into() };
    engine.with_client(async |client| client.stream_in(handle, spec, Cursor::new(tar)).await.unwrap());
}

#[test]
fn extended_attributes_of_files_and_directories_are_copied() {
    let engine = Engine::start();
    for privileged in [false, true] {
        let create = || engine.create_from(ContainerSpec { privileged, ..ContainerSpec::default() });
        let (from, to) = (create(), create());
        let at = |handle: &Handle, path: &str| inside::path(engine.init_pid(handle.as_str()), path);
        engine
            .shell(
                from.as_str(),
                "mkdir -p /tmp/tree/deep; echo content >/tmp/tree/file; ln -s file /tmp/tree/link",
            )
            .expect_status(0);
        let mut capable = tar::Builder::new(Vec::new());
        append_capable(&mut capable);
        into(&engine, &from, "", "/tmp/tree", capable.into_inner().unwrap());
        let marked = ["/tmp/tree", "/tmp/tree/deep", "/tmp/tree/file"];
        for path in marked {
            for (name, value) in ODD {
                rustix::fs::setxattr(at(&from, path), name, value, XattrFlags::empty()).unwrap();
            }
        }
        for (user, place) in [("", "/root/in"), ("alice", "/home/alice/in")] {
            into(&engine, &to, user, place, out_of(&engine, &from, user, "/tmp/tree"));
            for path in marked {
                let copied = at(&to, &path.replace("/tmp", place));
                for (name, value) in ODD {
                    let text = String::from_utf8_lossy(name);
                    assert_eq!(attribute(&copied, name).as_deref(), Some(value), "{user:?} {path} {text:?}");
                }
            }
            let said = engine.shell(to.as_str(), &format!("cd {place}/tree; cat link; stat -c %F deep; ls"));
            assert_eq!(said.expect_status(0).text(), "content\ndirectory\ncapable\ndeep\nfile\nlink\n");
            // Whoever is not root in there gives nobody capabilities.
            let capability =
                attribute(&at(&to, &format!("{place}/tree/capable")), "security.capability".as_bytes());
            let kept = capability.map(|value| value[4..20].to_vec());
            assert_eq!(kept, user.is_empty().then(|| CAPABILITY[4..].to_vec()), "{user:?}");
        }
        // A directory with attributes is one for `gdn cp` too.
        fs::write(engine.scratch().join("file"), "by name").unwrap();
        let file = images::path_text(&engine.scratch().join("file"));
        engine.gdn(["cp", &file, &format!("{from}:/tmp/tree/deep")]).expect_status(0);
        assert_eq!(engine.shell(from.as_str(), "cat /tmp/tree/deep/file").expect_status(0).text(), "by name");
    }
    engine.finish();
}
