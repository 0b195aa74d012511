//! Libraries, configurations and programs of the image that a helper of the host might use.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::inotify;

use super::super::lab::{destroy, of, stream_in, stream_out, untouched};
use crate::targets::finish;
use crate::{Bed, Hostile, Images, Stage, Target, Verdict};

/// What a program of the host would load or read after it has changed its root.
const LIBRARIES: [&str; 3] = [
    "etc/ld.so.preload",
    "lib/x86_64-linux-gnu/libnss_files.so.2",
    "usr/lib/x86_64-linux-gnu/gconv/gconv-modules",
];

/// What engines have run inside or out of an image, and how a stream for it begins.
const PROGRAMS: [(&str, &[u8]); 6] = [
    ("tar", b""),
    ("xz", b"\xfd7zXZ\0"),
    ("gzip", b"\x1f\x8b\x08"),
    ("unpigz", b"\x1f\x8b\x08"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("bzip2", b"BZh9"),
];
const DIRECTORIES: [&str; 6] = ["bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin"];

/// Leaves a trace.
const TROJAN: &[u8] = b"#!/bin/sh\n: > /tmp/trojan-was-here\n";

/// Tells whether some files were opened.
struct Watch(OwnedFd);

impl Watch {
    fn of(files: &[PathBuf]) -> Self {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let watch = inotify::init(flags).unwrap();
        for file in files {
            inotify::add_watch(&watch, file, inotify::WatchFlags::OPEN).unwrap();
        }
        Watch(watch)
    }

    fn saw_something(&self) -> bool {
        let mut events = [0; 4096];
        rustix::io::read(&self.0, &mut events).is_ok_and(|length| length > 0)
    }
}

/// S2.02.
pub(super) fn libraries(stage: &mut Stage<'_>) {
    let images = images(stage, "s2.02");
    for (index, library) in LIBRARIES.into_iter().enumerate() {
        let image =
            images.with(&format!("poison-{index}"), Hostile::new().file(library, 0o755, b"/lib/evil.so\n"));
        for way in ["in", "out"] {
            stage.case(format!("/{library}, a copy {way}"), |bed| {
                nothing_is_opened(bed, &image, &[library.to_owned()], way, b"")
            });
        }
    }
    stage.control("a dynamic program of the host in the container's root", |_| {
        let root = images.directory("control");
        for (from, to) in
            [("/bin/true", "bin/helper"), ("/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2")]
        {
            fs::create_dir_all(root.join(to).parent().unwrap()).unwrap();
            fs::copy(from, root.join(to)).unwrap();
        }
        fs::write(root.join(LIBRARIES[0]), "/lib/evil.so\n").unwrap();
        let watch = Watch::of(&[root.join(LIBRARIES[0])]);
        in_root(&root, "/bin/helper");
        Verdict::held_unless(watch.saw_something(), || "it looked for libraries to load".into())
    });
}

/// S2.03.
pub(super) fn programs(stage: &mut Stage<'_>) {
    let images = images(stage, "s2.03");
    for (name, magic) in PROGRAMS {
        let paths = DIRECTORIES.map(|directory| format!("{directory}/{name}"));
        let top = paths.iter().fold(Hostile::new(), |top, path| top.file(path, 0o755, TROJAN));
        let image = images.with(name, top);
        for way in ["in", "out"] {
            stage.case(format!("{name} in every directory of programs, a copy {way}"), |bed| {
                nothing_is_opened(bed, &image, &paths, way, magic)
            });
        }
    }
    stage.control("the image's tar, run for a copy", |_| {
        let root = images.directory("control");
        let program = root.join("bin/tar");
        fs::remove_file(&program).unwrap();
        fs::write(&program, TROJAN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        in_root(&root, "/bin/tar");
        Verdict::held_unless(root.join("tmp/trojan-was-here").exists(), || "the trojan ran".into())
    });
}

/// Runs a program in a changed root, as a careless engine does.
fn in_root(root: &Path, program: &str) {
    let mut command = Command::new("chroot");
    command.arg(root).arg(program);
    finish(command);
}

/// Copies as a user who is looked up, and with a stream that begins like this.
fn nothing_is_opened(bed: &Bed, image: &str, paths: &[String], way: &str, magic: &[u8]) -> Verdict {
    let handle = bed.create(of(image));
    let root = PathBuf::from(format!("/proc/{}/root", bed.engine().init_pid(handle.as_str())));
    let watch = Watch::of(&paths.iter().map(|path| root.join(path)).collect::<Vec<_>>());
    let plain = Hostile::new().file("file", 0o644, b"x").finish();
    for (user, place) in [("", "/tmp/root"), ("alice", "/tmp/alice")] {
        if way == "in" {
            stream_in(bed, &handle, user, place, plain.clone()).unwrap();
            let compressed = [magic, &plain].concat();
            let taken = stream_in(bed, &handle, user, place, compressed);
            assert_eq!(taken.is_err(), !magic.is_empty(), "only a plain tar is one");
        } else {
            stream_out(bed, &handle, user, "/etc/passwd").unwrap();
        }
    }
    let verdict = Verdict::held_unless(watch.saw_something(), || "a file of the image was opened".into());
    let traced = bed.inside(&handle).run("", &["ls", "/tmp/trojan-was-here"]);
    destroy(bed, &handle);
    Verdict::all([
        verdict,
        Verdict::held_unless(traced.status == Some(0), || "the trojan ran".into()),
        untouched(bed),
    ])
}

fn images(stage: &mut Stage<'_>, name: &str) -> Images {
    let bed = stage.bed();
    Images::new(&bed.engine().scratch().join(name), bed.rootfs())
}
