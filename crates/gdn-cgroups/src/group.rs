//! One group: a directory of the same name in every hierarchy.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::devices;
use crate::error::{Error, Result};
use crate::layout::Controller;
use crate::resources::{
    DEFAULT_PERIOD_US, DevicePolicy, EffectiveLimits, Resources, bytes_text, pids_text, shares_to_weight,
};
use crate::tree::{Hierarchy, Tree, Version};
use crate::{DeviceRule, memory};

mod block_io;
mod kill;
mod oom;
mod open;
mod pressure;
mod stats;

use open::OpenFiles;
pub(crate) use open::Places;

pub use oom::OomWatch;
pub use pressure::{Pressure, Pressures, Stall};
pub use stats::{Stats, Throttling};

/// One group of processes. Dropping it does not remove it: see [`Cgroups::remove`](crate::Cgroups::remove).
pub struct Cgroup {
    tree: Arc<Tree>,
    name: String,
    unified: Option<OwnedFd>,
    open: OpenFiles,
}

impl Cgroup {
    pub(crate) fn new(tree: Arc<Tree>, name: &str, unified: Option<OwnedFd>) -> Self {
        Cgroup { tree, name: name.to_owned(), unified, open: OpenFiles::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory in the cgroup2 hierarchy, for `CLONE_INTO_CGROUP`; `None` on a host with v1 only.
    pub fn unified_dir(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// `tasks` of each **v1** hierarchy, open for writing, in the order of
    /// [`Cgroups::v1_hierarchies`](crate::Cgroups::v1_hierarchies). A single-threaded process that writes `0` joins; this
    /// works in another process too, and in another mount namespace. The cgroup2 hierarchy is joined through
    /// [`Cgroup::unified_dir`].
    ///
    /// It is `tasks` and not `cgroup.procs` because a thread that moves itself needs no lock against the machine's forks;
    /// taking that lock waits for an RCU grace period, several milliseconds, whenever nobody took it just before.
    ///
    /// # Errors
    /// [`Error::Path`] when a file cannot be opened, for example because the group was removed.
    pub fn attach_fds(&self) -> Result<Vec<OwnedFd>> {
        let v1 = self.tree.hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V1);
        v1.map(|hierarchy| hierarchy.directory.open_for_writing(&self.file("tasks"))).collect()
    }

    /// Its directory in each **v1** hierarchy, in the order of [`Cgroups::v1_hierarchies`](crate::Cgroups::v1_hierarchies).
    ///
    /// # Errors
    /// [`Error::Path`] when one cannot be opened, for example because the group was removed.
    pub fn v1_dirs(&self) -> Result<Vec<OwnedFd>> {
        let v1 = self.tree.hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V1);
        v1.map(|hierarchy| hierarchy.directory.open_existing(&self.name)).collect()
    }

    /// Moves a process into the group, in every hierarchy.
    ///
    /// # Errors
    /// [`Error::Value`] with `ESRCH` when there is no such process.
    pub fn attach(&self, pid: u32) -> Result<()> {
        let pid = pid.to_string();
        for hierarchy in &self.tree.hierarchies {
            self.write(hierarchy, "cgroup.procs", &pid)?;
        }
        Ok(())
    }

    /// Sets limits; a member that is `None` stays as it is.
    ///
    /// # Errors
    /// [`Error::Value`] naming the file and the value that the kernel refused; [`Error::NoController`].
    pub fn set(&self, limits: &Resources) -> Result<()> {
        if let Some(bytes) = limits.memory_bytes {
            memory::limit(self, self.home(Controller::Memory)?, &bytes_text(bytes), limits.swap)?;
        }
        if let Some(shares) = limits.cpu_shares {
            self.set_shares(shares)?;
        }
        if limits.cpu_quota_us.is_some() || limits.cpu_period_us.is_some() {
            self.set_quota(limits.cpu_quota_us, limits.cpu_period_us)?;
        }
        if let Some(max) = limits.pids_max {
            self.write(self.home(Controller::Pids)?, "pids.max", &pids_text(max))?;
        }
        self.set_block_io(limits)?;
        match &limits.devices {
            DevicePolicy::Inherit => Ok(()),
            DevicePolicy::AllowAll => self.set_devices(None),
            DevicePolicy::Default => self.set_devices(Some(&DeviceRule::container_defaults())),
            DevicePolicy::Only(rules) => self.set_devices(Some(rules)),
        }
    }

    /// Changes the limits of a group in use and reads all of them back; a member that is `None` stays as it is.
    ///
    /// Memory comes first: when it is refused, nothing is changed. v1 refuses a limit below the usage, and v2 would kill
    /// processes until it fits, so the usage is compared beforehand; what the group allocates just then may still cost a
    /// process on v2.
    ///
    /// # Errors
    /// [`Error::BelowUsage`] for a memory limit below what is in use, and as [`Cgroup::set`].
    pub fn update(&self, limits: &Resources) -> Result<EffectiveLimits> {
        if let Some(bytes) = limits.memory_bytes {
            memory::check_usage(self, self.home(Controller::Memory)?, bytes)?;
        }
        self.set(limits)?;
        self.limits()
    }

    /// Whether the kernel counts the group's swap: without that there is nothing to limit it by.
    pub fn counts_swap(&self) -> bool {
        self.tree.home(Controller::Memory).is_some_and(|home| memory::counts_swap(self, home))
    }

    /// Reads the limits back from the kernel.
    ///
    /// # Errors
    /// [`Error::Path`] when a file cannot be read, [`Error::Unexpected`] when it holds something unknown.
    pub fn limits(&self) -> Result<EffectiveLimits> {
        let mut limits = EffectiveLimits::default();
        if let Some(home) = self.tree.home(Controller::Memory) {
            limits.memory_bytes = memory::read_limit(self, home)?;
        }
        if let Some(home) = self.tree.home(Controller::Pids) {
            limits.pids_max = home.directory.read_limit(&self.file("pids.max"))?;
        }
        if let Some(home) = self.tree.home(Controller::Cpu) {
            self.read_cpu(home, &mut limits)?;
        }
        self.read_block_io(&mut limits)?;
        Ok(limits)
    }

    /// The weight against other groups as the kernel has it: shares on v1, a weight on v2.
    ///
    /// # Errors
    /// [`Error::NoController`]; as [`Cgroup::limits`].
    pub fn cpu_weight(&self) -> Result<u64> {
        let home = self.home(Controller::Cpu)?;
        home.directory.read_number(&self.file(cpu_weight_file(home.version)))
    }

    /// Sets the weight in the units of [`Cgroup::cpu_weight`]; less than the kernel's least is its least.
    ///
    /// # Errors
    /// [`Error::NoController`]; [`Error::Value`] when the kernel refuses.
    pub fn set_cpu_weight(&self, weight: u64) -> Result<()> {
        let home = self.home(Controller::Cpu)?;
        let least = match home.version {
            Version::V1 => 2,
            Version::V2 => 1,
        };
        self.write(home, cpu_weight_file(home.version), &weight.max(least).to_string())
    }

    fn set_shares(&self, shares: u64) -> Result<()> {
        let home = self.home(Controller::Cpu)?;
        match home.version {
            Version::V1 => self.write(home, "cpu.shares", &bytes_text(shares)),
            Version::V2 => self.write(home, "cpu.weight", &shares_to_weight(shares).to_string()),
        }
    }

    fn set_quota(&self, quota_us: Option<u64>, period_us: Option<u64>) -> Result<()> {
        let home = self.home(Controller::Cpu)?;
        match home.version {
            Version::V1 => {
                if let Some(period) = period_us {
                    self.write(home, "cpu.cfs_period_us", &period.to_string())?;
                }
                let text = |quota: u64| if quota == u64::MAX { "-1".to_owned() } else { bytes_text(quota) };
                quota_us.map_or(Ok(()), |quota| self.write(home, "cpu.cfs_quota_us", &text(quota)))
            }
            Version::V2 => {
                let limited = quota_us.filter(|quota| *quota != u64::MAX);
                let quota = limited.map_or_else(|| "max".to_owned(), bytes_text);
                let period = period_us.unwrap_or(DEFAULT_PERIOD_US);
                self.write(home, "cpu.max", &format!("{quota} {period}"))
            }
        }
    }

    fn set_devices(&self, rules: Option<&[DeviceRule]>) -> Result<()> {
        match (self.tree.home(Controller::Devices), rules) {
            (Some(home), Some(rules)) => devices::restrict_v1(&home.directory, &self.name, rules),
            (Some(home), None) => devices::allow_all_v1(&home.directory, &self.name),
            (None, rules) => {
                let missing = Error::NoController { controller: Controller::Devices };
                let (node, unified) = self.unified.as_ref().zip(self.tree.unified()).ok_or(missing)?;
                devices::program::replace(node.as_fd(), rules).map_err(|(op, errno)| Error::Path {
                    op,
                    path: unified.directory.path.join(&self.name),
                    errno,
                })
            }
        }
    }

    fn read_cpu(&self, home: &Hierarchy, limits: &mut EffectiveLimits) -> Result<()> {
        let directory = &home.directory;
        match home.version {
            Version::V1 => {
                limits.cpu_shares = Some(directory.read_number(&self.file("cpu.shares"))?);
                limits.cpu_quota_us = directory.read_limit(&self.file("cpu.cfs_quota_us"))?;
                limits.cpu_period_us = Some(directory.read_number(&self.file("cpu.cfs_period_us"))?);
            }
            Version::V2 => {
                limits.cpu_weight = Some(directory.read_number(&self.file("cpu.weight"))?);
                let file = self.file("cpu.max");
                let content = directory.read(&file)?;
                let unexpected = || directory.unexpected(&file, &content);
                let (quota, period) = content.trim().split_once(' ').ok_or_else(unexpected)?;
                if quota != "max" {
                    limits.cpu_quota_us = Some(quota.parse().map_err(|_| unexpected())?);
                }
                limits.cpu_period_us = Some(period.parse().map_err(|_| unexpected())?);
            }
        }
        Ok(())
    }

    fn home(&self, controller: Controller) -> Result<&Hierarchy> {
        self.tree.home(controller).ok_or(Error::NoController { controller })
    }

    /// A control file's path below the engine's directory.
    pub(crate) fn file(&self, file: &str) -> String {
        format!("{}/{file}", self.name)
    }

    pub(crate) fn write(&self, hierarchy: &Hierarchy, file: &str, value: &str) -> Result<()> {
        hierarchy.directory.write(&self.file(file), value)
    }
}

fn cpu_weight_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "cpu.shares",
        Version::V2 => "cpu.weight",
    }
}

impl fmt::Debug for Cgroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cgroup").field("name", &self.name).finish_non_exhaustive()
    }
}
