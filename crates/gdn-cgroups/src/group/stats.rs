//! What a group uses.

use super::Cgroup;
use crate::error::Result;
use crate::files::{keyed_lines, keyed_value};
use crate::layout::Controller;
use crate::memory;
use crate::tree::{Hierarchy, Version};

/// Nanoseconds in the unit of the v2 file `cpu.stat`.
const NS_PER_US: u64 = 1000;

/// What a group used so far, and uses now. Figures of which the host has no controller are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time in nanoseconds.
    pub cpu_usage_ns: u64,
    /// Of that, in user mode.
    pub cpu_user_ns: u64,
    /// Of that, in the kernel.
    pub cpu_system_ns: u64,
    /// How often a processor quota held the group back.
    pub throttling: Throttling,
    /// The lines of `memory.stat`.
    pub memory: Vec<(String, u64)>,
    /// Bytes that count towards the memory limit: v1 `total_rss + total_cache + total_swap - total_inactive_file`, v2 `anon +
    /// file + swapcached - inactive_file`; never below 0.
    pub memory_toward_limit: u64,
    /// Number of tasks.
    pub pids_current: u64,
    /// Most tasks allowed; 0 = no limit.
    pub pids_max: u64,
    /// Processes killed because the group was out of memory.
    pub oom_kills: u64,
}

/// How often a processor quota held a group back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which the group ran.
    pub periods: u64,
    /// Of those, the ones in which it used up its quota.
    pub throttled_periods: u64,
    /// Time for which it was held back, in nanoseconds, summed over processors.
    pub throttled_ns: u64,
}

impl Cgroup {
    /// Reads all figures.
    ///
    /// # Errors
    /// [`Error::Path`](crate::Error::Path) when a file cannot be read, [`Error::Unexpected`](crate::Error::Unexpected) when it holds something unknown.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        self.read_cpu_time(&mut stats)?;
        stats.throttling = self.throttling()?;
        if let Some(home) = self.counting(Controller::Memory) {
            let content = home.directory.read(&self.file("memory.stat"))?;
            stats.memory = keyed_lines(&content).map(|(name, value)| (name.to_owned(), value)).collect();
            stats.memory_toward_limit = memory::toward_limit(home.version, &stats.memory);
            stats.oom_kills = self.oom_kills()?;
        }
        if let Some(home) = self.counting(Controller::Pids) {
            stats.pids_current = home.directory.read_number(&self.file("pids.current"))?;
            stats.pids_max = home.directory.read_limit(&self.file("pids.max"))?.unwrap_or(0);
        }
        Ok(stats)
    }

    /// Processes killed because the group was out of memory.
    ///
    /// # Errors
    /// As [`Cgroup::stats`], and [`Error::NoController`](crate::Error::NoController) without a memory controller.
    pub fn oom_kills(&self) -> Result<u64> {
        let home = self.home(Controller::Memory)?;
        let file = self.file(match home.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        });
        let content = home.directory.read(&file)?;
        keyed_value(&content, "oom_kill").ok_or_else(|| home.directory.unexpected(&file, &content))
    }

    /// How often a processor quota held the group back; all 0 without a processor controller.
    ///
    /// # Errors
    /// As [`Cgroup::stats`].
    pub fn throttling(&self) -> Result<Throttling> {
        let Some(home) = self.tree.home(Controller::Cpu) else { return Ok(Throttling::default()) };
        let content = home.directory.read(&self.file("cpu.stat"))?;
        // A kernel without bandwidth control has no such lines.
        let line = |name| keyed_value(&content, name).unwrap_or(0);
        let throttled_ns = match home.version {
            Version::V1 => line("throttled_time"),
            Version::V2 => line("throttled_usec") * NS_PER_US,
        };
        Ok(Throttling { periods: line("nr_periods"), throttled_periods: line("nr_throttled"), throttled_ns })
    }

    /// The hierarchy that counts for this group. In the cgroup2 one a group in a group has no controllers.
    fn counting(&self, controller: Controller) -> Option<&Hierarchy> {
        let inner = self.name.contains('/');
        self.tree.home(controller).filter(|home| home.version == Version::V1 || !inner)
    }

    fn read_cpu_time(&self, stats: &mut Stats) -> Result<()> {
        if let Some(home) = self.tree.home(Controller::Cpuacct) {
            stats.cpu_usage_ns = home.directory.read_number(&self.file("cpuacct.usage"))?;
            stats.cpu_user_ns = home.directory.read_number(&self.file("cpuacct.usage_user"))?;
            stats.cpu_system_ns = home.directory.read_number(&self.file("cpuacct.usage_sys"))?;
        } else if let Some(home) = self.tree.unified() {
            // Every v2 group has this file, whatever controllers are on.
            let file = self.file("cpu.stat");
            let content = home.directory.read(&file)?;
            let time = |name| -> Result<u64> {
                let micros = keyed_value(&content, name);
                Ok(micros.ok_or_else(|| home.directory.unexpected(&file, &content))? * NS_PER_US)
            };
            stats.cpu_usage_ns = time("usage_usec")?;
            stats.cpu_user_ns = time("user_usec")?;
            stats.cpu_system_ns = time("system_usec")?;
        }
        Ok(())
    }
}
