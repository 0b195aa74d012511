//! One engine's subtree in every hierarchy.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode as FileMode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::group::Node;
use crate::hierarchy::{self, Hierarchy, Mode};
use crate::{Cgroup, Error, Resources, Result};

/// Controllers of version 1 that containers get a directory for; others only cost time.
const CONTROLLERS: [&str; 8] = ["memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio"];
/// Controllers of version 2 that are switched on for containers.
const CONTROLLERS_V2: [&str; 4] = ["cpu", "io", "memory", "pids"];
/// The group of processes that outlive the server.
const KEEPERS: &str = "keepers";

/// The subtree of one engine.
#[derive(Debug)]
pub struct Cgroups {
    engine: String,
    mode: Mode,
    branches: Vec<Branch>,
}

/// The engine's directory in one hierarchy.
#[derive(Debug)]
struct Branch {
    hierarchy: Hierarchy,
    dir: OwnedFd,
}

impl Cgroups {
    /// Opens, and where needed makes, the engine's directories in every hierarchy of the host.
    ///
    /// # Errors
    /// [`Error::NoHierarchy`]; [`Error::Path`] when a directory cannot be made.
    pub fn open(engine: &str) -> Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|_| Error::NoHierarchy)?;
        Self::open_in(engine, &mounts)
    }

    fn open_in(engine: &str, mounts: &str) -> Result<Self> {
        let mut branches = Vec::new();
        for (name, path, unified) in hierarchy::parse_mounts(mounts) {
            let used =
                unified || name.split(',').any(|part| CONTROLLERS.contains(&part) || part == "name=systemd");
            if !used || branches.iter().any(|branch: &Branch| branch.hierarchy.name == name) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = openat(CWD, &path, flags, FileMode::empty()).map_err(|errno| Error::Path {
                op: "open",
                path: path.clone(),
                errno,
            })?;
            let dir = make(root.as_fd(), &name, engine)?;
            let branch = Branch { hierarchy: Hierarchy { name, root, unified }, dir };
            branch.prepare()?;
            branches.push(branch);
        }
        let unified = branches.iter().any(|branch| branch.hierarchy.unified);
        let v1 = branches.iter().any(|branch| !branch.hierarchy.unified);
        let mode = match (v1, unified) {
            (true, true) => Mode::Hybrid,
            (true, false) => Mode::V1,
            (false, true) => Mode::V2,
            (false, false) => return Err(Error::NoHierarchy),
        };
        Ok(Cgroups { engine: engine.to_owned(), mode, branches })
    }

    /// Which generation the host has.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The v1 hierarchies a container sees, by their mount options.
    pub fn v1_hierarchies(&self) -> Vec<String> {
        let names = self.branches.iter().filter(|branch| !branch.hierarchy.unified);
        names.map(|branch| branch.hierarchy.name.clone()).filter(|name| !name.starts_with("name=")).collect()
    }

    /// Makes a group with its limits. One that exists already (from a crash) is taken over.
    ///
    /// # Errors
    /// [`Error::Value`] naming the file and the value that the kernel refused.
    pub fn create(&self, name: &str, resources: &Resources) -> Result<Cgroup> {
        let mut nodes = Vec::with_capacity(self.branches.len());
        for branch in &self.branches {
            let dir = make(branch.dir.as_fd(), &branch.hierarchy.name, name)?;
            if branch.hierarchy.has("cpuset") {
                inherit_cpuset(branch.dir.as_fd(), dir.as_fd(), &branch.hierarchy.name)?;
            }
            nodes.push(Node::new(&branch.hierarchy, dir));
        }
        let group = Cgroup::new(self.mode, nodes);
        group.set(resources)?;
        Ok(group)
    }

    /// Opens a group that exists in any hierarchy; missing parts of it are made.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn open_existing(&self, name: &str) -> Result<Option<Cgroup>> {
        if !self.list()?.iter().any(|existing| existing == name) {
            return Ok(None);
        }
        self.create(name, &Resources::default()).map(Some)
    }

    /// Names of the engine's groups in any hierarchy, the keepers' left out.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn list(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for branch in &self.branches {
            names.extend(children(branch.dir.as_fd(), &branch.hierarchy.name)?);
        }
        names.sort_unstable();
        names.dedup();
        names.retain(|name| name != KEEPERS);
        Ok(names)
    }

    /// The group of processes that belong to the engine and to no container.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn keepers(&self) -> Result<Cgroup> {
        self.create(KEEPERS, &Resources::default())
    }

    /// Removes a group with everything below it. Succeeds when there is none.
    ///
    /// # Errors
    /// `EBUSY` while a process is in it; the rest is removed all the same.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut first = None;
        for branch in &self.branches {
            if let Err(error) = remove_tree(branch.dir.as_fd(), &branch.hierarchy.name, name) {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Removes the engine's whole subtree.
    ///
    /// # Errors
    /// `EBUSY` while a process is in it.
    pub fn remove_all(&self) -> Result<()> {
        let mut first = None;
        for branch in &self.branches {
            if let Err(error) =
                remove_tree(branch.hierarchy.root.as_fd(), &branch.hierarchy.name, &self.engine)
            {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }
}

impl Branch {
    /// What a fresh directory needs before it can have children with processes.
    fn prepare(&self) -> Result<()> {
        if self.hierarchy.has("cpuset") {
            inherit_cpuset(self.hierarchy.root.as_fd(), self.dir.as_fd(), &self.hierarchy.name)?;
        }
        if self.hierarchy.unified {
            for dir in [self.hierarchy.root.as_fd(), self.dir.as_fd()] {
                let available = hierarchy::read(dir, "unified", "cgroup.controllers")?.unwrap_or_default();
                for controller in CONTROLLERS_V2
                    .iter()
                    .filter(|wanted| available.split_whitespace().any(|has| has == **wanted))
                {
                    hierarchy::write(dir, "unified", "cgroup.subtree_control", &format!("+{controller}"))?;
                }
            }
        }
        Ok(())
    }
}

fn make(parent: std::os::fd::BorrowedFd<'_>, hierarchy: &str, name: &str) -> Result<OwnedFd> {
    let path = || format!("{hierarchy}:{name}");
    match mkdirat(parent, name, FileMode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::Path { op: "make", path: path(), errno }),
    }
    hierarchy::open_dir(parent, name).map_err(|errno| Error::Path { op: "open", path: path(), errno })
}

/// A v1 cpuset without processors and memory nodes takes no processes.
fn inherit_cpuset(
    parent: std::os::fd::BorrowedFd<'_>,
    child: std::os::fd::BorrowedFd<'_>,
    hierarchy: &str,
) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if hierarchy::read(child, hierarchy, file)?.is_some_and(|value| value.trim().is_empty()) {
            let value = hierarchy::read(parent, hierarchy, file)?.unwrap_or_default();
            hierarchy::write(child, hierarchy, file, value.trim())?;
        }
    }
    Ok(())
}

fn children(dir: std::os::fd::BorrowedFd<'_>, hierarchy: &str) -> Result<Vec<String>> {
    let refused = |errno| Error::Path { op: "list", path: hierarchy.to_owned(), errno };
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type() == FileType::Directory && name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes a directory and those below it, deepest first.
fn remove_tree(parent: std::os::fd::BorrowedFd<'_>, hierarchy: &str, name: &str) -> Result<()> {
    // Most have nothing below them.
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        Err(errno) => return Err(Error::Path { op: "remove", path: format!("{hierarchy}:{name}"), errno }),
    }
    match hierarchy::open_dir(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::Path { op: "open", path: format!("{hierarchy}:{name}"), errno }),
        Ok(dir) => {
            for child in children(dir.as_fd(), hierarchy)? {
                remove_tree(dir.as_fd(), hierarchy, &child)?;
            }
        }
    }
    match unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::Path { op: "remove", path: format!("{hierarchy}:{name}"), errno }),
    }
}
