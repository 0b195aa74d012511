//! What the author of an image writes about it: words that must stay words.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};

use super::super::lab::{attempt, attempt_both, marked, of};
use crate::{Hostile, Images, Inside, Stage, Target, Verdict, Words};

/// S1.12: volumes of the image's configuration.
pub(super) fn volumes(stage: &mut Stage<'_>) {
    let bed = stage.bed();
    let images = Images::new(&bed.engine().scratch().join("s1.12"), bed.rootfs());
    let canary = bed.canary().path().display().to_string();
    let secret = bed.canary().secret().to_owned();
    let top = Hostile::new()
        .link("v", "/etc")
        .link("w", &canary)
        .link("x", &format!("../../../..{canary}"))
        .finish();
    let volumes = [
        format!("/../..{canary}"),
        "/v".to_owned(),
        "/w".to_owned(),
        "/x/directory".to_owned(),
        format!("../../../../../..{canary}"),
        format!("/proc/self/root/..{canary}"),
    ];
    for (index, volume) in volumes.into_iter().enumerate() {
        stage.case(format!("a volume at {}", volume.replace(&canary, "CANARY")), |bed| {
            let mut named = Map::new();
            named.insert(volume.clone(), json!({}));
            let words = Words { config: json!({ "Volumes": named }), annotations: Value::Null };
            let image = images.layered(&format!("volume-{index}"), std::slice::from_ref(&top), &words);
            attempt_both(bed, &of(&image), |inside| {
                let shadow = fs::read_to_string("/etc/shadow").unwrap();
                let line = shadow.lines().next().unwrap_or("no shadow");
                let script = format!("cat /etc/shadow /v/shadow /w/file /x/file '{volume}/file' .{volume}/file; grep -rsh secret-of /etc /tmp /root");
                let seen = inside.shell("", &script).everything();
                Verdict::held_unless(seen.contains(&secret) || seen.contains(line), || format!("it reads {seen}"))
            })
        });
    }
    stage.control("the files of a volume copied by its path", |bed| {
        let (decoy, root) = (bed.decoy(), marked(bed, "s1.12-control"));
        std::os::unix::fs::symlink(decoy.path(), root.join("w")).unwrap();
        let copied = fs::read_to_string(root.join("w").join("file")).unwrap();
        Verdict::held_unless(copied == decoy.secret(), || "a file of the host came into the volume".into())
    });
}

/// Labels and annotations that some engine has obeyed, or does. The word `PROGRAM` is a program of the host.
const MAGIC: [(&str, &str); 40] = [
    ("io.containerd.log.uri", "binary://PROGRAM"),
    ("containerd.io/restart.loguri", "binary://PROGRAM"),
    ("containerd.io/restart.logpath", "PROGRAM"),
    ("containerd.io/restart.status", "running"),
    ("containerd.io/runtime", "PROGRAM"),
    ("io.containerd.runc.v2.group", "PROGRAM"),
    ("io.containerd.snapshotter", "PROGRAM"),
    ("io.kubernetes.cri-o.TrySkipVolumeSELinuxLabel", "true"),
    ("io.kubernetes.cri-o.userns-mode", "auto:size=65536"),
    ("io.kubernetes.cri-o.Devices", "/dev/mem:/dev/mem:rwm"),
    ("io.kubernetes.cri-o.LinkLogs", "/"),
    ("io.kubernetes.cri-o.ShmSize", "9999999999"),
    ("io.kubernetes.cri-o.seccompProfile", "unconfined"),
    ("io.kubernetes.cri-o.umask", "0000"),
    ("io.kubernetes.cri-o.UnifiedCgroup", "memory.max=max"),
    ("io.kubernetes.cri-o.PodLinuxOverhead", "{}"),
    ("seccomp-profile.kubernetes.cri-o.io", "unconfined"),
    ("io.systemd.DeviceAllow", "/dev/mem rwm"),
    ("org.systemd.property.ExecStartPre", "'PROGRAM'"),
    ("org.systemd.property.CollectMode", "'inactive-or-failed'"),
    ("org.systemd.property.TimeoutStopUSec", "uint64 1"),
    ("run.oci.hooks.stdout", "PROGRAM"),
    ("run.oci.hooks.stderr", "PROGRAM"),
    ("run.oci.handler", "krun"),
    ("run.oci.keep_original_groups", "1"),
    ("run.oci.systemd.subgroup", "../.."),
    ("run.oci.delegate-cgroup", "/.."),
    ("run.oci.mount_context_type", "rootcontext"),
    ("run.oci.seccomp.receiver", "/run/evil.sock"),
    ("run.oci.seccomp_bpf_file", "PROGRAM"),
    ("run.oci.pidfd_receiver", "/run/evil.sock"),
    ("module.wasm.image/variant", "compat"),
    ("io.katacontainers.config.hypervisor.path", "PROGRAM"),
    ("io.katacontainers.config.runtime.create_container_timeout", "PROGRAM"),
    ("cdi.k8s.io/evil", "vendor.com/device=all"),
    ("dev.gvisor.flag.overlay2", "none"),
    ("com.docker.plugin.exec", "PROGRAM"),
    ("garden.privileged", "true"),
    ("org.cloudfoundry.experimental.image.base-directory", "/"),
    ("org.opencontainers.runtime.hooks.createRuntime", "PROGRAM"),
];

/// S1.20.
pub(super) fn magic(stage: &mut Stage<'_>) {
    let bed = stage.bed();
    let images = Images::new(&bed.engine().scratch().join("s1.20"), bed.rootfs());
    let (program, trace) = tattling(&bed.engine().scratch().join("s1.20-program"));
    let mut plain = String::new();
    attempt(bed, of(&images.plain("plain")), |inside| {
        plain = what_it_may(inside);
        Verdict::Held
    });
    for (index, (key, value)) in MAGIC.into_iter().enumerate() {
        stage.case(format!("{key} = {value}"), |bed| {
            let value = value.replace("PROGRAM", program.to_str().unwrap());
            let mut said = Map::new();
            said.insert(key.to_owned(), value.into());
            let words = Words { config: json!({ "Labels": said }), annotations: Value::Object(said) };
            let verdict = attempt(bed, of(&images.saying(&format!("magic-{index}"), &words)), |inside| {
                Verdict::equal(what_it_may(inside), plain.clone())
            });
            Verdict::all([
                verdict,
                Verdict::held_unless(trace.exists(), || format!("{} was run", program.display())),
            ])
        });
    }
    stage.control("a runtime that obeys one of them", |bed| {
        let (program, trace) = tattling(&bed.engine().scratch().join("s1.20-control"));
        let uri = MAGIC[0].1.replace("PROGRAM", program.to_str().unwrap());
        Command::new(uri.trim_start_matches("binary://")).status().unwrap();
        Verdict::held_unless(trace.exists(), || "the program was run".into())
    });
}

/// A program that leaves a trace when somebody runs it, and where that would be.
fn tattling(place: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    fs::create_dir(place).unwrap();
    let (program, trace) = (place.join("program"), place.join("trace"));
    fs::write(&program, format!("#!/bin/sh\n: > '{}'\n", trace.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (program, trace)
}

/// Everything about a container that a magic word could change and that does not differ from one to the next.
fn what_it_may(inside: &Inside<'_>) -> String {
    let script = "stat -c '%A %t:%T %n' /dev/*; grep -E '^(Cap|Seccomp|NoNew|Groups)' /proc/self/status; umask; \
                  cat /proc/self/uid_map; cut -d ' ' -f 5,6 /proc/self/mountinfo | sort; ulimit -a; env | sort; id";
    inside.shell("", script).said().to_owned()
}
