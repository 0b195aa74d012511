//! Control groups: which generation, which controllers.

use std::fs;
use std::path::Path;

use super::Finding;

/// The controllers the engine limits with, and what is lost without one.
const CONTROLLERS: [(&str, &str); 3] = [
    ("memory", "memory cannot be limited or measured"),
    ("cpu", "processor shares cannot be given"),
    ("pids", "the number of processes cannot be limited: a fork bomb takes the host down"),
];

/// What the mount table says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trees {
    unified: Option<String>,
    version_1: Vec<String>,
}

/// Looks at all of it.
pub(super) fn check() -> Vec<Finding> {
    let trees = trees(&fs::read_to_string("/proc/self/mounts").unwrap_or_default());
    let mut findings = vec![mode(&trees)];
    let unified = trees
        .unified
        .as_deref()
        .and_then(|tree| fs::read_to_string(format!("{tree}/cgroup.controllers")).ok());
    findings
        .extend(CONTROLLERS.map(|(name, meaning)| {
            controller(&trees, unified.as_deref().unwrap_or_default(), name, meaning)
        }));
    findings.push(block_io(&trees, unified.as_deref().unwrap_or_default()));
    findings
}

/// Whether block I/O can be limited. Only groups, and not the trees' roots, have the files of weights, so that those are
/// looked for where the scheduler that brings them shows itself.
fn block_io(trees: &Trees, unified: &str) -> Finding {
    let has = |file: &str| Path::new("/sys/fs/cgroup/blkio").join(file).exists();
    let label = "cgroup block I/O";
    if trees.version_1.iter().any(|tree| tree == "blkio") {
        let weight = has("blkio.bfq.io_serviced");
        match (has("blkio.throttle.read_bps_device"), weight) {
            (true, true) => Finding::ok(label, "version 1, weights and rates"),
            (rates, _) => Finding::limited(
                label,
                if rates { "version 1, rates only" } else { "version 1, without rates" },
                "a part of --io-weight, --io-read-bps and the like is refused",
                "boot a kernel with CONFIG_BLK_DEV_THROTTLING and CONFIG_BFQ_GROUP_IOSCHED",
            ),
        }
    } else if unified.split_whitespace().any(|known| known == "io") {
        Finding::ok(label, "version 2")
    } else {
        Finding::limited(
            label,
            "not there",
            "block I/O cannot be limited: --io-weight, --io-read-bps and the like are refused",
            "boot with the controller io (CONFIG_BLK_CGROUP)",
        )
    }
}

fn mode(trees: &Trees) -> Finding {
    match (&trees.unified, trees.version_1.is_empty()) {
        (Some(_), true) => Finding::ok("cgroups", "version 2"),
        (Some(_), false) => Finding::ok("cgroups", "hybrid: controllers on version 1, and a version 2 tree"),
        (None, false) => Finding::limited(
            "cgroups",
            "version 1 only",
            "processes of a container are killed one by one, and its running out of memory may go unnoticed",
            "mount a version 2 tree: mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
        (None, true) => Finding::missing(
            "cgroups",
            "none mounted",
            "no container can be limited, measured or stopped",
            "mount them: mount -t cgroup2 none /sys/fs/cgroup",
        ),
    }
}

fn controller(trees: &Trees, unified: &str, name: &str, meaning: &str) -> Finding {
    let label = format!("cgroup {name}");
    if trees.version_1.iter().any(|tree| tree == name) {
        Finding::ok(&label, "version 1")
    } else if unified.split_whitespace().any(|known| known == name) {
        Finding::ok(&label, "version 2")
    } else {
        Finding::limited(
            &label,
            "not there",
            meaning,
            "boot with this controller enabled (for memory: cgroup_enable=memory)",
        )
    }
}

fn trees(mounts: &str) -> Trees {
    let mut trees = Trees::default();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(target), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        match kind {
            "cgroup2" => trees.unified = Some(target.to_owned()),
            "cgroup" => trees.version_1.extend(options.split(',').map(str::to_owned)),
            _ => {}
        }
    }
    trees
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str =
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";

    #[test]
    fn a_mount_table_tells_the_generation() {
        assert_eq!(mode(&trees(HYBRID)).found, "hybrid: controllers on version 1, and a version 2 tree");
        assert_eq!(mode(&trees("x /sys/fs/cgroup cgroup2 rw 0 0\n")).found, "version 2");
        assert_eq!(mode(&trees("x / ext4 rw 0 0\n")).found, "none mounted");
    }

    #[test]
    fn a_controller_may_be_in_either_tree() {
        let trees = trees(HYBRID);
        assert_eq!(controller(&trees, "pids", "cpu", "").found, "version 1");
        assert_eq!(controller(&trees, "memory pids", "pids", "").found, "version 2");
        assert_eq!(controller(&trees, "memory", "pids", "x").found, "not there");
    }
}
