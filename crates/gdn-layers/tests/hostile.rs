//! Hostile layers: nothing outside of the layer's directory may change. Needs root.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use gdn_layers::{Digest, Error, Limits, remove_tree};
use ground::{Ground, Tar, is_whiteout, opaque};

#[path = "ground/layers.rs"]
mod ground;

#[test]
fn paths_with_dot_dot_are_refused_and_named() {
    for path in ["../canary/x", "a/../../canary/x", "./..", "/../canary/file", "a/b/../c"] {
        let ground = Ground::new();
        let error = ground.unpack(&Tar::default().file(path, "evil").end()).unwrap_err();
        assert!(matches!(&error, Error::UnsafePath { entry, .. } if entry == path), "{error}");
        let long =
            Tar::default().raw(b'L', b"././@LongLink", b"", 0, path.as_bytes()).file("x", "evil").end();
        assert!(ground.unpack(&long).is_err());
        let pax = Tar::default().pax(&[("path", path.as_bytes())]).file("x", "evil").end();
        assert!(ground.unpack(&pax).is_err());
    }
}

#[test]
fn absolute_paths_land_inside() {
    let ground = Ground::new();
    let canary = ground.canary().join("file");
    ground.unpack(&Tar::default().file("//etc///passwd", "inside").end()).unwrap();
    assert_eq!(ground.read("etc/passwd"), "inside");
    let inside = canary.strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    ground
        .unpack(&Tar::default().pax(&[("path", canary.to_str().unwrap().as_bytes())]).file("x", "in").end())
        .unwrap();
    assert_eq!(ground.read(&inside), "in");
}

#[test]
fn links_lead_nowhere_but_below_the_root() {
    for target in ["../canary", "../../../../../../../../tmp", "/proc/self/cwd", "."] {
        let ground = Ground::new();
        let outcome = ground.unpack(
            &Tar::default().symlink("out", target).file("out/file", "evil").file("out/sub/x", "evil").end(),
        );
        if let Err(error) = outcome {
            assert!(matches!(error, Error::Write { .. }), "{error}");
        }
    }
    let ground = Ground::new();
    let target = ground.canary().to_str().unwrap().to_owned();
    let layer = Tar::default().symlink("out", &target).file("out/file", "evil").end();
    ground.unpack(&layer).unwrap_err();
}

#[test]
fn a_write_through_a_link_to_a_file_replaces_the_link() {
    let ground = Ground::new();
    let target = ground.canary().join("file").to_str().unwrap().to_owned();
    ground.unpack(&Tar::default().symlink("x", &target).file("x", "mine").end()).unwrap();
    assert_eq!(ground.read("x"), "mine");
    assert!(!fs::symlink_metadata(ground.root().join("x")).unwrap().is_symlink());
}

#[test]
fn hard_links_reach_only_what_the_layer_has() {
    for target in ["../canary/file", "/canary/file", "out/file", "nothing", "dir", "."] {
        let ground = Ground::new();
        let layer = Tar::default().dir("dir").symlink("out", "../canary").hard_link("x", target).end();
        let error = ground.unpack(&layer).unwrap_err();
        assert!(matches!(&error, Error::LinkTarget { .. } | Error::UnsafePath { .. }), "{target}: {error}");
    }
    let ground = Ground::new();
    ground
        .unpack(
            &Tar::default()
                .file("a", "one")
                .hard_link("b", "./a")
                .hard_link("b", "a")
                .hard_link("a", "a")
                .end(),
        )
        .unwrap();
    assert_eq!(fs::metadata(ground.root().join("b")).unwrap().nlink(), 2);
    // A hard link to a link makes a second link; it does not follow the first.
    let target = ground.canary().join("file").to_str().unwrap().to_owned();
    ground.unpack(&Tar::default().symlink("l", &target).hard_link("m", "l").file("m", "evil").end()).unwrap();
}

#[test]
fn whiteouts_become_what_overlayfs_reads() {
    let ground = Ground::new();
    let layer =
        Tar::default().dir("d").file("d/.wh.gone", "").file("e/.wh..wh..opq", "").file("e/new", "n").end();
    ground.unpack(&layer).unwrap();
    assert!(is_whiteout(&ground.root().join("d/gone")));
    assert!(opaque(&ground.root().join("e")) && !opaque(&ground.root().join("d")));
}

#[test]
fn a_whiteout_never_removes_what_its_own_layer_has() {
    let layers = [
        Tar::default()
            .file("f", "kept")
            .file(".wh.f", "")
            .dir("d")
            .file("d/x", "kept")
            .file(".wh.d", "")
            .end(),
        Tar::default().file(".wh.f", "").file("f", "kept").file(".wh.d", "").file("d/x", "kept").end(),
    ];
    for layer in layers {
        let ground = Ground::new();
        ground.unpack(&layer).unwrap();
        assert_eq!((ground.read("f"), ground.read("d/x")), ("kept".to_owned(), "kept".to_owned()));
        assert!(opaque(&ground.root().join("d")), "the lower layers' directory must not show through");
    }
}

#[test]
fn whiteouts_that_name_nothing_or_lead_out_have_no_effect_outside() {
    for path in [".wh.", ".wh..", ".wh...", "a/.wh.", ".wh.a/b"] {
        let ground = Ground::new();
        let error = ground.unpack(&Tar::default().file(path, "").end()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{path}: {error}");
    }
    for name in [".wh.file", ".wh..wh..opq"] {
        let ground = Ground::new();
        let target = ground.canary().to_str().unwrap().to_owned();
        ground
            .unpack(&Tar::default().symlink("out", &target).file(&format!("out/{name}"), "").end())
            .unwrap_err();
        ground
            .unpack(&Tar::default().symlink("up", "../canary").file(&format!("up/{name}"), "").end())
            .unwrap_err();
        assert!(!opaque(&ground.canary()));
    }
    let ground = Ground::new();
    ground.unpack(&Tar::default().file(".wh..wh.plnk/1.2", "").file(".wh..wh.aufs", "").end()).unwrap();
    assert_eq!(fs::read_dir(ground.root()).unwrap().count(), 0);
}

#[test]
fn device_nodes_are_left_out_and_fifos_made() {
    let ground = Ground::new();
    let layer = Tar::default()
        .raw(b'3', b"dev/mem", b"", 0o666, b"")
        .raw(b'4', b"dev/sda", b"", 0o666, b"")
        .raw(b'3', b"hide", b"", 0, b"")
        .raw(b'6', b"fifo", b"", 0o640, b"")
        .end();
    let unpacked = ground.unpack(&layer).unwrap();
    assert_eq!(unpacked.skipped_devices, 3);
    assert!(!ground.root().join("dev/mem").exists() && !ground.root().join("hide").exists());
    let fifo = fs::metadata(ground.root().join("fifo")).unwrap();
    assert!(fifo.file_type().is_fifo());
    assert_eq!(fifo.mode() & 0o7777, 0o640);
}

#[test]
fn owners_modes_times_and_file_capabilities_are_kept() {
    let ground = Ground::new();
    // A version 2 capability set with newline bytes in it: cap_dac_override and cap_fowner are bits 1 and 3.
    let capability = [1, 0, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = Tar::default()
        .pax(&[
            ("uid", b"70000"),
            ("gid", b"50"),
            ("mtime", b"5.25"),
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.note", b"two\nlines"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.security.selinux", b"x"),
        ])
        .raw(b'0', b"bin", b"", 0o4755, b"#!")
        .raw(b'5', b"./", b"", 0o700, b"")
        .raw(b'5', b"locked/", b"", 0, b"")
        .file("locked/inside", "x")
        .end();
    let unpacked = ground.unpack(&layer).unwrap();
    assert_eq!((unpacked.dropped_xattrs, unpacked.root.unwrap().mode), (4, 0o700));
    let path = ground.root().join("bin");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (70000, 50, 0o4755));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (5, 250_000_000));
    let mut value = [0; 64];
    let length = rustix::fs::lgetxattr(&path, "security.capability", &mut value).unwrap();
    assert_eq!(&value[..length], capability);
    let length = rustix::fs::lgetxattr(&path, "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"two\nlines");
    assert!(!opaque(&path) && rustix::fs::lgetxattr(&path, "user.overlay.opaque", &mut value).is_err());
    assert_eq!(fs::metadata(ground.root().join("locked")).unwrap().mtime(), 1000);
}

#[test]
fn of_two_entries_of_one_name_the_later_counts() {
    let ground = Ground::new();
    let layer = Tar::default()
        .file("a", "1")
        .file("a", "2")
        .dir("d")
        .file("d/x", "x")
        .file("d", "file now")
        .file("e", "e")
        .dir("e")
        .file("e/x", "x")
        .symlink("s", "e")
        .dir("s")
        .file("s/y", "y")
        .dir("p")
        .file("p/1", "1")
        .symlink("p", "e")
        .file("p/2", "2")
        .end();
    ground.unpack(&layer).unwrap();
    assert_eq!(
        (ground.read("a"), ground.read("d"), ground.read("s/y")),
        ("2".into(), "file now".into(), "y".into())
    );
    assert!(!ground.root().join("e/y").exists());
    assert_eq!(
        ground.read("e/2"),
        "2",
        "the directory's remembered descriptor was used after it was replaced"
    );
}

#[test]
fn long_names_are_read_in_both_forms_and_two_at_once_are_refused() {
    let ground = Ground::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    ground
        .unpack(
            &Tar::default()
                .raw(b'L', b"././@LongLink", b"", 0, format!("{long}\0").as_bytes())
                .file("short", "gnu")
                .end(),
        )
        .unwrap();
    assert_eq!(ground.read(&long), "gnu");
    ground.unpack(&Tar::default().pax(&[("path", long.as_bytes())]).file("short", "pax").end()).unwrap();
    assert_eq!(ground.read(&long), "pax");
    let both = Tar::default().raw(b'L', b"l", b"", 0, b"one").pax(&[("path", b"two")]).file("x", "").end();
    assert!(matches!(ground.unpack(&both).unwrap_err(), Error::Malformed { .. }));
    let twice = Tar::default().pax(&[("path", b"one")]).pax(&[("path", b"two")]).file("x", "").end();
    assert!(matches!(ground.unpack(&twice).unwrap_err(), Error::Malformed { .. }));
    let global = Tar::default().raw(b'g', b"g", b"", 0, b"12 path=abc\n").file("x", "").end();
    assert!(matches!(ground.unpack(&global).unwrap_err(), Error::Malformed { .. }));
    let alone = Tar::default().pax(&[("path", b"one")]).end();
    assert!(matches!(ground.unpack(&alone).unwrap_err(), Error::Malformed { .. }));
}

#[test]
fn a_nul_in_a_name_and_an_owner_out_of_range_are_refused() {
    let ground = Ground::new();
    assert!(ground.unpack(&Tar::default().pax(&[("path", b"a\0b")]).file("x", "").end()).is_err());
    assert!(ground.unpack(&Tar::default().pax(&[("linkpath", b"a\0b")]).symlink("x", "y").end()).is_err());
    for uid in [&b"4294967295"[..], b"4294967296", b"-1", b"99999999999999999999"] {
        assert!(ground.unpack(&Tar::default().pax(&[("uid", uid)]).file("x", "").end()).is_err());
    }
}

#[test]
fn the_extended_size_counts_and_a_smuggled_entry_is_content() {
    let ground = Ground::new();
    let smuggled = Tar::default().file("smuggled", "").0;
    let size = smuggled.len().to_string();
    // The header says 0 bytes, the extended header says that the next block is content.
    let mut layer = Tar::default().pax(&[("size", size.as_bytes())]).file("outer", "").0;
    layer.extend_from_slice(&smuggled);
    ground.unpack(&Tar(layer).end()).unwrap();
    assert!(!ground.root().join("smuggled").exists());
    assert_eq!(fs::metadata(ground.root().join("outer")).unwrap().len(), smuggled.len() as u64);
}

#[test]
fn truncated_archives_and_garbage_behind_the_end_are_refused() {
    let whole = Tar::default().file("a", &"x".repeat(3000)).end();
    for length in [1, 511, 512, 600, 3512, 3583] {
        let error = Ground::new().unpack(&whole[..length]).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{length}: {error}");
    }
    // Between two entries a cut cannot be told from an end without its mark.
    assert!(!Ground::new().unpack(&whole[..3584]).unwrap().end_mark);
    assert!(Ground::new().unpack(&whole).unwrap().end_mark);
    let garbage = [whole.as_slice(), b"garbage"].concat();
    assert!(matches!(Ground::new().unpack(&garbage).unwrap_err(), Error::TrailingData { .. }));
    let hidden = [whole.clone(), whole.clone()].concat();
    assert!(matches!(Ground::new().unpack(&hidden).unwrap_err(), Error::TrailingData { .. }));
    let mut damaged = whole;
    damaged[0] ^= 1;
    assert!(matches!(Ground::new().unpack(&damaged).unwrap_err(), Error::Malformed { .. }));
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_compression_gives_the_same_layer_and_both_digests() {
    let plain = Tar::default().file("a", &"x".repeat(5000)).end();
    let (left, right) = plain.split_at(700);
    let forms = [
        plain.clone(),
        gzip(&plain),
        [gzip(left), gzip(right)].concat(),
        zstd::encode_all(&plain[..], 3).unwrap(),
        [zstd::encode_all(left, 3).unwrap(), zstd::encode_all(right, 3).unwrap()].concat(),
    ];
    for form in &forms {
        let ground = Ground::new();
        let unpacked = ground.unpack(form).unwrap();
        assert_eq!((unpacked.digest, unpacked.diff_id), (Digest::of(form), Digest::of(&plain)));
        assert_eq!((unpacked.compressed_bytes, unpacked.content_bytes), (form.len() as u64, 5000));
        assert_eq!(ground.read("a").len(), 5000);
    }
    for form in &forms[1..] {
        for cut in [form.len() - 1, form.len() / 2, 12] {
            Ground::new().unpack(&form[..cut]).unwrap_err();
        }
        Ground::new().unpack(&[form.as_slice(), b"garbage!"].concat()).unwrap_err();
        let mut damaged = form.clone();
        let middle = damaged.len() - 6;
        damaged[middle] ^= 0x55;
        Ground::new().unpack(&damaged).unwrap_err();
    }
}

#[test]
fn each_limit_holds_and_names_the_entry() {
    let limits = Limits {
        bytes: 1 << 20,
        entries: 5,
        path: 60,
        depth: 4,
        name: 20,
        metadata: 2048,
        ..Limits::default()
    };
    let layers = [
        Tar::default().file("a", &"x".repeat(2 << 20)).end(),
        (0..6).fold(Tar::default(), |tar, n| tar.file(&format!("{n}"), "")).end(),
        Tar::default().file("1/2/3/4/5", "").end(),
        Tar::default().file(&"n".repeat(21), "").end(),
        Tar::default().file(&"n/".repeat(40), "").end(),
        Tar::default().pax(&[("comment", &[b'x'; 4096])]).file("x", "").end(),
        gzip(&vec![0; 2 << 20]),
    ];
    for (number, layer) in layers.iter().enumerate() {
        let error = Ground::new().unpack_limited(layer, &limits).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{number}: {error}");
    }
    let bomb = zstd::encode_all(std::io::Read::take(std::io::repeat(0), 400 << 20), 1).unwrap();
    let error = Ground::new().unpack(&bomb).unwrap_err();
    assert!(matches!(error, Error::Limit { what: "times its compressed size", .. }), "{error}");
}

#[test]
fn other_forms_are_refused_by_name() {
    for start in [&b"\xfd7zXZ\0........"[..], b"BZh91AY&SY"] {
        let error = Ground::new().unpack(start).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    }
    for kind in *b"SMVD" {
        let error = Ground::new().unpack(&Tar::default().raw(kind, b"x", b"", 0, b"").end()).unwrap_err();
        assert!(matches!(&error, Error::Unsupported { entry, .. } if entry == "x"), "{error}");
    }
}

#[test]
fn trees_that_resist_are_removed() {
    let ground = Ground::new();
    let root = fs::File::open(ground.root()).unwrap();
    // 3000 levels: far beyond the longest path and the usual number of descriptors.
    let mut directory = rustix::fs::openat(&root, ".", rustix::fs::OFlags::RDONLY, 0.into()).unwrap();
    for name in std::iter::once("tree").chain(std::iter::repeat_n("d", 3000)) {
        rustix::fs::mkdirat(&directory, name, 0.into()).unwrap();
        directory = rustix::fs::openat(&directory, name, rustix::fs::OFlags::RDONLY, 0.into()).unwrap();
    }
    let tree = ground.root().join("tree");
    fs::write(tree.join("frozen"), "x").unwrap();
    std::os::unix::fs::symlink(ground.canary(), tree.join("out")).unwrap();
    let frozen = fs::File::open(tree.join("frozen")).unwrap();
    let flags = rustix::fs::IFlags::IMMUTABLE;
    rustix::fs::ioctl_setflags(&frozen, rustix::fs::ioctl_getflags(&frozen).unwrap() | flags).unwrap();
    let append = fs::File::open(&tree).unwrap();
    rustix::fs::ioctl_setflags(
        &append,
        rustix::fs::ioctl_getflags(&append).unwrap() | rustix::fs::IFlags::APPEND,
    )
    .unwrap();
    fs::set_permissions(ground.root(), fs::Permissions::from_mode(0o0)).unwrap();
    assert!(fs::remove_file(tree.join("frozen")).is_err(), "the file is not immutable here");

    remove_tree(root.as_fd(), "tree").unwrap();
    remove_tree(root.as_fd(), "tree").unwrap();
    assert_eq!(fs::read_dir(ground.root()).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(ground.canary().join("file")).unwrap(), "precious");
}
