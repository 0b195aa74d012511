use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::{extract, pack};

/// An entry to be made: kind, path, link, contents.
type Made<'a> = (EntryType, &'a str, &'a str, &'a [u8]);

/// A tar with one entry after the other.
fn tar_of(entries: &[Made]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, path, link, contents) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        header.set_mtime(1_000_000_000);
        header.set_size(contents.len() as u64);
        // Written by hand: the builder refuses the paths that are of interest here.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        tar.append(&header, *contents).unwrap();
    }
    tar.into_inner().unwrap()
}

fn packed(source: &Path, name: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    pack(source, OsStr::new(name), &mut tar).unwrap();
    tar
}

#[test]
fn a_tree_survives_packing_and_extracting() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(from.path().join("d/e")).unwrap();
    fs::write(from.path().join("d/e/file"), "contents").unwrap();
    fs::set_permissions(from.path().join("d/e/file"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("/etc/passwd", from.path().join("d/link")).unwrap();
    let long = "n".repeat(200);
    fs::write(from.path().join("d").join(&long), "").unwrap();
    // A directory that takes no more files must get its files first.
    fs::set_permissions(from.path().join("d/e"), fs::Permissions::from_mode(0o555)).unwrap();

    let done =
        extract(packed(&from.path().join("d"), "d").as_slice(), to.path(), Some(OsStr::new("copy"))).unwrap();

    let copy = to.path().join("copy");
    assert_eq!(done.entries, 5);
    assert_eq!(fs::read_to_string(copy.join("e/file")).unwrap(), "contents");
    assert_eq!(fs::metadata(copy.join("e/file")).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(copy.join("e")).unwrap().permissions().mode() & 0o7777, 0o555);
    assert_eq!(fs::read_link(copy.join("link")).unwrap(), Path::new("/etc/passwd"));
    assert!(copy.join(long).exists());
}

#[test]
fn everything_that_is_packed_belongs_to_root() {
    let from = tempfile::tempdir().unwrap();
    fs::write(from.path().join("f"), "x").unwrap();
    std::os::unix::fs::chown(from.path().join("f"), Some(1234), Some(1234)).unwrap();
    let tar = packed(&from.path().join("f"), "g");
    let mut archive = tar::Archive::new(tar.as_slice());
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap(), Path::new("g"));
    assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (0, 0));
}

#[test]
fn no_entry_leaves_the_target() {
    let file = EntryType::Regular;
    let hostile: [&[Made]; 6] = [
        &[(file, "../escaped", "", b"x")],
        &[(file, "a/../../escaped", "", b"x")],
        &[(file, "/escaped", "", b"x")],
        &[(EntryType::Symlink, "out", "..", b""), (file, "out/escaped", "", b"x")],
        &[(EntryType::Symlink, "out", "/", b""), (EntryType::Directory, "out/escaped", "", b"")],
        &[(EntryType::Link, "stolen", "../secret", b"")],
    ];
    for entries in hostile {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("secret"), "s").unwrap();
        let target = parent.path().join("target");
        fs::create_dir(&target).unwrap();
        assert!(extract(tar_of(entries).as_slice(), &target, None).is_err(), "{entries:?}");
        assert!(!parent.path().join("escaped").exists() && !target.join("stolen").exists(), "{entries:?}");
        assert!(!Path::new("/escaped").exists());
    }
}

#[test]
fn a_hard_link_through_a_link_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("secret"), "s").unwrap();
    let target = parent.path().join("target");
    fs::create_dir(&target).unwrap();
    let tar =
        tar_of(&[(EntryType::Symlink, "out", "..", b""), (EntryType::Link, "stolen", "out/secret", b"")]);
    assert!(extract(tar.as_slice(), &target, None).is_err());
    assert!(!target.join("stolen").exists());
}

#[test]
fn a_file_that_is_a_link_here_is_replaced_and_not_written_through() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("victim"), "before").unwrap();
    let target = parent.path().join("target");
    fs::create_dir(&target).unwrap();
    symlink("../victim", target.join("f")).unwrap();
    extract(tar_of(&[(EntryType::Regular, "f", "", b"new")]).as_slice(), &target, None).unwrap();
    assert_eq!(fs::read_to_string(parent.path().join("victim")).unwrap(), "before");
    assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "new");
}

#[test]
fn devices_are_left_out_and_set_user_id_bits_dropped() {
    let target = tempfile::tempdir().unwrap();
    let tar = tar_of(&[(EntryType::Char, "dev", "", b""), (EntryType::Regular, "su", "", b"x")]);
    let done = extract(tar.as_slice(), target.path(), None).unwrap();
    assert_eq!(done.skipped, [Path::new("dev")]);
    assert!(!target.path().join("dev").exists());
    assert_eq!(fs::metadata(target.path().join("su")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn a_directory_in_the_way_of_a_file_stays() {
    let target = tempfile::tempdir().unwrap();
    fs::create_dir(target.path().join("f")).unwrap();
    let error =
        extract(tar_of(&[(EntryType::Regular, "f", "", b"x")]).as_slice(), target.path(), None).unwrap_err();
    assert!(format!("{error:#}").contains("directory is in the way"), "{error:#}");
}

#[test]
fn half_a_tar_is_an_error() {
    let target = tempfile::tempdir().unwrap();
    let tar = tar_of(&[(EntryType::Regular, "f", "", &[1; 2000])]);
    assert!(extract(&tar[..1500], target.path(), None).is_err());
}

#[test]
fn what_describes_the_first_entry_is_not_taken_for_it() {
    let mut tar = Builder::new(Vec::new());
    tar.append_pax_extensions([("SCHILY.xattr.user.long", &[b'x'; 700][..])]).unwrap();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_size(0);
    tar.append_data(&mut header, "n".repeat(200), std::io::empty()).unwrap();
    let tar = tar.into_inner().unwrap();
    // An extended header of two blocks, a long name of one, and the directory.
    let known = 6 * 512;
    assert_eq!(super::first_kind(&tar[..known]), Some(EntryType::Directory));
    for length in [0, 511, 512, 513, known - 1] {
        assert_eq!(super::first_kind(&tar[..length]), None, "{length}");
    }
}
