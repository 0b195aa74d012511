//! Tars that go in and come out.

use engine_tests::tars::{self, CAPABILITY, append_capable};
use engine_tests::{images, inside};
use serde_json::json;

use super::Bed;

/// Names and contents of what comes out.
fn stream_out(bed: &Bed, handle: &str, user: &str, path: &str) -> Vec<(String, String)> {
    let tar =
        bed.garden.get(&format!("/containers/{handle}/files?user={user}&source={path}")).expect(200).body;
    tars::entries(tar)
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
            put(user, path, &tars::of_file("file", b"content")).expect_done();
            let seen = bed.said(&handle, "", &format!("cd {place}; stat -c %u:%g file; cat file; rm file"));
            assert_eq!(seen, format!("{owner}\ncontent"), "{user:?} {path}");
        }
        let refused = |user: &str, path: &str, tar: &[u8]| put(user, path, tar).expect_error(500, "");
        let message = refused("nobody-here", "/tmp", &tars::of_file("file", b"x"));
        assert!(message.contains("error streaming in"), "{message}");
        bed.said(&handle, "", "mkdir -m 700 /closed");
        let message = refused("alice", "/closed", &tars::of_file("file", b"x"));
        assert!(message.contains("Permission denied"), "{message}");
        let whole = tars::of_file("file", &[b'x'; 3000]);
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
