//! One control group, in every hierarchy at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode as FileMode, OFlags, openat};
use rustix::io::Errno;

use crate::hierarchy::{self, Hierarchy, Mode};
use crate::resources::{CPU_PERIOD_US, DEFAULT_DEVICES, clamped};
use crate::{DevicePolicy, Error, Resources, Result, Stats, shares_to_weight, stats, weight_to_shares};

/// A group's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) hierarchy: String,
    pub(crate) dir: OwnedFd,
    pub(crate) unified: bool,
}

impl Node {
    pub(crate) fn new(hierarchy: &Hierarchy, dir: OwnedFd) -> Self {
        Node { hierarchy: hierarchy.name.clone(), dir, unified: hierarchy.unified }
    }

    fn has(&self, controller: &str) -> bool {
        !self.unified && self.hierarchy.split(',').any(|name| name == controller)
    }

    pub(crate) fn write(&self, file: &str, value: &str) -> Result<()> {
        hierarchy::write(self.dir.as_fd(), &self.hierarchy, file, value)
    }

    pub(crate) fn read(&self, file: &str) -> Result<Option<String>> {
        hierarchy::read(self.dir.as_fd(), &self.hierarchy, file)
    }
}

/// A control group.
#[derive(Debug)]
pub struct Cgroup {
    mode: Mode,
    nodes: Vec<Node>,
}

impl Cgroup {
    pub(crate) fn new(mode: Mode, nodes: Vec<Node>) -> Self {
        Cgroup { mode, nodes }
    }

    /// Its directory in the cgroup v2 tree, for `CLONE_INTO_CGROUP`.
    pub fn unified_dir(&self) -> Option<BorrowedFd<'_>> {
        self.nodes.iter().find(|node| node.unified).map(|node| node.dir.as_fd())
    }

    /// `cgroup.procs` of every v1 hierarchy, open for writing: a process that writes `0` moves itself.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn attach_fds(&self) -> Result<Vec<OwnedFd>> {
        let v1 = self.nodes.iter().filter(|node| !node.unified);
        v1.map(|node| {
            openat(&node.dir, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, FileMode::empty()).map_err(
                |errno| Error::Path { op: "open", path: format!("{}:cgroup.procs", node.hierarchy), errno },
            )
        })
        .collect()
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    /// [`Error::Value`], `ESRCH` in it when the process is gone.
    pub fn attach(&self, pid: u32) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.write("cgroup.procs", &pid.to_string()))
    }

    /// Sets every limit that is given.
    ///
    /// # Errors
    /// [`Error::Value`] naming the file and the value that the kernel refused.
    pub fn set(&self, resources: &Resources) -> Result<()> {
        if let Some(bytes) = resources.memory_bytes {
            self.set_memory(clamped(bytes))?;
        }
        if let Some(shares) = resources.cpu_shares {
            match self.v1("cpu") {
                Some(node) => node.write("cpu.shares", &shares.to_string())?,
                None => self.v2()?.write("cpu.weight", &shares_to_weight(shares).to_string())?,
            }
        }
        if let Some(quota) = resources.cpu_quota_us {
            match self.v1("cpu") {
                Some(node) => node.write("cpu.cfs_quota_us", &quota.to_string())?,
                None => self.v2()?.write("cpu.max", &format!("{quota} {CPU_PERIOD_US}"))?,
            }
        }
        if let Some(max) = resources.pids_max {
            self.v1("pids").map_or_else(|| self.v2(), Ok)?.write("pids.max", &clamped(max).to_string())?;
        }
        if let (DevicePolicy::Default, Some(node)) = (resources.devices, self.v1("devices")) {
            node.write("devices.deny", "a")?;
            DEFAULT_DEVICES.iter().try_for_each(|rule| node.write("devices.allow", rule))?;
        }
        Ok(())
    }

    /// Memory and swap together get the limit: on v1 by `memsw`, which must not be below the memory limit at any time; on
    /// v2 by forbidding swap.
    fn set_memory(&self, bytes: u64) -> Result<()> {
        let value = bytes.to_string();
        let Some(node) = self.v1("memory") else {
            let node = self.v2()?;
            node.write("memory.max", &value)?;
            return absent_is_fine(node.write("memory.swap.max", "0"));
        };
        match node.write("memory.limit_in_bytes", &value) {
            // Above the old memory+swap limit: that has to go up first.
            Err(Error::Value { errno: Errno::INVAL, .. }) => {
                absent_is_fine(node.write("memory.memsw.limit_in_bytes", &value))?;
                node.write("memory.limit_in_bytes", &value)
            }
            other => {
                other?;
                absent_is_fine(node.write("memory.memsw.limit_in_bytes", &value))
            }
        }
    }

    /// The limits as the kernel has them.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn limits(&self) -> Result<Resources> {
        let number = |node: Option<&Node>, file: &str| -> Result<Option<u64>> {
            let Some(node) = node else { return Ok(None) };
            Ok(node.read(file)?.and_then(|value| value.split_whitespace().next()?.parse().ok()))
        };
        // cgroup v1 says "unlimited" by the largest number of whole pages.
        let bounded = |value: Option<u64>| value.filter(|value| *value < 1 << 62);
        if self.mode == Mode::V2 {
            let node = self.v2()?;
            return Ok(Resources {
                memory_bytes: number(Some(node), "memory.max")?,
                cpu_shares: number(Some(node), "cpu.weight")?.map(weight_to_shares),
                cpu_quota_us: number(Some(node), "cpu.max")?,
                pids_max: number(Some(node), "pids.max")?,
                devices: DevicePolicy::Inherit,
            });
        }
        Ok(Resources {
            memory_bytes: bounded(number(self.v1("memory"), "memory.limit_in_bytes")?),
            cpu_shares: number(self.v1("cpu"), "cpu.shares")?,
            cpu_quota_us: number(self.v1("cpu"), "cpu.cfs_quota_us")?,
            pids_max: number(self.v1("pids"), "pids.max")?,
            devices: DevicePolicy::Inherit,
        })
    }

    /// Pids of the processes in the group, groups below it left out.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn procs(&self) -> Result<Vec<u32>> {
        let node =
            self.v1("pids").or_else(|| self.v1("memory")).or(self.nodes.first()).ok_or(Error::NoHierarchy)?;
        let procs = node.read("cgroup.procs")?.unwrap_or_default();
        Ok(procs.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Kills every process in the group and below, at once where the host has a cgroup v2 tree.
    ///
    /// # Errors
    /// [`Error::Value`].
    pub fn kill(&self) -> Result<()> {
        if let Some(node) = self.nodes.iter().find(|node| node.unified) {
            match node.write("cgroup.kill", "1") {
                // Before Linux 5.14 there is no such file.
                Err(Error::Value { errno: Errno::NOENT, .. }) => {}
                other => other?,
            }
        }
        for node in &self.nodes {
            let procs = node.read("cgroup.procs")?.unwrap_or_default();
            for pid in
                procs.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw)
            {
                // A descriptor first: the number could be somebody else's by the time the signal is sent.
                if let Ok(process) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
                    let _gone = rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL);
                }
            }
        }
        Ok(())
    }

    /// Figures of the group.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn stats(&self) -> Result<Stats> {
        match self.mode {
            Mode::V2 => stats::read_v2(self.v2()?),
            Mode::V1 | Mode::Hybrid => stats::read_v1(|controller| self.v1(controller)),
        }
    }

    fn v1(&self, controller: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.has(controller))
    }

    fn v2(&self) -> Result<&Node> {
        self.nodes.iter().find(|node| node.unified).ok_or(Error::NoHierarchy)
    }
}

/// Swap accounting may be switched off; then there is no swap to be limited.
fn absent_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::Value { errno: Errno::NOENT | Errno::ACCESS, .. }) => Ok(()),
        other => other,
    }
}
