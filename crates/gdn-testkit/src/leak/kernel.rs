//! Tables that the kernel prints as text: mounts, sockets, System V objects, keys; and the cgroup trees they lead to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::objects::unless_gone;

type Found = BTreeMap<String, String>;

/// Mounts by mount point and order there, since mounts stack; ids are left out because they are used again.
pub(super) fn mounts() -> io::Result<Found> {
    let mut found = Found::new();
    for mount in mount_table()? {
        let base = format!("{} {} {}", mount.point.display(), mount.kind, mount.root);
        let mut name = base.clone();
        let mut copies = 1;
        while found.contains_key(&name) {
            copies += 1;
            name = format!("{base} #{copies}");
        }
        found.insert(name, mount.source);
    }
    Ok(found)
}

/// Directories of every cgroup hierarchy mounted in this namespace, except the hierarchies' roots.
pub(super) fn cgroups() -> io::Result<Found> {
    let mut found = Found::new();
    for mount in mount_table()?.into_iter().filter(|mount| mount.kind.starts_with("cgroup")) {
        directories(&mount.point, &mut found)?;
    }
    Ok(found)
}

fn directories(parent: &Path, found: &mut Found) -> io::Result<()> {
    let Some(entries) = unless_gone(fs::read_dir(parent))? else { return Ok(()) };
    for entry in entries {
        // Removing a cgroup while it is read makes the rest of the listing fail.
        let Some(entry) = unless_gone(entry)? else { break };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            directories(&entry.path(), found)?;
            found.insert(entry.path().display().to_string(), String::new());
        }
    }
    Ok(())
}

struct Mount {
    point: PathBuf,
    root: String,
    kind: String,
    source: String,
}

/// Lines of proc(5) mountinfo: id, parent, device, root, mount point, options, optional fields, `-`, type, source, options.
fn mount_table() -> io::Result<Vec<Mount>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let root = left.next()?.to_owned();
        let point = PathBuf::from(unescape(left.next()?));
        let mut right = right.split(' ');
        Some(Mount { root, point, kind: right.next()?.to_owned(), source: right.next()?.to_owned() })
    };
    table
        .lines()
        .map(|line| {
            parse(line)
                .ok_or_else(|| io::Error::other(format!("mountinfo has a line of unknown form: {line}")))
        })
        .collect()
}

/// Undoes the four octal escapes of mountinfo.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Unix sockets that have a name. Several sockets of one name (a listener and its connections) count as one.
pub(super) fn unix_sockets() -> io::Result<Found> {
    let table = fs::read_to_string("/proc/net/unix")?;
    // Num RefCount Protocol Flags Type St Inode Path: the eighth column is absent for a socket without a name.
    let names = table.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(7));
    Ok(names.map(|name| (name.to_owned(), String::new())).collect())
}

pub(super) fn sysv_ipc() -> io::Result<Found> {
    let mut found = Found::new();
    for kind in ["msg", "sem", "shm"] {
        let table = fs::read_to_string(format!("/proc/sysvipc/{kind}"))?;
        for line in table.lines().skip(1) {
            let mut columns = line.split_ascii_whitespace();
            let (key, id) = (columns.next().unwrap_or_default(), columns.next().unwrap_or_default());
            found.insert(format!("{kind} {id}"), format!("key {key}"));
        }
    }
    Ok(found)
}

/// Keys by id and description; usage counts and timeouts change by themselves and are left out.
pub(super) fn keys() -> io::Result<Found> {
    let Some(table) = unless_gone(fs::read_to_string("/proc/keys"))? else { return Ok(Found::new()) };
    let key = |line: &str| {
        // ID flags usage timeout permissions uid gid type description...
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        Some((format!("{} {}", columns.first()?, columns.get(8..)?.join(" ")), columns.get(7)?.to_string()))
    };
    Ok(table.lines().filter_map(key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_points_are_read_back() {
        assert_eq!(unescape("/a\\040b\\011c\\134d"), "/a b\tc\\d");
    }
}
