//! Whether containers can have a procfs of their own.
//!
//! The kernel lets a user namespace mount one only while an existing one is wholly in sight: its root, writable, and with
//! nothing mounted over a part of it, except on directories that are empty by design (`mnt_already_visible` in
//! `fs/namespace.c`). Container engines cover parts of theirs, so this one seldom runs inside another's container.

use std::fs;

use super::Finding;

/// Directories of procfs that are empty by design, in the file system's own paths.
const EMPTY: [&str; 3] = ["/sys/fs/binfmt_misc", "/fs/nfsd", "/openprom"];

/// Looks at the mounts of this process.
pub(super) fn check() -> Finding {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match in_sight(&mounts) {
        Ok(()) => Finding::ok("procfs", "wholly in sight"),
        Err(reason) => Finding::missing(
            "procfs",
            reason,
            "the kernel refuses unprivileged containers a procfs of their own",
            "take off what is mounted over parts of /proc, or run the engine outside a container",
        ),
    }
}

/// A line of proc_pid_mountinfo(5).
struct Mount<'a> {
    id: &'a str,
    parent: &'a str,
    root: &'a str,
    point: &'a str,
    writable: bool,
    kind: &'a str,
}

fn mount(line: &str) -> Option<Mount<'_>> {
    let (own, of_the_file_system) = line.split_once(" - ")?;
    let mut fields = own.split(' ');
    let (id, parent, _device) = (fields.next()?, fields.next()?, fields.next()?);
    let (root, point, options) = (fields.next()?, fields.next()?, fields.next()?);
    let writable = options.split(',').any(|option| option == "rw");
    Some(Mount { id, parent, root, point, writable, kind: of_the_file_system.split(' ').next()? })
}

/// Whether one procfs is; if not, what is the matter with each.
fn in_sight(mountinfo: &str) -> Result<(), String> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(mount).collect();
    let mut reasons = Vec::new();
    for procfs in mounts.iter().filter(|mount| mount.kind == "proc") {
        let covered = mounts.iter().filter(|mount| mount.parent == procfs.id).find(|mount| {
            let inside = mount.point.strip_prefix(procfs.point.trim_end_matches('/')).unwrap_or(mount.point);
            !EMPTY.contains(&inside)
        });
        reasons.push(match covered {
            _ if procfs.root != "/" => format!("{} is a part of one", procfs.point),
            _ if !procfs.writable => format!("{} is read-only", procfs.point),
            Some(cover) => format!("{} is mounted over", cover.point),
            None => return Ok(()),
        });
    }
    reasons.truncate(3);
    Err(if reasons.is_empty() { "there is none".to_owned() } else { reasons.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "25 1 0:23 / /proc rw,nosuid - proc proc rw\n";

    #[test]
    fn what_is_mounted_over_a_part_is_named() {
        in_sight(WHOLE).unwrap();
        in_sight(&format!("{WHOLE}30 25 0:29 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n"))
            .unwrap();
        let covered = format!("{WHOLE}31 25 0:5 /null /proc/kcore rw - devtmpfs udev rw\n");
        assert_eq!(in_sight(&covered).unwrap_err(), "/proc/kcore is mounted over");
        in_sight(&format!("{covered}40 1 0:31 / /elsewhere rw - proc proc rw\n")).unwrap();
    }

    #[test]
    fn a_part_or_a_read_only_one_does_not_count_and_none_is_told() {
        assert!(in_sight("25 1 0:23 /sys /proc/sys rw - proc proc rw\n").unwrap_err().contains("a part"));
        assert!(in_sight("25 1 0:23 / /proc ro - proc proc rw\n").unwrap_err().contains("read-only"));
        assert_eq!(in_sight("nonsense\n").unwrap_err(), "there is none");
    }
}
