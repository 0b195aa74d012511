//! One cgroup per hierarchy, with limits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Limits as a container has them; a file that this kernel lacks is left out.
const LIMITS_V1: [(&str, &[(&str, &str)]); 7] = [
    ("cpu", &[("cpu.shares", "512")]),
    ("cpuacct", &[]),
    ("memory", &[("memory.limit_in_bytes", "268435456")]),
    ("pids", &[("pids.max", "100")]),
    ("blkio", &[]),
    ("freezer", &[]),
    (
        "devices",
        &[
            ("devices.deny", "a"),
            ("devices.allow", "c *:* m"),
            ("devices.allow", "c 1:3 rwm"),
            ("devices.allow", "c 1:5 rwm"),
            ("devices.allow", "c 1:8 rwm"),
            ("devices.allow", "c 5:0 rwm"),
            ("devices.allow", "c 136:* rwm"),
        ],
    ),
];

const LIMITS_V2: [(&str, &str); 3] = [("cpu.weight", "50"), ("memory.max", "268435456"), ("pids.max", "100")];

/// The directories of one sandbox.
pub(crate) struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    pub(crate) fn create(name: &str) -> io::Result<Self> {
        let top = Path::new("/sys/fs/cgroup");
        if top.join("cgroup.controllers").exists() {
            let group = top.join(name);
            fs::create_dir(&group)?;
            // Without the controllers delegated to it, the group has no such files, and the floor is lower for it.
            write_existing(&group, &LIMITS_V2)?;
            return Ok(Cgroups(vec![group]));
        }
        let mut groups = Vec::new();
        for (controller, limits) in LIMITS_V1 {
            let group = top.join(controller).join(name);
            fs::create_dir(&group)?;
            write_existing(&group, limits)?;
            groups.push(group);
        }
        Ok(Cgroups(groups))
    }

    pub(crate) fn attach(&self, pid: libc::pid_t) -> io::Result<()> {
        self.0.iter().try_for_each(|group| fs::write(group.join("cgroup.procs"), pid.to_string()))
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        self.0.iter().try_for_each(fs::remove_dir)
    }
}

fn write_existing(group: &Path, limits: &[(&str, &str)]) -> io::Result<()> {
    for (file, value) in limits {
        match fs::write(group.join(file), value) {
            Err(error)
                if error.kind() != io::ErrorKind::NotFound
                    && error.kind() != io::ErrorKind::PermissionDenied =>
            {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}
