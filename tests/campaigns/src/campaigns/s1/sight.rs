//! What a container sees of the host's mounts, and what names can do to an overlay's options.

use std::fs;
use std::path::Path;

use engine_tests::images::path_text;
use engine_tests::session::program;
use gdn_types::{ContainerSpec, ImageRef, ProcessSpec};
use rustix::mount::{MountFlags, mount};

use super::super::lab::{attempt, attempt_both, in_own_mounts, marked, of};
use crate::{Hostile, Images, Inside, Peer, Seen, Stage, Target, Verdict, Words};

const TABLE: [&str; 4] = ["cat", "/proc/self/mountinfo", "/proc/self/mounts", "/proc/self/mountstats"];

/// S1.18.
pub(super) fn mounts(stage: &mut Stage<'_>) {
    let neighbour = stage.bed().create(of(""));
    let scratch = path_text(stage.bed().engine().scratch());
    let tells = |seen: &Seen, names: &[&str]| {
        let told: Vec<_> = names.iter().filter(|name| seen.said().contains(**name)).collect();
        Verdict::held_unless(!told.is_empty(), || format!("{told:?} in {seen}"))
    };
    for privileged in [false, true] {
        let kind = if privileged { "privileged" } else { "unprivileged" };
        let mark = stage.bed().engine().mark();
        let names = [scratch.as_str(), neighbour.as_str(), mark.as_str(), "volumes/", "images/"];
        for sidecar in [false, true] {
            let place = if sidecar { "a sidecar" } else { "a process" };
            stage.case(format!("{place} of a {kind} container"), |bed| {
                let image = sidecar.then(|| ImageRef::uri(bed.image()));
                let spec = ContainerSpec { privileged, ..of(bed.image()) };
                attempt(bed, spec, |inside| {
                    tells(&inside.process(ProcessSpec { image: image.clone(), ..program(&TABLE) }), &names)
                })
            });
        }
    }
    stage
        .control("runc", |bed| tells(&Peer::new("runc", bed.rootfs(), |_| {}).run("0", &TABLE), &[&scratch]));
}

/// S1.19.
pub(super) fn overlay_options(stage: &mut Stage<'_>) {
    let bed = stage.bed();
    let secret = bed.canary().secret().to_owned();
    let host = bed.canary().path().join("directory").display().to_string();
    let works = |inside: &Inside<'_>| {
        let seen = inside.shell(
            "",
            "cat /file /directory/file /redirected/file; ls -a / /redirected; echo written > /written",
        );
        Verdict::held_unless(seen.everything().contains(&secret) || seen.stdout.contains("below"), || {
            seen.to_string()
        })
    };
    for (index, name) in
        [format!("low:{host}"), format!("low,upperdir={host}"), "low\\:x".into(), "low=x,".into()]
            .iter()
            .enumerate()
    {
        stage.case(format!("an image in a directory {}", name.replace(&host, "CANARY")), |bed| {
            let place =
                bed.engine().scratch().join(format!("s1.19-{index}")).join(name.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            let images = Images::new(&place, bed.rootfs());
            attempt_both(bed, &of(&images.plain("layout")), works)
        });
    }
    stage.case("a handle with colons", |bed| {
        let handle = gdn_types::Handle::parse("a:b:@upperdir").unwrap();
        attempt(bed, ContainerSpec { handle: Some(handle), ..of(bed.image()) }, works)
    });
    let images = Images::new(&stage.bed().engine().scratch().join("s1.19-layers"), stage.bed().rootfs());
    stage.case("501 layers", |bed| {
        let layers: Vec<_> = (0..500)
            .map(|number| Hostile::new().file(&format!("layer-{number}"), 0o644, b"").finish())
            .collect();
        attempt(bed, of(&images.layered("many", &layers, &Words::default())), works)
    });
    for kind in ["trusted", "user"] {
        stage.case(format!("{kind}.overlay attributes in a layer"), |bed| {
            let top = Hostile::new()
                .attribute(&format!("{kind}.overlay.redirect"), host.as_bytes())
                .dir("redirected", 0o755);
            let top = top.attribute(&format!("{kind}.overlay.opaque"), b"y").dir("etc", 0o755);
            attempt_both(bed, &of(&images.with(kind, top)), |inside| {
                let kept = inside.shell("", "cat /etc/passwd");
                // The directory would hide what lies below it.
                Verdict::all([
                    works(inside),
                    Verdict::held_unless(kept.status != Some(0), || kept.to_string()),
                ])
            })
        });
    }
    stage.control("an overlay whose layers are one text of paths", |bed| {
        let (decoy, place) = (bed.decoy(), marked(bed, "s1.19-control"));
        let layer = format!("{}:{}", place.join("low").display(), decoy.path().display());
        for directory in [&layer, place.join("low").to_str().unwrap(), place.join("shown").to_str().unwrap()]
        {
            fs::create_dir_all(Path::new(directory)).unwrap();
        }
        in_own_mounts(|| {
            let options = std::ffi::CString::new(format!("lowerdir={layer}")).unwrap();
            mount("overlay", place.join("shown"), "overlay", MountFlags::RDONLY, options.as_c_str()).unwrap();
            let seen = fs::read_to_string(place.join("shown/file")).unwrap_or_default();
            Verdict::held_unless(seen == decoy.secret(), || "a directory of the host became a layer".into())
        })
    });
}
