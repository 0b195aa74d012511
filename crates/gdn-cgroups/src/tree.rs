//! One engine's subtree in every hierarchy.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::Directory;
use crate::group::{Cgroup, Places};
use crate::layout::{Controller, Layout, Mode, V1Hierarchy};
use crate::resources::Resources;

mod block_io;

pub use block_io::BlockIoSupport;

/// The group for processes that must outlive both the server and the containers.
const KEEPERS: &str = "keepers";
/// v2 controllers that are switched on for groups, where the host has them.
const V2_CONTROLLERS: [Controller; 4] =
    [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids];
/// How long [`Cgroups::remove`] waits for the kernel to be done with processes that are dead already. Measured: below a
/// millisecond as a rule, some tens under load.
const REMOVE_DEADLINE: Duration = Duration::from_millis(500);
/// First pause between two tries; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_micros(100);
/// Longest file name the kernel takes.
const NAME_MAX: usize = 255;

/// Which files a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// One engine's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    pub(crate) controllers: Vec<Controller>,
    pub(crate) directory: Directory,
    /// The hierarchy's own root, for taking the engine's directory away.
    mount: Directory,
    /// What names a v1 hierarchy among the mount options.
    options: String,
}

/// What all handles of one engine share.
#[derive(Debug)]
pub(crate) struct Tree {
    name: String,
    layout: Layout,
    /// The cgroup2 hierarchy first, if there is one: it is the one that can kill a whole group.
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// The v1 hierarchy for block I/O, unless it is among the others.
    block_io_v1: Option<block_io::OnDemand>,
    /// Whether the cgroup2 hierarchy can limit block I/O, once that is switched on.
    block_io_v2: bool,
    /// For files of groups that stay open.
    pub(crate) places: Places,
}

impl Tree {
    /// The hierarchy that has the controller.
    pub(crate) fn home(&self, controller: Controller) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    /// The cgroup2 hierarchy.
    pub(crate) fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2)
    }

    /// The hierarchy whose list of processes counts.
    pub(crate) fn primary(&self) -> &Hierarchy {
        &self.hierarchies[0]
    }
}

/// What a subtree is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether groups have a directory in every v1 hierarchy, needed or not: for programs that put processes into all of them.
    pub every_hierarchy: bool,
}

/// One engine's subtree in every hierarchy, opened once. Cheap to clone; all work is relative to the opened directories.
#[derive(Clone)]
pub struct Cgroups {
    tree: Arc<Tree>,
}

impl Cgroups {
    /// Detects the host's [`Layout`] and opens the subtree `name` in it, making it where it is missing.
    ///
    /// # Errors
    /// As [`Layout::detect`] and [`Cgroups::open_in`].
    pub fn open(name: &str) -> Result<Self> {
        Self::open_in(Layout::detect()?, name)
    }

    /// As [`Cgroups::open_with`] with the default options.
    ///
    /// # Errors
    /// As [`Cgroups::open_with`].
    pub fn open_in(layout: Layout, name: &str) -> Result<Self> {
        Self::open_with(layout, name, Options::default())
    }

    /// Opens the subtree `name` directly below the root of every needed hierarchy, making it where it is missing. It is
    /// placed there, and not below the group of this process, so that the groups survive the end of this process's service.
    ///
    /// # Errors
    /// [`Error::InvalidName`] unless `name` is one file name of ASCII letters, digits, `_`, `-` and `.`;
    /// [`Error::NoHierarchy`] for a layout of no use; [`Error::Path`] or [`Error::Value`] when the kernel refuses.
    pub fn open_with(layout: Layout, name: &str, options: Options) -> Result<Self> {
        check_name(name)?;
        let mut hierarchies = Vec::new();
        if let Some(mount) = &layout.unified {
            hierarchies.push(open_v2(mount, name)?);
        }
        let beside_unified = !hierarchies.is_empty();
        let is_needed = |hierarchy: &&V1Hierarchy| {
            options.every_hierarchy
                || hierarchy.is_needed(beside_unified)
                // An earlier run wanted it: its groups there are to be found and removed.
                || hierarchy.mount.join(name).is_dir()
        };
        for v1 in layout.v1.iter().filter(is_needed) {
            let mount = Directory::open(&v1.mount)?;
            mount.make(name)?;
            let directory = Directory::open(&v1.mount.join(name))?;
            let controllers = v1.controllers();
            if controllers.contains(&Controller::Cpuset) {
                copy_cpuset(&mount, "", name)?;
                // The groups to come have the same from their beginning.
                directory.write("cgroup.clone_children", "1")?;
            }
            let options = v1.options.join(",");
            hierarchies.push(Hierarchy { version: Version::V1, controllers, directory, mount, options });
        }
        if hierarchies.is_empty() {
            return Err(Error::NoHierarchy);
        }
        let of_block_io = |v1: &&V1Hierarchy| v1.has_block_io() && !v1.is_needed(beside_unified);
        let block_io_v1 = layout.v1.iter().find(of_block_io);
        let block_io_v1 = block_io_v1.map(|v1| block_io::OnDemand::new(v1, name)).transpose()?;
        let block_io_v2 = match &layout.unified {
            Some(mount) => controllers_of(&Directory::open(mount)?)?.contains(&Controller::BlockIo),
            None => false,
        };
        let (name, places) = (name.to_owned(), Places::default());
        let tree = Tree { name, layout, hierarchies, block_io_v1, block_io_v2, places };
        Ok(Cgroups { tree: Arc::new(tree) })
    }

    /// What is mounted on this host.
    pub fn layout(&self) -> &Layout {
        &self.tree.layout
    }

    /// How the host has its control groups.
    pub fn mode(&self) -> Mode {
        self.tree.layout.mode()
    }

    /// The v1 hierarchies in which each group has a directory, by the mount options that name them (`cpu,cpuacct`,
    /// `name=systemd`), in the order of [`Cgroup::attach_fds`].
    pub fn v1_hierarchies(&self) -> Vec<String> {
        let v1 = self.tree.hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V1);
        v1.map(|hierarchy| hierarchy.options.clone()).collect()
    }

    /// What of block I/O this host can limit.
    ///
    /// # Errors
    /// [`Error::Path`] or [`Error::Value`] when the kernel refuses.
    pub fn block_io_support(&self) -> Result<BlockIoSupport> {
        self.tree.block_io_support()
    }

    /// The path of the group `name` below the root of each hierarchy.
    pub fn path(&self, name: &str) -> String {
        format!("/{}/{name}", self.tree.name)
    }

    /// Makes the group `name` in every hierarchy and sets its limits. A group left by a crash is taken over.
    ///
    /// `outer/inner` is a group in a group that exists, here and wherever a name is asked for. In the cgroup2 hierarchy an inner
    /// group has no controllers, since the outer one has processes: it is one to kill and to measure processor time by.
    ///
    /// On an error nothing is left of a group that this call made.
    ///
    /// # Errors
    /// [`Error::InvalidName`]; [`Error::NoController`] for a limit that no hierarchy can hold; [`Error::Value`] for one
    /// that the kernel refuses.
    pub fn create(&self, name: &str, limits: &Resources) -> Result<Cgroup> {
        check_group(name)?;
        self.make(name).and_then(|group| group.set(limits).map(|()| group)).inspect_err(|_| {
            // The caller is told of the first failure; what could not be removed is found by `list`.
            let _left_for_the_next_sweep = self.try_remove(name);
        })
    }

    /// Makes the group `name` in the cgroup2 hierarchy only, so that a process can be born in it while [`Cgroups::create`] makes
    /// the rest. `None` on a host with v1 only.
    ///
    /// # Errors
    /// [`Error::InvalidName`]; [`Error::Path`] when the kernel refuses.
    pub fn create_unified(&self, name: &str) -> Result<Option<OwnedFd>> {
        check_group(name)?;
        let Some(unified) = self.tree.unified() else { return Ok(None) };
        unified.directory.make(name)?;
        self.unified_node(name)
    }

    /// The group for processes that must outlive both the server and the containers; made when missing, without limits.
    ///
    /// # Errors
    /// [`Error::Path`] or [`Error::Value`] when the kernel refuses.
    pub fn keepers(&self) -> Result<Cgroup> {
        self.make(KEEPERS)
    }

    /// The group `name`, if it exists in any hierarchy. What a crash left undone is completed, without limits.
    ///
    /// # Errors
    /// [`Error::InvalidName`]; [`Error::Path`] when the kernel refuses.
    pub fn open_existing(&self, name: &str) -> Result<Option<Cgroup>> {
        check_group(name)?;
        for hierarchy in &self.tree.hierarchies {
            if hierarchy.directory.has(name)? {
                return self.make(name).map(Some);
            }
        }
        match self.tree.block_io_of_its_own() {
            Some(hierarchy) if hierarchy.directory.has(name)? => self.make(name).map(Some),
            _ => Ok(None),
        }
    }

    /// Moves a process to the root of every v1 hierarchy in which there is no subtree of ours: whatever group its starter put
    /// it into there, it is not killed or frozen with that group. Groups below the roots are not touched.
    ///
    /// # Errors
    /// [`Error::Value`] with `ESRCH` when there is no such process.
    pub fn free_elsewhere(&self, pid: u32) -> Result<()> {
        let ours =
            |mount: &Path| self.tree.hierarchies.iter().any(|hierarchy| hierarchy.mount.path() == mount);
        for other in self.tree.layout.v1.iter().filter(|other| !ours(&other.mount)) {
            Directory::open(&other.mount)?.write("cgroup.procs", &pid.to_string())?;
        }
        Ok(())
    }

    /// The names of all groups, sorted; the keepers' is not among them. One that exists in a single hierarchy only, after a
    /// crash, is listed too.
    ///
    /// # Errors
    /// [`Error::Path`] when the kernel refuses.
    pub fn list(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for hierarchy in self.tree.hierarchies.iter().chain(self.tree.block_io_of_its_own()) {
            names.extend(hierarchy.directory.directories(".")?);
        }
        names.retain(|name| name != KEEPERS);
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The names of the groups in the group `outer`, sorted, without its own name; none if it does not exist.
    ///
    /// # Errors
    /// [`Error::InvalidName`]; [`Error::Path`] when the kernel refuses.
    pub fn list_in(&self, outer: &str) -> Result<Vec<String>> {
        check_name(outer)?;
        let mut names = Vec::new();
        for hierarchy in &self.tree.hierarchies {
            match hierarchy.directory.directories(outer) {
                Err(Error::Path { errno: Errno::NOENT, .. }) => {}
                found => names.extend(found?),
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Removes the group `name` with all groups below it, waiting up to half a second for the kernel to be done with
    /// dead processes. One that is gone already is as good. Nothing is killed: see [`Cgroup::kill`].
    ///
    /// # Errors
    /// [`Error::Busy`] when processes are left; every hierarchy has been tried then.
    pub fn remove(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + REMOVE_DEADLINE;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_remove(name) {
                // v1 has no event for "the last dead process is gone", so the condition is asked for again.
                Err(Error::Busy { .. }) if Instant::now() < deadline => pause_for(pause),
                other => return other,
            }
            pause *= 2;
        }
    }

    /// As [`Cgroups::remove`], without waiting.
    ///
    /// # Errors
    /// As [`Cgroups::remove`].
    pub fn try_remove(&self, name: &str) -> Result<()> {
        check_path(name)?;
        let mut outcome = Ok(());
        for hierarchy in &self.tree.hierarchies {
            let removed = remove_deep(&hierarchy.directory, name);
            outcome = outcome.and(removed);
        }
        let left = self.tree.leave_block_io(name, outcome.is_ok());
        outcome.and(left)
    }

    /// Removes all groups, the keepers' included, and then the subtree itself, without waiting. Nothing can be made in it
    /// afterwards: open it anew.
    ///
    /// # Errors
    /// [`Error::Busy`] when processes are left in any of them; all others have been removed then.
    pub fn remove_all(&self) -> Result<()> {
        let mut outcome = Ok(());
        for name in self.list()?.iter().map(String::as_str).chain([KEEPERS]) {
            outcome = outcome.and(self.try_remove(name));
        }
        outcome?;
        let all = self.tree.hierarchies.iter().chain(self.tree.block_io_of_its_own());
        all.map(|hierarchy| hierarchy.mount.remove(&self.tree.name)).fold(Ok(()), Result::and)
    }

    fn make(&self, name: &str) -> Result<Cgroup> {
        let outer = name.split_once('/').map_or("", |(outer, _)| outer);
        for hierarchy in &self.tree.hierarchies {
            hierarchy.directory.make(name)?;
            // A group in one of an earlier build does not have what its parent has.
            let has_cpuset =
                hierarchy.version == Version::V1 && hierarchy.controllers.contains(&Controller::Cpuset);
            if has_cpuset && !outer.is_empty() {
                copy_cpuset(&hierarchy.directory, outer, name)?;
            }
        }
        Ok(Cgroup::new(Arc::clone(&self.tree), name, self.unified_node(name)?))
    }

    fn unified_node(&self, name: &str) -> Result<Option<OwnedFd>> {
        self.tree.unified().map_or(Ok(None), |hierarchy| hierarchy.directory.open_below(name))
    }
}

impl fmt::Debug for Cgroups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cgroups").field("name", &self.tree.name).field("mode", &self.mode()).finish()
    }
}

/// Opens the cgroup2 hierarchy and switches on, for the groups to come, the controllers we use.
fn open_v2(mount: &Path, name: &str) -> Result<Hierarchy> {
    let root = Directory::open(mount)?;
    let mut controllers = controllers_of(&root)?;
    controllers.retain(|controller| V2_CONTROLLERS.contains(controller));
    enable(&root, "cgroup.subtree_control", &controllers)?;
    root.make(name)?;
    let directory = Directory::open(&mount.join(name))?;
    enable(&directory, "cgroup.subtree_control", &controllers)?;
    Ok(Hierarchy { version: Version::V2, controllers, directory, mount: root, options: String::new() })
}

/// The controllers of ours that the cgroup2 hierarchy has.
fn controllers_of(root: &Directory) -> Result<Vec<Controller>> {
    let available = root.read("cgroup.controllers")?;
    let is_available =
        |controller: &Controller| available.split_whitespace().any(|known| known == controller.v2_name());
    Ok(V2_CONTROLLERS.into_iter().chain([Controller::BlockIo]).filter(is_available).collect())
}

fn enable(directory: &Directory, file: &str, controllers: &[Controller]) -> Result<()> {
    let enabled = directory.read(file)?;
    for controller in controllers {
        if !enabled.split_whitespace().any(|known| known == controller.v2_name()) {
            directory.write(file, &format!("+{}", controller.v2_name()))?;
        }
    }
    Ok(())
}

/// Gives the v1 cpuset `group` below `parent` what its parent has: a new one is empty and holds no process.
fn copy_cpuset(directory: &Directory, parent: &str, group: &str) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let target = format!("{group}/{file}");
        if directory.read(&target)?.trim().is_empty() {
            let source = if parent.is_empty() { file.to_owned() } else { format!("{parent}/{file}") };
            directory.write(&target, directory.read(&source)?.trim())?;
        }
    }
    Ok(())
}

/// Removes `name` and, if it is not empty, first what is below it.
fn remove_deep(directory: &Directory, name: &str) -> Result<()> {
    match directory.remove(name) {
        Err(Error::Busy { .. }) => {}
        other => return other,
    }
    for below in directory.directories(name)? {
        remove_deep(directory, &format!("{name}/{below}"))?;
    }
    directory.remove(name)
}

#[allow(clippy::disallowed_methods, reason = "between two looks at a condition, before a deadline")]
fn pause_for(pause: Duration) {
    std::thread::sleep(pause);
}

/// The name of a group for processes of containers.
fn check_group(name: &str) -> Result<()> {
    check_path(name)?;
    if name.split('/').next() == Some(KEEPERS) {
        return Err(Error::InvalidName { name: name.to_owned() });
    }
    Ok(())
}

/// The name of a group, or of one in a group.
fn check_path(name: &str) -> Result<()> {
    match name.split_once('/') {
        Some((outer, inner)) => check_name(outer).and_then(|()| check_name(inner)),
        None => check_name(name),
    }
}

/// One file name that cannot be taken for one of the kernel's control files or lead elsewhere.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let valid = !name.is_empty()
        && name.len() <= NAME_MAX
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && !Controller::is_control_file(name);
    if valid { Ok(()) } else { Err(Error::InvalidName { name: name.to_owned() }) }
}
