//! Targets of bind mounts that lead elsewhere.

use std::fs;
use std::path::Path;

use rustix::mount::mount_bind;

use super::super::lab::{
    all_inside, bind, create_and_look, in_own_mounts, marked, of, privileged, untouched, with_binds,
};
use crate::{Hostile, Images, Stage, Verdict};

/// Which source is mounted.
#[derive(Clone, Copy)]
enum Source {
    File,
    Directory,
}
use Source::{Directory, File};

/// Source and targets, on an image that has the links of [`links`].
const TARGETS: [(Source, &[&str]); 24] = [
    (Directory, &["/absolute"]),
    (Directory, &["/relative"]),
    (Directory, &["/dangling"]),
    (Directory, &["/parent"]),
    (Directory, &["/magic-root"]),
    (Directory, &["/magic-cwd"]),
    (Directory, &["/loop"]),
    (Directory, &["/absolute/below"]),
    (Directory, &["/absolute/new/deeper"]),
    (File, &["/absolute-file"]),
    (File, &["/dangling/file"]),
    (File, &["/directory"]),
    (Directory, &["/file"]),
    (File, &["/fifo"]),
    (Directory, &["/"]),
    (Directory, &["/proc"]),
    (Directory, &["/proc/self"]),
    (Directory, &["/proc/self/fd/3"]),
    (File, &["/dev/null"]),
    (Directory, &["/sys/kernel"]),
    (Directory, &["/twice", "/twice"]),
    (Directory, &["/outer/inner", "/outer"]),
    (Directory, &["/directory/../../../../escape"]),
    (Directory, &["DEEP"]),
];

fn links(host: &Path) -> Hostile {
    let directory = host.join("directory").display().to_string();
    Hostile::new()
        .link("absolute", &directory)
        .link("relative", &format!("../../../../..{directory}"))
        .link("dangling", &format!("{directory}/no-such"))
        .link("parent", "../../..")
        .link("magic-root", &format!("/proc/1/root{directory}"))
        .link("magic-cwd", "/proc/self/cwd/canary/directory")
        .link("loop", "loop")
        .link("absolute-file", &host.join("file").display().to_string())
        .dir("directory", 0o777)
        .file("file", 0o666, b"of the image")
        .fifo("fifo")
}

/// S1.11.
pub(super) fn targets(stage: &mut Stage<'_>) {
    let bed = stage.bed();
    let images = Images::new(&bed.engine().scratch().join("s1.11"), bed.rootfs());
    let image = images.with("links", links(bed.canary().path()));
    let source = marked(bed, "s1.11-source");
    let deep = "/d".repeat(2000);
    for (kind, targets) in TARGETS {
        stage.case(
            format!(
                "{} on {}",
                if matches!(kind, File) { "a file" } else { "a directory" },
                targets.join(", ")
            ),
            |bed| {
                let from = match kind {
                    File => source.join("marker"),
                    Directory => source.clone(),
                };
                let binds =
                    targets.iter().map(|target| bind(&from, if *target == "DEEP" { &deep } else { target }));
                let spec = with_binds(of(&image), binds.collect());
                let verdicts = [spec.clone(), privileged(&spec)].map(|spec| {
                    create_and_look(bed, spec, |bed, handle| all_inside(bed, handle, &source, targets.len()))
                });
                Verdict::all(verdicts.into_iter().chain([untouched(bed)]))
            },
        );
    }
    stage.control("a bind mount by its path", |bed| {
        let decoy = bed.decoy();
        let root = marked(bed, "s1.11-control");
        std::os::unix::fs::symlink(decoy.path().join("directory"), root.join("absolute")).unwrap();
        in_own_mounts(|| {
            mount_bind(&source, root.join("absolute")).unwrap();
            let seen = fs::read_to_string(decoy.path().join("directory/marker"));
            Verdict::held_unless(seen.is_ok(), || "the mount landed on a directory of the host".into())
        })
    });
}
