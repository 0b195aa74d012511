//! Copies by way of a tar in memory. Only one test goes to another directory: that is the whole process's.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat};
use tar::{Builder, EntryType, Header};

use super::archive::Archive;
use super::attributes::{self, Attribute, MAX_COUNT};
use super::{pax, receive, send};
use crate::protocol::{Failure, FailureKind};

fn attribute(name: &[u8], value: &[u8]) -> Attribute {
    Attribute { name: name.to_vec(), value: value.to_vec() }
}

/// What other readers take for the end of a record, or of a key, and a value as long as the kernel has them on a file system
/// that keeps a file's attributes within one block.
fn odd_attributes() -> Vec<Attribute> {
    vec![
        attribute(b"user.binary", b"x\n11 size=99\n14 path=other\n\0\xff\n"),
        attribute(b"user.empty", b""),
        attribute(b"user.long", &[b'l'; 2500]),
        attribute(b"user.odd=name%3D\n \xff", b"1"),
    ]
}

fn packed(path: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    let mut builder = Builder::new(Vec::new());
    send::append_tree(&mut builder, path, Path::new(name))?;
    Ok(builder.into_inner().unwrap())
}

fn sorted(file: &Path) -> Vec<Attribute> {
    let mut found = attributes::read(File::open(file).unwrap()).unwrap();
    found.sort_by(|left, right| left.name.cmp(&right.name));
    found
}

/// Name, attributes and content of an entry.
type Entry = (String, Vec<Attribute>, Vec<u8>);

fn entries(tar: &[u8]) -> std::io::Result<Vec<Entry>> {
    let mut archive = Archive::new(tar);
    let mut entries = Vec::new();
    while let Some(member) = archive.next()? {
        let mut content = Vec::new();
        archive.content(&member, |reader, _| reader.read_to_end(&mut content))??;
        entries.push((String::from_utf8_lossy(&member.path).into_owned(), member.attributes, content));
    }
    archive.finish()?;
    Ok(entries)
}

fn plain(kind: EntryType, name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path(name).unwrap();
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, content).unwrap();
    let mut tar = builder.into_inner().unwrap();
    tar.truncate(tar.len() - 1024);
    tar
}

const END: [u8; 1024] = [0; 1024];

#[test]
fn files_and_directories_keep_their_extended_attributes() {
    let place = tempfile::tempdir().unwrap();
    let (source, target) = (place.path().join("source"), place.path().join("target"));
    let long = "n".repeat(150);
    fs::create_dir_all(source.join("directory").join(&long)).unwrap();
    fs::write(source.join("directory/file"), "content").unwrap();
    fs::write(source.join("directory").join(&long).join("plain"), "plain").unwrap();
    symlink("file", source.join("directory/link")).unwrap();
    mknodat(CWD, source.join("directory/fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let long_directory = format!("directory/{long}");
    let marked = ["directory", "directory/file", &long_directory];
    for path in marked {
        attributes::set(File::open(source.join(path)).unwrap(), &odd_attributes()).unwrap();
    }
    let tar = packed(&source.join("directory"), "directory").unwrap();

    let names: Vec<_> = entries(&tar).unwrap().into_iter().map(|(name, ..)| name).collect();
    let expected = ["", "fifo", "file", "link", &format!("{long}/"), &format!("{long}/plain")];
    assert_eq!(names, expected.map(|name| format!("directory/{name}")));

    receive::stream_in(&target, 0, 0, &tar[..]).unwrap();
    for path in marked {
        assert_eq!(sorted(&target.join(path)), odd_attributes(), "{path}");
    }
    assert_eq!(sorted(&target.join(&long_directory).join("plain")), []);
    assert_eq!(fs::read_to_string(target.join("directory/file")).unwrap(), "content");
    assert!(target.join("directory/link").is_symlink());
}

/// GNU tar, with all attributes of users.
fn gnu_tar(directory: &Path, arguments: &[&str], input: &Path) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.args(["--xattrs", "--xattrs-include=user.*", "-C"]).arg(directory).args(arguments);
    let done = command.stdin(File::open(input).unwrap()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

#[test]
fn gnu_tar_reads_what_comes_out_and_writes_what_goes_in() {
    let place = tempfile::tempdir().unwrap();
    let long = format!("directory/{}", "n".repeat(150));
    let marked = ["directory", &long];
    fs::create_dir_all(place.path().join(&long)).unwrap();
    for path in marked {
        attributes::set(File::open(place.path().join(path)).unwrap(), &odd_attributes()).unwrap();
    }
    let (theirs, tar) = (place.path().join("theirs"), place.path().join("tar"));
    fs::create_dir(&theirs).unwrap();
    fs::write(&tar, packed(&place.path().join("directory"), "directory").unwrap()).unwrap();
    gnu_tar(&theirs, &["-x"], &tar);
    let written = gnu_tar(place.path(), &["--format=pax", "-c", "directory"], &tar);
    let mut read = entries(&written).unwrap();
    for (path, (name, attributes, _)) in marked.iter().zip(&mut read) {
        assert_eq!(sorted(&theirs.join(path)), odd_attributes(), "{path}");
        attributes.sort_by(|left, right| left.name.cmp(&right.name));
        assert_eq!((name.trim_end_matches('/'), &*attributes), (*path, &odd_attributes()));
    }
}

#[test]
fn only_attributes_of_users_and_capabilities_come_out() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    // Version 2: CAP_NET_BIND_SERVICE. capabilities(7).
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let set = [
        attribute(b"security.capability", &capability),
        attribute(b"trusted.overlay.opaque", b"y"),
        attribute(b"user.own", b"1"),
    ];
    for Attribute { name, value } in &set {
        rustix::fs::setxattr(&file, name.as_slice(), value, XattrFlags::empty()).unwrap();
    }
    assert_eq!(sorted(&file), [set[0].clone(), set[2].clone()]);
}

#[test]
fn a_file_with_more_attributes_than_are_copied_is_an_error_that_says_so() {
    // The directory for temporary files may keep one block of attributes for a file; what is in memory has room.
    let place = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    for number in 0..MAX_COUNT {
        let name = format!("user.{number}");
        rustix::fs::setxattr(&file, name.as_str(), b"x", XattrFlags::empty()).unwrap();
    }
    assert_eq!(sorted(&file).len(), MAX_COUNT);
    rustix::fs::setxattr(&file, "user.more", b"x", XattrFlags::empty()).unwrap();
    let failure = packed(&file, "file").unwrap_err();
    assert_eq!(failure.kind, i32::from(FailureKind::Exhausted));
    assert!(failure.what.contains("more than 128 extended attributes"), "{}", failure.what);
}

#[test]
fn a_file_system_without_attributes_is_copied() {
    let tar = packed(Path::new("/proc/self/status"), "status").unwrap();
    let found = entries(&tar).unwrap();
    assert_eq!((found[0].0.as_str(), &found[0].1), ("status", &Vec::new()));
}

/// No value of an attribute passes for a size, a name or an entry.
#[test]
fn a_value_does_not_change_what_is_read() {
    let inner = plain(EntryType::Regular, "smuggled", b"");
    let value = [b"x\n12 size=512\n14 path=other\n".as_slice(), &inner].concat();
    let records = pax::records(&[attribute(b"user.x", &value)]);
    let tar = [
        plain(EntryType::XHeader, "pax", &records),
        plain(EntryType::Regular, "file", b"content"),
        END.into(),
    ]
    .concat();
    let found = entries(&tar).unwrap();
    assert_eq!(found, [("file".into(), vec![attribute(b"user.x", &value)], b"content".to_vec())]);
}

#[test]
fn names_sizes_and_sparse_files_are_read_as_their_headers_say() {
    let long = "n/".repeat(200);
    let mut terminated = long.clone().into_bytes();
    terminated.push(0);
    let with_size = [plain(EntryType::XHeader, "pax", b"10 size=7\n14 path=named\n"), {
        // The header says 0, as for sizes that it has no room for.
        let mut content = plain(EntryType::Regular, "file", b"");
        content.extend_from_slice(b"content");
        content.resize(1024, 0);
        content
    }];
    let tar = [
        plain(EntryType::XGlobalHeader, "global", b"14 path=never\n"),
        plain(EntryType::GNULongName, "long", &terminated),
        plain(EntryType::Directory, "x", b""),
        with_size.concat(),
        END.into(),
    ]
    .concat();
    let found = entries(&tar).unwrap();
    let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["global", &long, "named"]);
    assert_eq!(found[2].2, b"content");

    let place = tempfile::tempdir().unwrap();
    let file = File::create(place.path().join("sparse")).unwrap();
    file.set_len(1 << 20).unwrap();
    file.write_all_at(b"middle", 1 << 19).unwrap();
    let mut builder = Builder::new(Vec::new());
    builder.append_path_with_name(place.path().join("sparse"), "sparse").unwrap();
    let mut tar = builder.into_inner().unwrap();
    tar.truncate(tar.len() - 1024);
    let tar = [tar, plain(EntryType::Regular, "after", b"it"), END.into()].concat();
    let found = entries(&tar).unwrap();
    assert_eq!(found[0].2, fs::read(place.path().join("sparse")).unwrap());
    assert_eq!((found[1].0.as_str(), found[1].2.as_slice()), ("after", &b"it"[..]));
}

#[test]
fn damaged_archives_are_refused() {
    let file = plain(EntryType::Regular, "file", b"content");
    let pax = plain(EntryType::XHeader, "pax", b"25 SCHILY.xattr.user.a=x\n");
    let mut wrong_checksum = file.clone();
    wrong_checksum[0] ^= 1;
    let mut huge = Header::new_ustar();
    huge.set_entry_type(EntryType::XHeader);
    huge.set_size(1 << 40);
    huge.set_cksum();
    for (what, tar) in [
        ("nothing", vec![]),
        ("no end mark", file.clone()),
        ("half an end mark", [&file[..], &END[..512]].concat()),
        ("half a header", file[..100].to_vec()),
        ("half a content", file[..515].to_vec()),
        ("no padding", file[..519].to_vec()),
        ("a wrong checksum", [&wrong_checksum[..], &END].concat()),
        ("half an extended header", pax[..520].to_vec()),
        ("an extended header of nothing", [&pax[..], &END].concat()),
        ("two extended headers", [&pax[..], &pax, &file, &END].concat()),
        ("a huge extended header", [&huge.as_bytes()[..], &END].concat()),
        ("a malformed record", [&plain(EntryType::XHeader, "pax", b"9 a=b\n")[..], &file, &END].concat()),
    ] {
        assert!(entries(&tar).is_err(), "{what}");
    }
    assert_eq!(entries(&[&pax[..], &file, &END, &END].concat()).unwrap().len(), 1);
}

#[test]
fn a_failure_of_a_copy_names_the_file() {
    let failure = packed(Path::new("/no/such"), "such").unwrap_err();
    assert_eq!((failure.kind, failure.errno), (i32::from(FailureKind::NoPath), libc::ENOENT));
    assert!(failure.what.contains("/no/such"));
}
