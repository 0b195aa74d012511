//! Tars that go in and come out.

use std::io::{Cursor, Read};

use engine_tests::{images, inside};
use serde_json::json;

use super::Bed;

/// A version 2 capability in an extended attribute: CAP_NET_BIND_SERVICE, permitted and effective. capabilities(7).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    // Whoever made the tar is not whom the files will belong to.
    header.set_uid(77);
    header.set_gid(77);
    builder.append_data(&mut header, name, content).unwrap();
}

fn append_capable(builder: &mut tar::Builder<Vec<u8>>) {
    builder.append_pax_extensions([("SCHILY.xattr.security.capability", &CAPABILITY[..])]).unwrap();
    append(builder, "capable", b"x");
}

/// A tar of one file with this content.
fn tar_of(content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "file", content);
    builder.into_inner().unwrap()
}

/// Names and contents of what comes out.
fn stream_out(bed: &Bed, handle: &str, user: &str, path: &str) -> Vec<(String, String)> {
    let tar =
        bed.garden.get(&format!("/containers/{handle}/files?user={user}&source={path}")).expect(200).body;
    let mut archive = tar::Archive::new(Cursor::new(tar));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

/// Conformance: G71
#[test]
fn extended_attributes_survive() {
    let bed = Bed::start();
    let image = bed.engine.scratch().join("capable.tar");
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", bed.engine.scratch().join("busybox")).unwrap();
    append_capable(&mut builder);
    std::fs::write(&image, builder.into_inner().unwrap()).unwrap();
    let handle = bed.garden.create(&json!({ "rootfs": images::path_text(&image) }));
    let mut builder = tar::Builder::new(Vec::new());
    append_capable(&mut builder);
    let put = format!("/containers/{handle}/files?destination=/tmp");
    bed.garden.call("PUT", &put, &builder.into_inner().unwrap()).expect_done();
    let init = bed.engine.init_pid(&handle);
    for path in ["/tmp/capable", "/capable"] {
        let mut value = vec![0; 64];
        let read =
            rustix::fs::getxattr(inside::path(init, path), "security.capability", value.as_mut_slice());
        value.truncate(read.unwrap_or_else(|error| panic!("{path}: {error}")));
        // The first word is the version, which a user namespace turns into 3, and a flag; the rest are the sets.
        assert_eq!(value[4..20], CAPABILITY[4..], "{path}");
    }
    bed.finish();
}

/// Conformance: G72-79
#[test]
fn files_belong_to_the_user_and_what_cannot_be_is_told() {
    let bed = Bed::start();
    for privileged in [false, true] {
        let handle = bed.create(json!({ "privileged": privileged }));
        let put = |user: &str, path: &str, tar: &[u8]| {
            let path = format!("/containers/{handle}/files?user={user}&destination={path}");
            bed.garden.call("PUT", &path, tar)
        };
        for (user, path, place, owner) in [
            ("alice", "/home/alice/in", "/home/alice/in", "1000:1000"),
            ("root", "/root/in", "/root/in", "0:0"),
            ("", "/tmp/in", "/tmp/in", "0:0"),
            ("", "/", "/", "0:0"),
            ("alice", "/tmp", "/tmp", "1000:1000"),
            ("alice", "some/where", "/home/alice/some/where", "1000:1000"),
            ("", "some/where", "/root/some/where", "0:0"),
        ] {
            put(user, path, &tar_of(b"content")).expect_done();
            let seen = bed.said(&handle, "", &format!("cd {place}; stat -c %u:%g file; cat file; rm file"));
            assert_eq!(seen, format!("{owner}\ncontent"), "{user:?} {path}");
        }
        let refused = |user: &str, path: &str, tar: &[u8]| put(user, path, tar).expect_error(500, "");
        let message = refused("nobody-here", "/tmp", &tar_of(b"x"));
        assert!(message.contains("error streaming in"), "{message}");
        bed.said(&handle, "", "mkdir -m 700 /closed");
        let message = refused("alice", "/closed", &tar_of(b"x"));
        assert!(message.contains("Permission denied"), "{message}");
        let whole = tar_of(&[b'x'; 3000]);
        for length in [511, 512, 600, 1024, 3000] {
            refused("", "/tmp", &whole[..length]);
        }
        put("", "/tmp", &whole).expect_done();
    }
    bed.finish();
}

/// Conformance: G80-82
#[test]
fn names_in_a_tar_follow_the_slash_at_the_end() {
    let bed = Bed::start();
    let handle = bed.create(json!({}));
    bed.said(&handle, "alice", "mkdir -p some-dir; echo one > some-dir/file");
    bed.said(&handle, "", "cp -r /home/alice/some-dir /root");
    let pair = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    for (user, home) in [("alice", "/home/alice"), ("", "/root")] {
        // Relative paths begin at home here as well.
        for path in ["some-dir".to_owned(), format!("{home}/some-dir")] {
            let with_name = [pair("some-dir/", ""), pair("some-dir/file", "one\n")];
            assert_eq!(stream_out(&bed, &handle, user, &path), with_name, "{user:?} {path}");
            let without = [pair("./", ""), pair("./file", "one\n")];
            assert_eq!(stream_out(&bed, &handle, user, &format!("{path}/")), without, "{user:?} {path}/");
        }
    }
    bed.finish();
}
