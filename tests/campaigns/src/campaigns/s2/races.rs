//! Somebody exchanges the directory of a copy with a link while it runs.

use std::fs;
use std::path::{Path, PathBuf};

use gdn_types::{ContainerSpec, Handle};

use super::super::lab::{
    bind, create_and_look, destroy, marked, of, stream_in, stream_out, untouched, with_binds,
};
use super::super::s1::{hit_after, until_hit};
use crate::{Bed, Canary, Hostile, Racer, Stage, Target, Verdict};

/// A name that no host has.
const STRAY: &str = "gdn-campaign-stray";

#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

/// Where the links lead that take turns with the directory.
fn targets(canary: &Canary) -> [String; 6] {
    let host = canary.path().display();
    [
        host.to_string(),
        format!("../../../../../..{host}"),
        format!("/proc/1/root{host}"),
        format!("/proc/self/root/../..{host}"),
        "/".into(),
        "/proc/self/cwd".into(),
    ]
}

/// S2.01: in the container's own root.
pub(super) fn directories(stage: &mut Stage<'_>) {
    let attempts = stage.attempts();
    for index in 0..6 {
        for (way, name) in [(Way::In, "into"), (Way::Out, "out of")] {
            let target = targets(stage.bed().canary())[index].clone();
            stage.case(format!("{name} a directory that changes with a link of kind {}", index + 1), |bed| {
                let make = format!(
                    "mkdir -p /race/swap && ln -s {target} /race/other && echo inside > /race/swap/file && chmod 777 /race/swap"
                );
                let both = [false, true].map(|privileged| {
                    let handle = bed.create(ContainerSpec { privileged, ..of("") });
                    bed.inside(&handle).shell("", &make).said();
                    let place = PathBuf::from(format!("/proc/{}/root/race", bed.engine().init_pid(handle.as_str())));
                    let racer = Racer::exchange(&place, "swap", "other");
                    let verdict = copies(bed, &handle, "/race/swap", way, attempts / 2 + 1);
                    let verdict = racer.judged(verdict);
                    destroy(bed, &handle);
                    verdict
                });
                Verdict::all(both.into_iter().chain([untouched(bed)]))
            });
        }
    }
    controls(stage);
}

/// S2.04: in a volume that is shared with others, while containers with mounts below it come and go.
pub(super) fn volumes(stage: &mut Stage<'_>) {
    let attempts = stage.attempts();
    for index in [0, 1, 4] {
        for (way, name) in [(Way::In, "into"), (Way::Out, "out of")] {
            let target = targets(stage.bed().canary())[index].clone();
            stage.case(format!("{name} a volume with a link of kind {}", index + 1), |bed| {
                let volume = marked(bed, &format!("s2.04-{index}-{}", name.replace(' ', "-")));
                let source = marked(bed, &format!("s2.04-{index}-{}-source", name.replace(' ', "-")));
                let racer = Racer::start(&volume, Path::new(&target));
                let shared = with_binds(of(bed.image()), vec![bind(&volume, "/volume")]);
                let below = with_binds(
                    of(bed.image()),
                    vec![bind(&volume, "/volume"), bind(&source, "/volume/swap/below")],
                );
                let handle = bed.create(ContainerSpec { privileged: true, ..shared });
                let rounds = (0..attempts).map(|attempt| {
                    if attempt % 10 == 0 {
                        create_and_look(bed, below.clone(), |_, _| Verdict::Held);
                    }
                    copies(bed, &handle, "/volume/swap", way, 1)
                });
                let verdict = Verdict::all(rounds);
                let verdict = racer.judged(verdict);
                destroy(bed, &handle);
                Verdict::all([verdict, untouched(bed)])
            });
        }
    }
    controls(stage);
}

/// Copies so often; what comes out is never the canary's, and what goes in never shows on the host.
fn copies(bed: &Bed, handle: &Handle, path: &str, way: Way, attempts: u32) -> Verdict {
    let secret = bed.canary().secret();
    let tar = Hostile::new()
        .file(STRAY, 0o644, b"stray")
        .dir("below", 0o755)
        .file("below/file", 0o644, b"x")
        .finish();
    Verdict::all((0..attempts).map(|attempt| match way {
        // Half of what is tried must fail: the link leads nowhere.
        Way::In => {
            drop(stream_in(bed, handle, "", path, tar.clone()));
            let strays = ["/", "/proc/self/cwd"].map(|place| Path::new(place).join(STRAY).exists());
            Verdict::equal(strays, [false; 2])
        }
        Way::Out => {
            let path = format!("{path}/{}", ["", "file", "directory/file"][attempt as usize % 3]);
            let came = stream_out(bed, handle, "", &path).unwrap_or_default();
            let stolen = came.windows(secret.len()).any(|window| window == secret.as_bytes());
            Verdict::held_unless(stolen, || format!("{path} brought a file of the host"))
        }
    }))
}

/// One who looks at a path and then uses it, as the host's root.
fn controls(stage: &mut Stage<'_>) {
    stage.control("files written by a path that was checked before", |bed| {
        let decoy = bed.decoy();
        let volume = race_of(&decoy);
        let racer = Racer::start(&volume, &decoy.path().join("directory"));
        let swapped = volume.join("swap");
        let hit = until_hit(|| {
            if fs::symlink_metadata(&swapped).is_ok_and(|found| found.is_dir()) {
                // A link that dangles for a moment is no hit.
                let _ = fs::write(swapped.join(STRAY), "stray");
            }
            decoy.path().join("directory").join(STRAY).exists()
        });
        hit_after(hit, &racer, "a file was written on the host")
    });
    stage.control("files read by a path that was checked before", |bed| {
        let decoy = bed.decoy();
        let volume = race_of(&decoy);
        let racer = Racer::start(&volume, &decoy.path().join("directory"));
        let swapped = volume.join("swap");
        let hit = until_hit(|| {
            fs::symlink_metadata(&swapped).is_ok_and(|found| found.is_dir())
                && fs::read_to_string(swapped.join("file")).is_ok_and(|text| text == decoy.secret())
        });
        hit_after(hit, &racer, "a file of the host was read")
    });
}

/// A volume beside a decoy.
fn race_of(decoy: &Canary) -> PathBuf {
    let volume = decoy.path().with_extension("volume");
    fs::create_dir(&volume).unwrap();
    volume
}
