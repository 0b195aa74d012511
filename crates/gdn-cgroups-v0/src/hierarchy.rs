//! The hierarchies of a host, and files in them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode as FileMode, OFlags, openat};
use rustix::io::Errno;

use crate::{Error, Result};

/// Largest cgroup file that is read: `memory.stat` has some 2 KiB, `cgroup.procs` 8 bytes a process.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Which generation of cgroups a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 only.
    V1,
    /// Controllers on version 1, and a version 2 tree beside them.
    Hybrid,
    /// Version 2 only.
    V2,
}

/// One mounted hierarchy, opened at its root.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    /// `memory`, `cpu,cpuacct`, `name=systemd`, or `unified`.
    pub(crate) name: String,
    pub(crate) root: OwnedFd,
    pub(crate) unified: bool,
}

impl Hierarchy {
    /// Whether this hierarchy carries a controller of version 1.
    pub(crate) fn has(&self, controller: &str) -> bool {
        !self.unified && self.name.split(',').any(|name| name == controller)
    }
}

/// Finds every hierarchy in a mount table of the form of `/proc/self/mounts`.
pub(crate) fn parse_mounts(mounts: &str) -> Vec<(String, String, bool)> {
    const IGNORED: [&str; 8] =
        ["rw", "ro", "relatime", "nosuid", "nodev", "noexec", "xattr", "clone_children"];
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_source, target, kind, options) =
                (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            match kind {
                "cgroup2" => Some(("unified".to_owned(), target.to_owned(), true)),
                "cgroup" => {
                    let names: Vec<&str> = options
                        .split(',')
                        .filter(|option| !IGNORED.contains(option) && !option.starts_with("release_agent"))
                        .collect();
                    Some((names.join(","), target.to_owned(), false))
                }
                _ => None,
            }
        })
        .collect()
}

/// Opens a directory below another.
pub(crate) fn open_dir(at: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    openat(
        at,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        FileMode::empty(),
    )
}

/// Writes one value to a file of a cgroup, in one write, as the kernel wants it.
pub(crate) fn write(dir: BorrowedFd<'_>, hierarchy: &str, file: &str, value: &str) -> Result<()> {
    let refused =
        |errno| Error::Value { file: format!("{hierarchy}:{file}"), value: value.to_owned(), errno };
    let fd = openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, FileMode::empty())
        .map_err(refused)?;
    rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes())).map_err(refused).map(drop)
}

/// Reads a file of a cgroup; a file that this kernel does not have is `None`.
pub(crate) fn read(dir: BorrowedFd<'_>, hierarchy: &str, file: &str) -> Result<Option<String>> {
    let refused = |errno| Error::Path { op: "read", path: format!("{hierarchy}:{file}"), errno };
    let fd = match openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, FileMode::empty()) {
        Err(Errno::NOENT | Errno::OPNOTSUPP) => return Ok(None),
        other => other.map_err(refused)?,
    };
    let mut content = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match rustix::io::read(fd.as_fd(), &mut chunk) {
            Ok(0) => break,
            Ok(length) => content.extend_from_slice(&chunk[..length]),
            Err(Errno::INTR) => {}
            Err(Errno::NODEV | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(refused(errno)),
        }
        if content.len() > MAX_FILE {
            return Err(refused(Errno::FBIG));
        }
    }
    Ok(Some(String::from_utf8_lossy(&content).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_by_type_and_named_by_their_controllers() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0\n\
                      cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,release_agent=/x,name=systemd 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nsdelegate 0 0\n";
        assert_eq!(
            parse_mounts(mounts),
            [
                ("cpu,cpuacct".into(), "/sys/fs/cgroup/cpu,cpuacct".into(), false),
                ("name=systemd".into(), "/sys/fs/cgroup/systemd".into(), false),
                ("unified".into(), "/sys/fs/cgroup/unified".into(), true),
            ]
        );
    }
}
