//! Kernel settings: where they are written to, and which may be asked for.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use gdn_types::{ContainerSpec, ErrorKind};

use super::super::lab::{attempt, bind, destroy, marked, of, untouched, with_binds};
use crate::{Bed, Racer, Stage, Verdict};

/// A setting of every network namespace.
const SETTING: (&str, &str) = ("net.ipv4.ip_forward", "1");

fn with_setting(spec: ContainerSpec, name: &str, value: &str) -> ContainerSpec {
    ContainerSpec { sysctls: vec![(name.into(), value.into())], ..spec }
}

/// S1.08: a client shows a volume of a hostile container over a part of procfs, and asks for a kernel setting.
pub(super) fn redirected(stage: &mut Stage<'_>) {
    let attempts = stage.attempts();
    let places = [("/proc/sys", "net/ipv4"), ("/proc/sys/net", "ipv4"), ("/proc/sys/net/ipv4", "")];
    for (target, below) in places {
        for privileged in [false, true] {
            let kind = if privileged { "privileged" } else { "unprivileged" };
            stage.case(format!("a volume on {target} of a {kind} container"), |bed| {
                let volume = marked(bed, &format!("s1.08{}-{kind}", target.replace('/', "-")));
                let place = volume.join(below);
                fs::create_dir_all(&place).unwrap();
                symlink(bed.canary().file(), place.join("ip_forward")).unwrap();
                link_limits(bed, &volume);
                fs::write(place.join("other"), "").unwrap();
                let spec = with_binds(of(bed.image()), vec![bind(&volume, target)]);
                let spec = ContainerSpec { privileged, ..with_setting(spec, SETTING.0, SETTING.1) };
                // Once at rest, so that the link is met for certain; then in motion.
                let resting = attempt(bed, spec.clone(), |_| Verdict::Held);
                let racer = Racer::exchange(&place, "ip_forward", "other");
                let moving = (1..attempts).map(|_| attempt(bed, spec.clone(), |_| Verdict::Held));
                let verdict = Verdict::all(std::iter::once(resting).chain(moving));
                racer.judged(verdict)
            });
        }
    }
    stage.control("a setting written by its path", |bed| {
        let decoy = bed.decoy();
        let volume = marked(bed, "s1.08-control");
        fs::create_dir_all(volume.join("net/ipv4")).unwrap();
        symlink(decoy.file(), volume.join("net/ipv4/ip_forward")).unwrap();
        write_by_path(&volume, SETTING.0, SETTING.1);
        Verdict::held_unless(!decoy.changes().is_empty(), || decoy.changes().join("; "))
    });
}

/// Links in the place of what an engine may set unasked: the limits of a user namespace, namespaces(7).
fn link_limits(bed: &Bed, volume: &Path) {
    let user = volume.join("user");
    fs::create_dir(&user).unwrap();
    for kind in ["user", "pid", "uts", "ipc", "net", "mnt", "cgroup", "time"] {
        symlink(bed.canary().file(), user.join(format!("max_{kind}_namespaces"))).unwrap();
    }
    for name in ["max_inotify_instances", "max_inotify_watches", "max_fanotify_groups", "max_fanotify_marks"]
    {
        symlink(bed.canary().file(), user.join(name)).unwrap();
    }
}

/// What a naive runtime does with a setting.
fn write_by_path(root: &Path, name: &str, value: &str) {
    let path = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    fs::write(root.join(path), value).unwrap();
}

/// S1.16: names and values that lead somewhere else.
pub(super) fn injected(stage: &mut Stage<'_>) {
    let settings: [(&str, &str); 10] = [
        ("net.ipv4.ip_forward+kernel.core_pattern", "1"),
        ("net.ipv4.ip_forward\nkernel.core_pattern", "|/bin/evil"),
        ("net.ipv4.ip_forward", "1\nkernel.core_pattern=|/bin/evil"),
        ("net/../kernel/core_pattern", "|/bin/evil"),
        ("net...kernel.core_pattern", "|/bin/evil"),
        ("/kernel/core_pattern", "|/bin/evil"),
        ("kernel.core_pattern", "|/bin/evil"),
        ("vm.overcommit_memory", "1"),
        ("kernel.shmmax/../../core_pattern", "|/bin/evil"),
        ("net.ipv4.ip_forward", "1\0|/bin/evil"),
    ];
    for (name, value) in settings {
        stage.case(format!("{name:?} = {value:?}"), |bed| {
            let before = host_settings();
            let refused = match bed.engine().try_create(with_setting(of(bed.image()), name, value)) {
                Ok(handle) => {
                    destroy(bed, &handle);
                    Verdict::Escaped("the engine took it".into())
                }
                Err(error) => Verdict::equal(error.kind(), ErrorKind::InvalidArgument).at(&error.report()),
            };
            Verdict::all([refused, Verdict::equal(host_settings(), before), untouched(bed)])
        });
    }
    stage.control("a setting written by its path", |bed| {
        let decoy = bed.decoy();
        let settings = decoy.path().join("directory/below");
        write_by_path(&settings, "../file", "|/bin/evil");
        Verdict::held_unless(!decoy.changes().is_empty(), || decoy.changes().join("; "))
    });
}

fn host_settings() -> Vec<String> {
    ["kernel/core_pattern", "vm/overcommit_memory", "kernel/shmmax", "net/ipv4/ip_forward"]
        .iter()
        .map(|name| fs::read_to_string(format!("/proc/sys/{name}")).unwrap())
        .collect()
}
