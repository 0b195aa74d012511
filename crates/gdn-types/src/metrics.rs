//! Figures of one container, as clients see them. Garden: `Metrics`.

use std::time::Duration;

/// All figures of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
}

/// Memory figures: the lines of the kernel's `memory.stat`, and the sum that counts towards the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// Bytes that count towards the limit (cgroup v1: rss + cache + swap - inactive_file, all hierarchical; v2: anon +
    /// file + swapcached - inactive_file), never below 0.
    pub usage_toward_limit: u64,
    /// The raw lines, as name and value.
    pub lines: Vec<(String, u64)>,
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
