//! Entries of a tar that want more than to be files.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use gdn_types::{BindMode, BindMount, ContainerSpec, Handle};
use tar::EntryType;

use super::super::lab::{destroy, marked, of, stream_in, untouched, with_binds};
use crate::targets::finish;
use crate::{Bed, Hostile, Stage, Verdict};

/// A directory of the host that the container sees and must not change.
const SHOWN: &str = "/host";

/// What follows a link to this place.
type LinkFirst = (&'static str, fn(&str) -> Hostile);
/// An entry called `x`, and what must be so of it afterwards.
type Right = (&'static str, fn() -> Hostile, fn(&Path) -> Verdict);

/// S2.05: a link, then an entry of the same name.
pub(super) fn links_first(stage: &mut Stage<'_>) {
    let shapes: [LinkFirst; 5] = [
        ("a directory of mode 0777", |to| Hostile::new().link("d", to).dir("d", 0o777)),
        ("a file", |to| Hostile::new().link("d", &format!("{to}/file")).file("d", 0o777, b"other")),
        ("a file below it", |to| Hostile::new().link("d", to).file("d/file", 0o777, b"other")),
        ("a hard link to what is below it", |to| {
            Hostile::new().link("d", to).hard_link("h", "d/file").file("h", 0o777, b"other")
        }),
        ("a directory with attributes and another owner", |to| {
            Hostile::new()
                .link("d", to)
                .attribute("user.evil", b"x")
                .dir("d/below", 0o700)
                .owned("d/file", 1000, 1000)
        }),
    ];
    for (name, tar) in shapes {
        for privileged in [false, true] {
            let kind = if privileged { "privileged" } else { "unprivileged" };
            stage.case(format!("a link, then {name}, in a {kind} container"), |bed| {
                let host = bed.canary().path().join("directory");
                let shown = BindMount::new(&host, SHOWN, BindMode::ReadOnly).unwrap();
                let spec = ContainerSpec { privileged, ..with_binds(of(bed.image()), vec![shown]) };
                let handle = bed.create(spec);
                for target in [SHOWN, host.to_str().unwrap()] {
                    // It may fail: what counts is the host.
                    drop(stream_in(bed, &handle, "", "/tmp", tar(target).finish()));
                    bed.inside(&handle).process(engine_tests::session::script("rm -rf /tmp/d /tmp/h"));
                }
                destroy(bed, &handle);
                untouched(bed)
            });
        }
    }
    stage.control("entries written by their path", |bed| {
        let (decoy, place) = (bed.decoy(), marked(bed, "s2.05-control"));
        let tar = shapes[0].1(decoy.path().join("directory").to_str().unwrap()).finish();
        extract_by_path(&tar, &place);
        Verdict::held_unless(!decoy.changes().is_empty(), || decoy.changes().join("; "))
    });
}

/// What a naive extractor does.
fn extract_by_path(tar: &[u8], place: &Path) {
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = place.join(entry.path().unwrap());
        match entry.header().entry_type() {
            EntryType::Symlink => {
                std::os::unix::fs::symlink(entry.link_name().unwrap().unwrap(), &path).unwrap()
            }
            EntryType::Directory => {
                fs::create_dir_all(&path).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(entry.header().mode().unwrap()))
                    .unwrap();
            }
            _ => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                fs::write(&path, content).unwrap();
            }
        }
    }
}

/// `user:0:rwx` beside the owner: version 2, then tag, permissions and id of each entry. `linux/posix_acl_xattr.h`.
const ACL: [u8; 44] = {
    let mut acl = [0; 44];
    acl[0] = 2;
    let entries: [(u8, u8, bool); 5] =
        [(0x01, 7, false), (0x02, 7, true), (0x04, 5, false), (0x10, 7, false), (0x20, 5, false)];
    let mut index = 0;
    while index < 5 {
        let at = 4 + index * 8;
        acl[at] = entries[index].0;
        acl[at + 2] = entries[index].1;
        let id = if entries[index].2 { 0 } else { 0xff };
        let mut byte = 4;
        while byte < 8 {
            acl[at + byte] = id;
            byte += 1;
        }
        index += 1;
    }
    acl
};

/// Version 2, effective: CAP_SYS_ADMIN. capabilities(7).
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0, 0x20, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// S2.06: rights in a tar.
pub(super) fn rights(stage: &mut Stage<'_>) {
    let kinds: [Right; 7] = [
        ("a set-user-id program", || Hostile::new().file("x", 0o4755, b"x"), without_special_bits),
        ("a set-group-id directory", || Hostile::new().dir("x", 0o3777), without_special_bits),
        ("a character device", || Hostile::new().device(EntryType::Char, "x", 1, 1), absent),
        ("a block device", || Hostile::new().device(EntryType::Block, "x", 8, 0), absent),
        ("a file of another owner", || Hostile::new().owned("x", 0, 77), without_special_bits),
        (
            "a file with capabilities",
            || Hostile::new().attribute("security.capability", &CAPABILITY).file("x", 0o755, b"x"),
            capable_nowhere,
        ),
        (
            "a file with an access list",
            || Hostile::new().attribute("system.posix_acl_access", &ACL).file("x", 0o644, b"x"),
            not_for_the_hosts_root,
        ),
    ];
    let handle = stage.bed().create(of(""));
    for (name, tar, look) in kinds {
        for (user, owner, place) in [("", u32::MAX - 1, "/root"), ("alice", 1000, "/home/alice")] {
            let who = if user.is_empty() { "root" } else { user };
            stage.case(format!("{name}, as {who}"), |bed| {
                drop(stream_in(bed, &handle, user, &format!("{place}/in"), tar().finish()));
                let seen = at(bed, &handle, &format!("{place}/in/x"));
                let owned = match fs::symlink_metadata(&seen) {
                    Ok(metadata) => Verdict::equal((metadata.uid(), metadata.gid()), (owner, owner)),
                    Err(_) => Verdict::Held,
                };
                let verdict = Verdict::all([look(&seen), owned, untouched(bed)]);
                bed.inside(&handle).process(engine_tests::session::program(&[
                    "rm",
                    "-rf",
                    &format!("{place}/in"),
                ]));
                verdict
            });
        }
    }
    stage.control("the host's tar, run as root", |bed| {
        let place = marked(bed, "s2.06-control");
        fs::write(place.join("tar"), (kinds[0].1)().finish()).unwrap();
        let mut command = Command::new("tar");
        command.arg("-C").arg(&place).arg("-xpf").arg(place.join("tar"));
        finish(command);
        without_special_bits(&place.join("x"))
    });
}

/// A path of a container as the host sees it.
fn at(bed: &Bed, handle: &Handle, path: &str) -> PathBuf {
    engine_tests::inside::path(bed.engine().init_pid(handle.as_str()), path)
}

fn without_special_bits(path: &Path) -> Verdict {
    let mode = fs::symlink_metadata(path).unwrap().mode();
    Verdict::held_unless(mode & 0o7000 != 0, || format!("its mode is {mode:o}"))
}

fn absent(path: &Path) -> Verdict {
    Verdict::held_unless(path.exists(), || "it was made".into())
}

/// Capabilities are the container's (version 3, for its root) or none: on the host they would mean nothing.
fn capable_nowhere(path: &Path) -> Verdict {
    let Some(value) = attribute(path, "security.capability") else { return Verdict::Held };
    let own = value.len() == 24 && value[3] == 3 && value[20..24] != [0; 4];
    Verdict::held_unless(!own, || format!("its capabilities hold on the host: {value:?}"))
}

/// The user 0 of the list is the container's.
fn not_for_the_hosts_root(path: &Path) -> Verdict {
    let Some(value) = attribute(path, "system.posix_acl_access") else { return Verdict::Held };
    let named = value[4..].chunks(8).find(|entry| entry[0] == 2).map(|entry| entry[4..8].to_vec());
    Verdict::held_unless(named == Some(vec![0; 4]), || "the host's root is in the list".into())
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}
