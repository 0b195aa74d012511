//! What a group uses.

use rustix::io::Errno;

use super::{Cgroup, Pressures};
use crate::error::{Error, Result};
use crate::files::{keyed_lines, keyed_value};
use crate::layout::Controller;
use crate::memory;
use crate::tree::{Hierarchy, Version};

/// Nanoseconds in the unit of the v2 file `cpu.stat`.
const NS_PER_US: u64 = 1000;

/// What a group used so far, and uses now. Figures of which the host has no controller are 0, or absent where 0 would say
/// something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Processor time in nanoseconds.
    pub cpu_usage_ns: u64,
    /// Of that, in user mode.
    pub cpu_user_ns: u64,
    /// Of that, in the kernel.
    pub cpu_system_ns: u64,
    /// How often a processor quota held the group back.
    pub throttling: Option<Throttling>,
    /// The lines of `memory.stat`.
    pub memory: Vec<(String, u64)>,
    /// Bytes that count towards the memory limit: v1 `total_rss + total_cache + total_swap - total_inactive_file`, v2 `anon +
    /// file + swapcached - inactive_file`; never below 0.
    pub memory_toward_limit: u64,
    /// Number of tasks.
    pub pids_current: u64,
    /// Most tasks allowed; 0 = no limit.
    pub pids_max: u64,
    /// Most bytes of memory that were in use at once, page cache included; not told by v2 before Linux 5.19.
    pub memory_peak: Option<u64>,
    /// Processes killed because the group was out of memory.
    pub oom_kills: Option<u64>,
    /// How long its tasks waited for what they lacked.
    pub pressures: Pressures,
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
        self.read_cpu_figures(&mut stats)?;
        if let Some(home) = self.counting(Controller::Memory) {
            let content = self.figures(home, "memory.stat")?;
            stats.memory = keyed_lines(&content).map(|(name, value)| (name.to_owned(), value)).collect();
            stats.memory_toward_limit = memory::toward_limit(home.version, &stats.memory);
            stats.memory_peak = self.memory_peak(home)?;
            stats.oom_kills = Some(self.kills_in(home, &self.figures(home, kills_file(home.version))?)?);
        }
        if let Some(home) = self.counting(Controller::Pids) {
            stats.pids_current = self.figure(home, "pids.current")?;
            stats.pids_max = self.figure_or_none(home, "pids.max")?.unwrap_or(0);
        }
        stats.pressures = self.pressures()?;
        Ok(stats)
    }

    /// Processes killed because the group was out of memory.
    ///
    /// # Errors
    /// As [`Cgroup::stats`], and [`Error::NoController`](crate::Error::NoController) without a memory controller.
    pub fn oom_kills(&self) -> Result<u64> {
        let home = self.home(Controller::Memory)?;
        // Not from a file that stays open: every group with a limit is asked once.
        self.kills_in(home, &home.directory.read(&self.file(kills_file(home.version)))?)
    }

    fn kills_in(&self, home: &Hierarchy, content: &str) -> Result<u64> {
        keyed_value(content, "oom_kill")
            .ok_or_else(|| home.directory.unexpected(&self.file(kills_file(home.version)), content))
    }

    /// How often a processor quota held the group back; `None` without a processor controller, and where the kernel has no
    /// quotas.
    ///
    /// # Errors
    /// As [`Cgroup::stats`].
    pub fn throttling(&self) -> Result<Option<Throttling>> {
        let Some(home) = self.counting(Controller::Cpu) else { return Ok(None) };
        Ok(throttling(home.version, &self.figures(home, "cpu.stat")?))
    }

    /// The hierarchy that counts for this group. In the cgroup2 one a group in a group has no controllers.
    fn counting(&self, controller: Controller) -> Option<&Hierarchy> {
        let inner = self.name.contains('/');
        self.tree.home(controller).filter(|home| home.version == Version::V1 || !inner)
    }

    fn memory_peak(&self, home: &Hierarchy) -> Result<Option<u64>> {
        let name = match home.version {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        };
        match self.figure(home, name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Path { errno: Errno::NOENT, .. }) if home.directory.has(&self.name)? => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_cpu_figures(&self, stats: &mut Stats) -> Result<()> {
        // The cgroup2 hierarchy tells all three in one file, which is worth two openings where v1 counts too.
        if self.tree.unified().is_some() {
            return self.read_cpu_stat(stats);
        }
        let Some(home) = self.tree.home(Controller::Cpuacct) else { return Ok(()) };
        stats.cpu_usage_ns = self.figure(home, "cpuacct.usage")?;
        stats.cpu_user_ns = self.figure(home, "cpuacct.usage_user")?;
        stats.cpu_system_ns = self.figure(home, "cpuacct.usage_sys")?;
        stats.throttling = self.throttling()?;
        Ok(())
    }

    /// Every v2 group has this file, whatever controllers are on; with the processor's, it tells of quotas too.
    fn read_cpu_stat(&self, stats: &mut Stats) -> Result<()> {
        let Some(home) = self.tree.unified() else { return Ok(()) };
        let content = self.figures(home, "cpu.stat")?;
        let time = |name| -> Result<u64> {
            let micros = keyed_value(&content, name);
            Ok(micros.ok_or_else(|| home.directory.unexpected(&self.file("cpu.stat"), &content))? * NS_PER_US)
        };
        stats.cpu_usage_ns = time("usage_usec")?;
        stats.cpu_user_ns = time("user_usec")?;
        stats.cpu_system_ns = time("system_usec")?;
        stats.throttling = match self.counting(Controller::Cpu) {
            Some(counts) if counts.version == Version::V2 => throttling(Version::V2, &content),
            Some(_) | None => self.throttling()?,
        };
        Ok(())
    }
}

/// The file that tells of processes killed for want of memory.
fn kills_file(version: Version) -> &'static str {
    match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    }
}

/// A kernel without bandwidth control has no such lines.
fn throttling(version: Version, content: &str) -> Option<Throttling> {
    let line = |name| keyed_value(content, name);
    let throttled_ns = match version {
        Version::V1 => line("throttled_time")?,
        Version::V2 => line("throttled_usec")? * NS_PER_US,
    };
    Some(Throttling { periods: line("nr_periods")?, throttled_periods: line("nr_throttled")?, throttled_ns })
}
