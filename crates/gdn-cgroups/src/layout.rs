//! Which hierarchies are mounted where, and which controller is in which.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The kernel's view of this process's mounts.
const MOUNT_TABLE: &str = "/proc/self/mountinfo";

/// A controller this crate uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Controller {
    /// Block I/O: `blkio` on v1, `io` on v2. Used for groups that are limited in it.
    BlockIo,
    /// Weight and quota of processor time.
    Cpu,
    /// Accounting of processor time (v1 only; v2 accounts in every group).
    Cpuacct,
    /// Processors and memory nodes that may be used.
    Cpuset,
    /// Device files that may be opened or made (v1 only; on v2 a BPF program does it).
    Devices,
    /// Stops all processes of a group (v1 only, used where no cgroup2 mount can kill a group).
    Freezer,
    /// Memory and swap.
    Memory,
    /// Number of tasks.
    Pids,
    /// The v1 hierarchy without a controller in which systemd keeps its services; used where there is no cgroup2 mount, so
    /// that a container does not die with the service that started it.
    Systemd,
}

impl Controller {
    const ALL: [Controller; 9] = [
        Controller::BlockIo,
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Devices,
        Controller::Freezer,
        Controller::Memory,
        Controller::Pids,
        Controller::Systemd,
    ];

    /// The name in the mount options of v1.
    pub fn name(self) -> &'static str {
        match self {
            Controller::BlockIo => "blkio",
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Cpuset => "cpuset",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Systemd => "name=systemd",
        }
    }

    /// The name in `cgroup.controllers` of v2.
    pub(crate) fn v2_name(self) -> &'static str {
        match self {
            Controller::BlockIo => "io",
            other => other.name(),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|controller| controller.name() == name)
    }

    /// Whether a name is, or could become, that of a control file (`memory.max`, `cgroup.procs`, `tasks`).
    pub(crate) fn is_control_file(name: &str) -> bool {
        let prefix = name.split_once('.').map_or("", |(prefix, _)| prefix);
        matches!(name, "tasks" | "notify_on_release" | "release_agent")
            || matches!(prefix, "cgroup" | "io" | "hugetlb" | "misc" | "rdma")
            || (!prefix.is_empty() && Self::from_name(prefix).is_some())
    }

    /// Whether a group is needed there although a cgroup2 mount holds every group too.
    fn needed_beside_unified(self) -> bool {
        !matches!(self, Controller::Freezer | Controller::Systemd | Controller::BlockIo)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How the host has its control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only v1 hierarchies.
    V1,
    /// v1 hierarchies for the controllers and a cgroup2 mount beside them.
    Hybrid,
    /// One cgroup2 hierarchy.
    V2,
}

/// A mounted v1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// What makes it this hierarchy among the mount options: controller names, or `name=...`; never empty.
    pub options: Vec<String>,
}

impl V1Hierarchy {
    /// The controllers of this hierarchy which this crate uses.
    pub(crate) fn controllers(&self) -> Vec<Controller> {
        self.options.iter().filter_map(|option| Controller::from_name(option)).collect()
    }

    /// Whether each group needs a directory here.
    pub(crate) fn is_needed(&self, beside_unified: bool) -> bool {
        self.controllers().into_iter().any(|controller| {
            controller != Controller::BlockIo && (!beside_unified || controller.needed_beside_unified())
        })
    }

    /// Whether this hierarchy weighs block I/O.
    pub(crate) fn has_block_io(&self) -> bool {
        self.controllers().contains(&Controller::BlockIo)
    }
}

/// The mounted hierarchies of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The v1 hierarchies, those of no use to this crate included.
    pub v1: Vec<V1Hierarchy>,
    /// Where the cgroup2 hierarchy is mounted.
    pub unified: Option<PathBuf>,
}

impl Layout {
    /// Reads what is mounted in this process's mount namespace.
    ///
    /// # Errors
    /// [`Error::NoHierarchy`] when no hierarchy of use is mounted, [`Error::Path`] when the mount table cannot be read.
    pub fn detect() -> Result<Self> {
        let table = std::fs::read_to_string(MOUNT_TABLE).map_err(|error| Error::Path {
            op: "read",
            path: PathBuf::from(MOUNT_TABLE),
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        })?;
        let layout = Self::from_mount_table(&table);
        if layout.unified.is_none() && !layout.v1.iter().any(|hierarchy| hierarchy.is_needed(false)) {
            return Err(Error::NoHierarchy);
        }
        Ok(layout)
    }

    /// Reads a table in the form of `/proc/self/mountinfo` (proc(5)). Of several mounts of one hierarchy the first is taken;
    /// mounts that show only a part of a hierarchy are passed over.
    pub fn from_mount_table(table: &str) -> Self {
        let mut layout = Layout::default();
        for mount in table.lines().filter_map(Mount::parse) {
            match mount.kind {
                "cgroup2" if layout.unified.is_none() => layout.unified = Some(mount.point),
                "cgroup" => {
                    let options = hierarchy_options(mount.options);
                    if !options.is_empty() && !layout.v1.iter().any(|known| known.options == options) {
                        layout.v1.push(V1Hierarchy { mount: mount.point, options });
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// The kind of this layout.
    pub fn mode(&self) -> Mode {
        let has_controllers = self.v1.iter().any(|hierarchy| hierarchy.is_needed(true));
        match (&self.unified, has_controllers) {
            (None, _) => Mode::V1,
            (Some(_), true) => Mode::Hybrid,
            (Some(_), false) => Mode::V2,
        }
    }
}

struct Mount<'a> {
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?;
        let options = right.nth(1)?;
        (root == "/").then(|| Mount { point: Path::new(&unescape(point)).to_owned(), kind, options })
    }
}

/// Undoes the octal escapes of the mount table; only ASCII characters are escaped there.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// The mount options that name the hierarchy, without those that say how it is mounted.
fn hierarchy_options(options: &str) -> Vec<String> {
    let mounted_how = |option: &str| {
        matches!(
            option,
            "rw" | "ro" | "xattr" | "noprefix" | "clone_children" | "cpuset_v2_mode" | "favordynmods"
        ) || option.starts_with("release_agent=")
    };
    options.split(',').filter(|option| !mounted_how(option)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:4 - cgroup cgroup rw,memory
36 31 0:32 /part /elsewhere rw - cgroup cgroup rw,pids
37 31 0:33 / /mnt/net\\040class rw - cgroup cgroup rw,net_cls
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_mount_table_gives_each_hierarchy_with_its_options() {
        let layout = Layout::from_mount_table(HYBRID);
        let options: Vec<String> = layout.v1.iter().map(|hierarchy| hierarchy.options.join(",")).collect();
        assert_eq!(options, ["cpu,cpuacct", "memory", "net_cls", "name=systemd"]);
        assert_eq!(layout.v1[2].mount, Path::new("/mnt/net class"));
        assert_eq!(layout.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(layout.mode(), Mode::Hybrid);
    }

    #[test]
    fn a_single_cgroup2_mount_is_v2_even_beside_the_hierarchy_of_systemd() {
        let table = "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Layout::from_mount_table(table).mode(), Mode::V2);
        let table = format!("{table}5 2 0:9 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n");
        assert_eq!(Layout::from_mount_table(&table).mode(), Mode::V2);
    }

    #[test]
    fn without_a_cgroup2_mount_it_is_v1_and_freezer_and_systemd_are_needed() {
        let table: String =
            HYBRID.lines().filter(|line| !line.contains("cgroup2")).map(|l| format!("{l}\n")).collect();
        let layout = Layout::from_mount_table(&table);
        assert_eq!(layout.mode(), Mode::V1);
        assert!(layout.v1[3].is_needed(false));
        assert!(!layout.v1[3].is_needed(true));
    }
}
