//! Figures of one container, as clients see them. Garden: `Metrics`.

use std::time::Duration;

/// All figures of a container. What the host's kernel does not count is absent, never 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerMetrics {
    /// Memory.
    pub memory: MemoryStat,
    /// Processor time.
    pub cpu: CpuStat,
    /// Root file system.
    pub disk: DiskStat,
    /// Network; absent without one.
    pub network: Option<NetworkStat>,
    /// Tasks.
    pub pids: PidStat,
    /// Time since it was created.
    pub age: Duration,
    /// Processor time it was entitled to so far.
    pub cpu_entitlement: Duration,
    /// How long its tasks waited for what they lacked. Not on the Garden wire.
    pub pressure: Pressures,
}

/// Memory figures: the lines of the kernel's `memory.stat`, and the sum that counts towards the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// Bytes that count towards the limit (cgroup v1: rss + cache + swap - inactive_file, all hierarchical; v2: anon +
    /// file + swapcached - inactive_file), never below 0.
    pub usage_toward_limit: u64,
    /// The raw lines, as name and value.
    pub lines: Vec<(String, u64)>,
    /// Most bytes that were in use at once, page cache included. Not on the Garden wire.
    pub peak: Option<u64>,
    /// Processes that the kernel killed because memory ran out. Not on the Garden wire.
    pub oom_kills: Option<u64>,
}

impl MemoryStat {
    /// The value of a raw line, 0 when the kernel does not have it.
    pub fn line(&self, name: &str) -> u64 {
        self.lines.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
    }
}

/// Processor time, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStat {
    /// All of it.
    pub usage: Duration,
    /// In user mode.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
    /// How often the quota held the container back. Not on the Garden wire.
    pub throttling: Option<CpuThrottling>,
    /// Whether it has to give way to the others, since it used more than it was entitled to. Not on the Garden wire.
    pub demoted: bool,
}

/// How often a processor quota held a container back, cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuThrottling {
    /// Periods in which it ran.
    pub periods: u64,
    /// Of those, the ones in which it used up its quota.
    pub throttled_periods: u64,
    /// For how long it was held back, summed over processors.
    pub throttled: Duration,
}

/// How long tasks waited for what they lacked: the kernel's pressure stall information.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressures {
    /// Processors.
    pub cpu: Option<Pressure>,
    /// Memory.
    pub memory: Option<Pressure>,
    /// Block I/O.
    pub io: Option<Pressure>,
}

/// How long tasks waited for one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks waited at once; not told for processors before Linux 5.13.
    pub full: Option<Stall>,
}

/// Shares of the time in which tasks waited, in percent, and the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// Over the last 10 seconds.
    pub avg10: f64,
    /// Over the last minute.
    pub avg60: f64,
    /// Over the last 5 minutes.
    pub avg300: f64,
    /// Since the container was created.
    pub total: Duration,
}

/// Use of the root file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStat {
    /// Bytes of the image and of what the container wrote.
    pub total_bytes: u64,
    /// Inodes of both.
    pub total_inodes: u64,
    /// Bytes of what the container wrote.
    pub exclusive_bytes: u64,
    /// Inodes of what the container wrote.
    pub exclusive_inodes: u64,
}

/// Bytes through the container's interface, as seen from inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkStat {
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_bytes: u64,
}

/// Number of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidStat {
    /// Now.
    pub current: u64,
    /// At most; 0 = no limit.
    pub max: u64,
}
