//! S2.08: what paths mean.

use std::fs;

use gdn_types::{ErrorKind, Handle};

use super::super::lab::{destroy, marked, of, stream_in, stream_out, untouched};
use crate::{Bed, Hostile, Stage, Target, Verdict};

/// Names that come out, or why nothing does.
type Comes = Result<&'static [&'static str], ErrorKind>;
/// Where `file` is afterwards and whose, or why it is nowhere.
type Lands = Result<(&'static str, &'static str), ErrorKind>;

const OUT: [(&str, &str, Comes); 12] = [
    ("", "/tmp/tree", Ok(&["tree/", "tree/file"])),
    ("", "/tmp/tree/", Ok(&["./", "./file"])),
    ("", "/tmp/tree/.", Ok(&["./", "./file"])),
    ("", "/tmp/tree/file", Ok(&["file"])),
    ("", "/tmp/tree/file/", Err(ErrorKind::InvalidArgument)),
    ("", "/tmp/tree/../tree", Ok(&["tree/", "tree/file"])),
    ("", "/tmp/tree/deeper/..", Err(ErrorKind::InvalidArgument)),
    ("alice", "tree", Ok(&["tree/", "tree/file"])),
    ("alice", "", Ok(&["./", "./tree/", "./tree/file"])),
    ("", "/no/such", Err(ErrorKind::InvalidArgument)),
    ("nobody-knows", "/tmp/tree", Err(ErrorKind::UserNotFound)),
    ("", "LONG", Err(ErrorKind::InvalidArgument)),
];

const IN: [(&str, &str, Lands); 12] = [
    ("", "/tmp/new/deep", Ok(("/tmp/new/deep/file", "0"))),
    ("alice", "/tmp/slash/", Ok(("/tmp/slash/file", "1000"))),
    ("alice", ".", Ok(("/home/alice/file", "1000"))),
    ("alice", "sub", Ok(("/home/alice/sub/file", "1000"))),
    ("alice", "..", Err(ErrorKind::PermissionDenied)),
    ("", "/etc/passwd", Err(ErrorKind::InvalidArgument)),
    ("", "/tmp/link", Ok(("/tmp/tree/file", "0"))),
    ("alice", "/root/in", Err(ErrorKind::PermissionDenied)),
    ("nobody-knows", "/tmp", Err(ErrorKind::UserNotFound)),
    ("", "/tmp/a\0b", Err(ErrorKind::InvalidArgument)),
    ("", "LONG", Err(ErrorKind::InvalidArgument)),
    ("", "COMPONENT", Err(ErrorKind::InvalidArgument)),
];

pub(super) fn table(stage: &mut Stage<'_>) {
    for (user, path, expected) in OUT {
        stage.case(format!("out: {path:?} as {user:?}"), |bed| {
            let handle = prepared(bed);
            let seen = stream_out(bed, &handle, user, &spelled(path)).map(|bytes| names(&bytes));
            destroy(bed, &handle);
            let expected = expected.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
            Verdict::all([Verdict::equal(seen.map_err(|error| error.kind()), expected), untouched(bed)])
        });
    }
    for (user, path, expected) in IN {
        stage.case(format!("in: {path:?} as {user:?}"), |bed| {
            let handle = prepared(bed);
            let tar = Hostile::new().file("file", 0o644, b"copied").finish();
            let done = stream_in(bed, &handle, user, &spelled(path), tar).map_err(|error| error.kind());
            let verdict = match expected {
                Err(kind) => Verdict::equal(done, Err(kind)),
                Ok((place, owner)) => {
                    let seen = bed.inside(&handle).shell("", &format!("cat {place}; stat -c ' %u' {place}"));
                    Verdict::all([
                        Verdict::equal(done, Ok(())),
                        Verdict::equal(seen.said(), format!("copied {owner}")),
                    ])
                }
            };
            destroy(bed, &handle);
            Verdict::all([verdict, untouched(bed)])
        });
    }
    stage.control("a path joined to the root's", |bed| {
        let (decoy, root) = (bed.decoy(), marked(bed, "s2.08-control"));
        let name = decoy.path().file_name().unwrap().to_str().unwrap();
        let read = fs::read_to_string(root.join(format!("../{name}/file"))).unwrap();
        Verdict::held_unless(read == decoy.secret(), || "a file of the host came out".into())
    });
}

fn spelled(path: &str) -> String {
    match path {
        "LONG" => "/d".repeat(2100),
        "COMPONENT" => format!("/tmp/{}", "x".repeat(256)),
        path => path.to_owned(),
    }
}

fn prepared(bed: &Bed) -> Handle {
    let handle = bed.create(of(""));
    let inside = bed.inside(&handle);
    inside
        .shell("", "mkdir /tmp/tree && echo x > /tmp/tree/file && ln -s tree /tmp/link && chmod 700 /root")
        .said();
    inside.shell("alice", "mkdir /home/alice/tree && echo x > /home/alice/tree/file").said();
    handle
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| String::from_utf8(entry.path_bytes().into_owned()).unwrap()).collect()
}
