//! Control groups: which generation, which controllers.

use std::fs;
use std::path::{Path, PathBuf};

use super::Finding;

/// The controllers the engine limits with, and what is lost without one.
const CONTROLLERS: [(&str, &str); 3] = [
    ("memory", "memory cannot be limited or measured"),
    ("cpu", "processor shares cannot be given"),
    ("pids", "the number of processes cannot be limited: a fork bomb takes the host down"),
];

/// So many groups that are gone and still kept are felt.
const MANY: usize = 1000;

/// What the mount table says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trees {
    unified: Option<String>,
    version_1: Vec<String>,
    /// Where version 1 has its memory groups.
    memory: Option<PathBuf>,
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
    findings.extend(kept(&trees).map(gone));
    findings
}

/// How many memory groups the kernel keeps though they are gone.
fn kept(trees: &Trees) -> Option<usize> {
    if let Some(memory) = &trees.memory {
        let known = known_to_the_kernel(&fs::read_to_string("/proc/cgroups").ok()?)?;
        // Only the root of all groups has this file: from inside a container the others are not seen.
        let whole = memory.join("cgroup.sane_behavior").exists();
        return whole.then(|| directories(memory)).flatten().map(|there| known.saturating_sub(there));
    }
    let unified = trees.unified.as_deref()?;
    // Only the root of all groups has not this file.
    if Path::new(unified).join("cgroup.type").exists() {
        return None;
    }
    gone_of_version_2(&fs::read_to_string(format!("{unified}/cgroup.stat")).ok()?)
}

fn gone(kept: usize) -> Finding {
    let (label, found) = ("cgroups that are gone", format!("{kept} kept by the kernel"));
    if kept < MANY {
        return Finding::ok(label, found);
    }
    Finding::limited(
        label,
        found,
        "each takes some 160 KB of the kernel's memory, and creates and destroys get slower with them",
        "they go when memory is scarce; at once, with all cached files: sync; echo 3 > /proc/sys/vm/drop_caches",
    )
}

/// The row `memory` of `/proc/cgroups`: its groups, with those that are gone and not forgotten.
fn known_to_the_kernel(table: &str) -> Option<usize> {
    let row = table.lines().find_map(|line| line.strip_prefix("memory\t"))?;
    row.split('\t').nth(1)?.parse().ok()
}

/// `cgroup.stat` of the root of version 2.
fn gone_of_version_2(stat: &str) -> Option<usize> {
    stat.lines().find_map(|line| line.strip_prefix("nr_dying_descendants "))?.parse().ok()
}

/// A directory with all below it; absent where not all of it can be read.
fn directories(directory: &Path) -> Option<usize> {
    let (mut count, mut rest) = (0, vec![directory.to_owned()]);
    while let Some(directory) = rest.pop() {
        count += 1;
        for entry in fs::read_dir(directory).ok()? {
            let entry = entry.ok()?;
            if entry.file_type().ok()?.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    Some(count)
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
            "cgroup" => {
                if options.split(',').any(|option| option == "memory") {
                    trees.memory = Some(target.into());
                }
                trees.version_1.extend(options.split(',').map(str::to_owned));
            }
            _ => {}
        }
    }
    trees
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn groups_that_are_gone_and_kept_are_counted_and_told_where_they_are_many() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t7\t1\nmemory\t4\t8927\t1\n";
        assert_eq!(known_to_the_kernel(table), Some(8927));
        assert_eq!(known_to_the_kernel("cpu\t1\t7\t1\n"), None);
        let stat = "nr_descendants 31\nnr_subsys_memory 30\nnr_dying_descendants 12\n";
        assert_eq!(gone_of_version_2(stat), Some(12));
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("a/b")).unwrap();
        fs::write(place.path().join("tasks"), "").unwrap();
        assert_eq!(directories(place.path()), Some(3));
        assert_eq!(directories(&place.path().join("tasks")), None);
        assert_eq!(gone(MANY - 1).status, Status::Ok);
        assert_eq!(gone(MANY).status, Status::Limited);
    }

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
