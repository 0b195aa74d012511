//! What of procfs, sysfs and control groups a container's root can reach.

use super::super::lab::of;
use crate::{Stage, Target, Verdict};

/// What a script prints when it got what it must not have.
const OUT: &str = "OUT";

/// Something of the host can be read here.
fn reads(path: &str) -> String {
    format!(
        "[ -n \"$(ls -A {path}/ 2>/dev/null)\" ] && echo OUT; [ -f {path} ] && [ -n \"$(head -c 1 {path} | tr '\\0' x)\" ] && echo OUT"
    )
}

/// It can be opened for writing. Nothing is written: the control does this as the host's root.
fn writes(path: &str) -> String {
    format!("for f in {path}; do [ -e $f ] && true >> $f && echo OUT; done")
}

/// S1.14: what is masked or read-only, and ways around that.
pub(super) fn masks(stage: &mut Stage<'_>) {
    let masked = [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/latency_stats",
        "/proc/scsi",
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ];
    let protected = [
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/kernel/panic",
        "/proc/mtrr",
        "/proc/kmsg",
        "/proc/fs/*/*",
        "/proc/bus/pci/*/*",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/power/state",
    ];
    let ways = [
        "mount -o remount,bind,rw /sys && echo OUT",
        "mount -o remount,bind,rw /sys/fs/cgroup && echo OUT",
        "umount /proc/kcore && echo OUT",
        "umount -l /proc/keys && echo OUT",
        "umount -l /sys/firmware && echo OUT",
        "umount -l /proc && echo OUT",
        "mkdir -p /tmp/p && mount -t proc proc /tmp/p && echo OUT",
        "mkdir -p /tmp/s && mount -t sysfs sysfs /tmp/s && echo OUT",
        "mkdir -p /tmp/b && mount -o bind /proc /tmp/b && echo OUT",
        "mkdir -p /tmp/u && unshare -U -r -m -p -f mount -t proc proc /tmp/u && echo OUT",
        "mkdir -p /tmp/m && mount -o move /proc/sys /tmp/m && echo OUT",
        "mknod /tmp/mem c 1 1 && true < /tmp/mem && echo OUT",
    ];
    let scripts = masked.iter().map(|path| (format!("reads {path}"), reads(path)));
    let scripts = scripts.chain(protected.iter().map(|path| (format!("writes to {path}"), writes(path))));
    let scripts: Vec<_> =
        scripts.chain(ways.iter().map(|way| ((*way).to_owned(), (*way).to_owned()))).collect();
    play(stage, &scripts);
}

/// S1.15: ways to have the kernel run a program as the host's root.
pub(super) fn helpers(stage: &mut Stage<'_>) {
    let hierarchies = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"].map(|controller| {
        let script = format!(
            "mkdir -p /tmp/{controller}; unshare -U -r -m mount -t cgroup -o {controller} none /tmp/{controller} && echo OUT; \
             mount -t cgroup -o {controller} none /tmp/{controller} && echo OUT"
        );
        (format!("mounts the hierarchy of {controller} in new namespaces"), script)
    });
    let files = [
        "/sys/fs/cgroup/*/release_agent",
        "/sys/fs/cgroup/*/notify_on_release /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/sys/kernel/uevent_helper /sys/kernel/uevent_seqnum /sys/class/mem/null/uevent",
        "/proc/sys/fs/binfmt_misc/register /proc/sys/fs/suid_dumpable",
        "/proc/sys/kernel/hotplug /proc/sys/kernel/poweroff_cmd",
        "/proc/sys/kernel/sysrq /proc/sys/kernel/usermodehelper/bset",
    ];
    let files = files.map(|files| (format!("writes to {files}"), writes(files)));
    let scripts: Vec<_> = hierarchies.into_iter().chain(files).collect();
    play(stage, &scripts);
}

/// Each script in an unprivileged container, as its root and as a user of it; all of them where nothing is in the way.
fn play(stage: &mut Stage<'_>, scripts: &[(String, String)]) {
    let handle = stage.bed().create(of(""));
    for (name, script) in scripts {
        stage.case(name.clone(), |bed| {
            let inside = bed.inside(&handle);
            Verdict::all(["", "alice"].map(|user| {
                let seen = inside.shell(user, script);
                assert!(seen.status.is_some(), "{seen}");
                Verdict::held_unless(seen.stdout.contains(OUT), || format!("as {user:?}: {seen}"))
            }))
        });
    }
    stage.control("the host's root in namespaces of its own, nothing masked", |bed| {
        let bare = bed.bare().walled();
        let red: Vec<_> =
            scripts.iter().filter(|(_, script)| bare.shell("", script).stdout.contains(OUT)).collect();
        let names: Vec<_> = red.iter().map(|(name, _)| name.as_str()).collect();
        // Not every kernel has every file; most of them are there.
        Verdict::held_unless(red.len() * 2 > scripts.len(), || {
            format!("{} of {}: {}", red.len(), scripts.len(), names.join("; "))
        })
    });
}
