//! Somebody exchanges a directory of a shared volume with a link while mounts are made below it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use engine_tests::PATIENCE;
use gdn_types::ContainerSpec;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::super::lab::{
    all_inside, bind, create_and_look, in_own_mounts, marked, of, untouched, with_binds,
};
use crate::{Canary, Racer, Stage, Verdict};

/// Where the links lead that take turns with the directory.
fn targets(canary: &Canary) -> [PathBuf; 8] {
    let directory = canary.path().join("directory");
    let upwards = format!("../../../../../../../..{}", directory.display());
    let magic = format!("/proc/self/root{}", directory.display());
    [
        directory,
        upwards.into(),
        magic.into(),
        "/".into(),
        "/proc".into(),
        "/../../..".into(),
        "/sys".into(),
        "/dev".into(),
    ]
}

/// S1.09: mounts below the exchanged directory.
pub(super) fn mounts(stage: &mut Stage<'_>) {
    let attempts = stage.attempts();
    for count in 1..=8 {
        stage.case(format!("{count} mounts below"), |bed| {
            let target = targets(bed.canary())[count - 1].clone();
            let volume = marked(bed, &format!("s1.09-{count}"));
            let source = marked(bed, &format!("s1.09-source-{count}"));
            let racer = Racer::start(&volume, &target);
            let mut binds = vec![bind(&volume, "/volume")];
            binds.extend((0..count).map(|number| bind(&source, &format!("/volume/swap/{number}"))));
            let spec = with_binds(of(bed.image()), binds);
            let verdicts = (0..attempts).map(|attempt| {
                let spec = ContainerSpec { privileged: attempt % 2 == 1, ..spec.clone() };
                create_and_look(bed, spec, |bed, handle| all_inside(bed, handle, &source, count))
            });
            let verdict = Verdict::all(verdicts);
            let verdict = racer.judged(verdict);
            Verdict::all([verdict, untouched(bed)])
        });
    }
    stage.control("a directory checked, then mounted on by its path", |bed| {
        let decoy = bed.decoy();
        let (volume, source) = (marked(bed, "s1.09-control"), marked(bed, "s1.09-control-source"));
        let racer = Racer::start(&volume, &decoy.path().join("directory"));
        let swapped = volume.join("swap");
        let hit = in_own_mounts(|| {
            until_hit(|| {
                if !fs::symlink_metadata(&swapped).is_ok_and(|found| found.is_dir()) {
                    return false;
                }
                if mount_bind(&source, &swapped).is_err() {
                    return false;
                }
                let hit = decoy.path().join("directory/marker").exists();
                // Wherever it landed: the next round begins without it.
                for place in [decoy.path().join("directory"), volume.join("swap"), volume.join("other")] {
                    let _ = unmount(&place, UnmountFlags::DETACH);
                }
                hit
            })
        });
        hit_after(hit, &racer, "the mount landed on a directory of the host")
    });
}

/// S1.10: directories are made below the exchanged one.
pub(super) fn directories(stage: &mut Stage<'_>) {
    let attempts = stage.attempts();
    for index in 0..4 {
        stage.case(format!("directories below a link of kind {}", index + 1), |bed| {
            let target = targets(bed.canary())[index].clone();
            let volume = marked(bed, &format!("s1.10-{index}"));
            let racer = Racer::start(&volume, &target);
            let source = marked(bed, &format!("s1.10-source-{index}"));
            let verdicts = (0..attempts).map(|attempt| {
                // Names of its own for each attempt: what is there need not be made.
                let binds = vec![
                    bind(&volume, "/volume"),
                    bind(&source, &format!("/volume/swap/{attempt}/b/c")),
                    bind(&source.join("marker"), &format!("/volume/swap/{attempt}/d/file")),
                ];
                let spec = with_binds(of(bed.image()), binds);
                let spec = ContainerSpec { privileged: attempt % 2 == 1, ..spec };
                create_and_look(bed, spec, |_, _| Verdict::Held)
            });
            let verdict = Verdict::all(verdicts);
            let verdict = racer.judged(verdict);
            let strays: Vec<_> =
                (0..attempts).filter(|name| Path::new("/").join(name.to_string()).exists()).collect();
            Verdict::all([verdict, untouched(bed), Verdict::equal(strays, Vec::<u32>::new())])
        });
    }
    stage.control("a directory checked, then filled by its path", |bed| {
        let decoy = bed.decoy();
        let volume = marked(bed, "s1.10-control");
        let racer = Racer::start(&volume, &decoy.path().join("directory"));
        let swapped = volume.join("swap");
        let mut number = 0_u32;
        let hit = until_hit(|| {
            number += 1;
            if fs::symlink_metadata(&swapped).is_ok_and(|found| found.is_dir()) {
                // It fails when the link dangles for a moment; the next round tries again.
                let _ = fs::create_dir_all(swapped.join(format!("{number}/b")));
            }
            decoy.path().join(format!("directory/{number}")).exists()
        });
        hit_after(hit, &racer, "directories were made on the host")
    });
}

/// Tries until it succeeds, and tells after how many rounds.
pub(in crate::campaigns) fn until_hit(mut attempt: impl FnMut() -> bool) -> Option<u64> {
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < PATIENCE {
        rounds += 1;
        if attempt() {
            return Some(rounds);
        }
    }
    None
}

/// What it means that a race was won, or was not.
pub(in crate::campaigns) fn hit_after(hit: Option<u64>, racer: &Racer, evidence: &str) -> Verdict {
    match hit {
        Some(rounds) => {
            Verdict::Escaped(format!("{evidence} in round {rounds}, after {} exchanges", racer.swaps()))
        }
        None => Verdict::Held,
    }
}
