//! What a root file system has where the kernel's own file systems are to be shown.

use std::fs;
use std::path::Path;

use engine_tests::session::script;
use gdn_types::{ProcessSpec, WindowSize};
use rustix::mount::{MountFlags, mount, mount_bind};

use super::super::lab::{attempt, attempt_both, bind, in_own_mounts, marked, of, privileged, with_binds};
use crate::{Bed, Hostile, Images, Inside, Peer, Racer, Stage, Target, Verdict};

/// Up from anywhere to the host's root, if `..` goes that far.
const UP: &str = "../../../../../../../../../../../..";

/// S1.04: `/proc` and `/sys` are something else.
pub(super) fn kernel_directories(stage: &mut Stage<'_>) {
    let images = images(stage, "s1.04");
    let volume = marked(stage.bed(), "s1.04-volume");
    for (name, kind) in [("proc", "9fa0"), ("sys", "62656572")] {
        let host = stage.bed().canary().path().join("directory").display().to_string();
        let shapes: [(&str, Hostile); 6] = [
            ("an absolute link", Hostile::new().link(name, &host)),
            ("a relative link", Hostile::new().link(name, &format!("{UP}{host}"))),
            ("a link to a volume", Hostile::new().link(name, "volume")),
            ("a file", Hostile::new().file(name, 0o666, b"")),
            ("a fifo", Hostile::new().fifo(name)),
            ("missing", Hostile::new()),
        ];
        for (shape, top) in shapes {
            stage.case(format!("/{name} is {shape}"), |bed| {
                let tag = format!("{name}-{}", shape.replace(' ', "-"));
                let spec = of(&images.with(&tag, top));
                let spec = with_binds(spec, vec![bind(&volume, "/volume")]);
                attempt_both(bed, &spec, |inside| {
                    let seen = inside.run("", &["stat", "-f", "-c", "%t", &format!("/{name}")]);
                    Verdict::equal(seen.said(), kind)
                })
            });
        }
    }
    stage.control("procfs mounted by its path", |bed| {
        let decoy = bed.decoy();
        let root = images.directory("control");
        std::os::unix::fs::symlink(decoy.path().join("directory"), root.join("proc")).unwrap();
        in_own_mounts(|| {
            mount("proc", root.join("proc"), "proc", MountFlags::empty(), None).unwrap();
            let seen = decoy.path().join("directory/self").is_symlink();
            Verdict::held_unless(seen, || "procfs shows in a directory of the host".into())
        })
    });
}

/// S1.05: `/dev` is a link.
pub(super) fn devices(stage: &mut Stage<'_>) {
    let images = images(stage, "s1.05");
    let volume = marked(stage.bed(), "s1.05-volume");
    let host = stage.bed().canary().path().join("directory").display().to_string();
    let shapes: [(&str, Hostile); 4] = [
        ("an absolute link", Hostile::new().link("dev", &host)),
        ("a link upwards", Hostile::new().link("dev", &format!("{UP}{host}"))),
        (
            "a chain of links",
            Hostile::new().link("dev", "first").link("first", "second").link("second", &host),
        ),
        ("a link through a volume", Hostile::new().link("dev", "volume/outside")),
    ];
    std::os::unix::fs::symlink(&host, volume.join("outside")).unwrap();
    for (index, (shape, top)) in shapes.into_iter().enumerate() {
        let spec = of(&images.with(&format!("shape-{index}"), top));
        let spec = with_binds(spec, vec![bind(&volume, "/volume")]);
        let on_tmpfs = |inside: &Inside<'_>| Verdict::equal(inside.run("", &KIND_OF_DEV).said(), "1021994");
        stage.case(format!("/dev is {shape}"), |bed| attempt(bed, spec.clone(), on_tmpfs));
        stage.case(format!("/dev is {shape}, with more devices"), |bed| {
            attempt(bed, privileged(&spec), on_tmpfs)
        });
        stage.case(format!("/dev is {shape}, with a terminal"), |bed| {
            attempt_both(bed, &spec, |inside| {
                let seen = inside.process(on_a_terminal(script("stat -f -c %t /dev")));
                Verdict::equal(seen.said(), "1021994")
            })
        });
    }
    for program in ["runc", "crun"] {
        stage.control(program, |bed| {
            let decoy = bed.decoy();
            let root = images.directory(&format!("control-{program}"));
            std::os::unix::fs::symlink(decoy.path().join("directory"), root.join("dev")).unwrap();
            fs::create_dir(root.join("proc")).unwrap();
            Peer::new(program, &root, |config| {
                let mounts = config["mounts"].as_array_mut().unwrap();
                mounts.retain(|mount| mount["destination"] == "/proc");
            })
            .run("0", &["true"]);
            Verdict::held_unless(!decoy.changes().is_empty(), || decoy.changes().join("; "))
        });
    }
}

const KIND_OF_DEV: [&str; 5] = ["stat", "-f", "-c", "%t", "/dev"];

/// S1.06: what covers a masked path is taken from the container.
pub(super) fn null_device(stage: &mut Stage<'_>) {
    let images = images(stage, "s1.06");
    let targets =
        [("sysrq-trigger", "/proc/sysrq-trigger"), ("core_pattern", "/proc/sys/kernel/core_pattern")];
    for (shape, target) in
        targets.into_iter().map(|(name, target)| (name, Some(target))).chain([("a file", None)])
    {
        let named = shape.replace(' ', "-");
        stage.case(format!("the image's /dev/null is {shape}"), |bed| {
            let top = Hostile::new().dir("dev", 0o755);
            let top = match target {
                Some(target) => top.link("dev/null", target),
                None => top.file("dev/null", 0o666, b"no device"),
            };
            attempt(bed, of(&images.with(&named, top)), masked)
        });
        stage.case(format!("a volume on /dev has {shape} as null"), |bed| {
            let volume = marked(bed, &format!("s1.06-{named}"));
            match target {
                Some(target) => std::os::unix::fs::symlink(target, volume.join("null")).unwrap(),
                None => fs::write(volume.join("null"), "no device").unwrap(),
            }
            attempt(bed, with_binds(of(bed.image()), vec![bind(&volume, "/dev")]), masked)
        });
    }
    for (name, target) in targets.into_iter().chain([("the canary", "canary")]) {
        let attempts = stage.attempts();
        stage.case(format!("null on a shared /dev changes between a file and a link to {name}"), |bed| {
            let volume = marked(bed, &format!("s1.06-race-{}", name.replace(' ', "-")));
            let target = if target == "canary" { bed.canary().file() } else { target.into() };
            fs::write(volume.join("null"), "no device").unwrap();
            std::os::unix::fs::symlink(target, volume.join("other")).unwrap();
            let racer = Racer::exchange(&volume, "null", "other");
            let spec = with_binds(of(bed.image()), vec![bind(&volume, "/dev")]);
            let verdicts = (0..attempts).map(|_| attempt(bed, spec.clone(), masked));
            let verdict = Verdict::all(verdicts);
            racer.judged(verdict)
        });
    }
    stage.control("a mask bound from the image's /dev/null", |_| {
        let root = images.directory("control");
        fs::create_dir(root.join("dev")).unwrap();
        fs::write(root.join("masked"), "of the host").unwrap();
        std::os::unix::fs::symlink(root.join("etc/passwd"), root.join("dev/null")).unwrap();
        in_own_mounts(|| {
            mount_bind(root.join("dev/null"), root.join("masked")).unwrap();
            let seen = fs::read_to_string(root.join("masked")).unwrap();
            Verdict::held_unless(!seen.is_empty(), || "the mask shows a file of the image's choice".into())
        })
    });
}

/// Each masked file is the null device (or not there), each masked directory empty, and the host's settings are as before.
fn masked(inside: &Inside<'_>) -> Verdict {
    let pattern = || fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let before = pattern();
    let files = "for f in kcore keys timer_list latency_stats sched_debug; do \
                 [ ! -e /proc/$f ] || stat -c %t:%T /proc/$f; done | sort -u; ls -A /sys/firmware /proc/scsi | grep -v :$";
    let seen = inside.shell("", files);
    let lines: Vec<_> = seen.stdout.lines().filter(|line| !line.is_empty()).collect();
    Verdict::all([Verdict::equal(lines, vec!["1:3"]).at(&seen.stderr), Verdict::equal(pattern(), before)])
}

/// A name, where the volume is mounted, and what is in it.
type Console = (&'static str, &'static str, fn(&Bed, &Path));

/// S1.07: the terminal is taken from what the container shows as one.
pub(super) fn consoles(stage: &mut Stage<'_>) {
    let attempts = stage.attempts();
    let shapes: [Console; 3] = [
        ("a volume on /dev/pts has links as terminals", "/dev/pts", |bed, volume| {
            for name in ["0", "1", "2", "ptmx"] {
                std::os::unix::fs::symlink(bed.canary().file(), volume.join(name)).unwrap();
            }
        }),
        ("a volume on /dev has ptmx and console as links", "/dev", |bed, volume| {
            for name in ["ptmx", "console", "tty"] {
                std::os::unix::fs::symlink(bed.canary().file(), volume.join(name)).unwrap();
            }
        }),
        ("terminals on a shared /dev/pts change into links", "/dev/pts", |bed, volume| {
            fs::write(volume.join("0"), "no terminal").unwrap();
            std::os::unix::fs::symlink(bed.canary().file(), volume.join("other")).unwrap();
        }),
    ];
    for (index, (name, target, prepare)) in shapes.into_iter().enumerate() {
        stage.case(name, |bed| {
            let volume = marked(bed, &format!("s1.07-{index}"));
            prepare(bed, &volume);
            let racer = (index == 2).then(|| Racer::exchange(&volume, "0", "other"));
            let spec = with_binds(of(bed.image()), vec![bind(&volume, target)]);
            let verdict = attempt_both(bed, &spec, |inside| {
                let shown = on_a_terminal(script("stat -L -c %t /proc/self/fd/0 /proc/self/fd/1"));
                // 88 is the major number of Unix 98 terminals, 136.
                let seen =
                    (0..attempts).map(|_| Verdict::equal(inside.process(shown.clone()).said(), "88\r\n88"));
                Verdict::all(seen)
            });
            match racer {
                Some(racer) => racer.judged(verdict),
                None => verdict,
            }
        });
    }
    stage.control("a terminal opened by its name", |bed| {
        let decoy = bed.decoy();
        let volume = marked(bed, "s1.07-control");
        std::os::unix::fs::symlink(decoy.file(), volume.join("0")).unwrap();
        fs::write(volume.join("0"), "typed into a file of the host").unwrap();
        Verdict::held_unless(!decoy.changes().is_empty(), || decoy.changes().join("; "))
    });
}

fn on_a_terminal(spec: ProcessSpec) -> ProcessSpec {
    ProcessSpec { tty: Some(WindowSize::default()), ..spec }
}

fn images(stage: &mut Stage<'_>, name: &str) -> Images {
    let bed = stage.bed();
    Images::new(&bed.engine().scratch().join(name), bed.rootfs())
}
