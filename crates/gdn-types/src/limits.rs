//! What a container or a process may use. Zero or absent means "no limit of ours" throughout, as on the Garden wire.

/// The limits of a container. Garden: `Limits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Network rate.
    pub bandwidth: BandwidthLimits,
    /// Share of the processor.
    pub cpu: CpuLimits,
    /// Size of the root file system.
    pub disk: DiskLimits,
    /// Memory, and with it swap.
    pub memory: MemoryLimits,
    /// Number of tasks.
    pub pids: PidLimits,
}

/// A change of the limits of a container in use. An absent member stays as it is; zero takes a limit away, and gives the
/// processor its ordinary weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitChange {
    /// Most bytes of memory, swap included.
    pub memory_bytes: Option<u64>,
    /// Weight of the processor, in cgroup v1 shares.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per 100 ms.
    pub cpu_quota_us: Option<u64>,
    /// Most tasks.
    pub pids_max: Option<u64>,
}

/// Network rate limits. Garden: `BandwidthLimits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthLimits {
    /// Bytes a second; 0 = unlimited.
    pub rate: u64,
    /// Bytes that may be sent at once above the rate.
    pub burst: u64,
}

/// Processor limits. Garden: `CPULimits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLimits {
    /// Weight against the other containers, as cgroup v1 shares; `None` = the kernel's default (1024).
    pub shares: Option<CpuShares>,
    /// Hard ceiling in microseconds of processor time per 100 ms; 0 = none. Not on the Garden wire.
    pub quota_us: u64,
}

/// A processor weight in cgroup v1 shares (the kernel clamps to 2..=262144).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuShares(u64);

impl CpuShares {
    /// `None` for 0, which on the wire means "not given".
    pub fn new(shares: u64) -> Option<Self> {
        (shares > 0).then_some(CpuShares(shares))
    }

    /// The number of shares.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Disk limits. Garden: `DiskLimits`; only the hard byte limit has an effect there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskLimits {
    /// Most bytes the root file system may hold; 0 = unlimited.
    pub bytes: u64,
    /// Most inodes the root file system may hold; 0 = unlimited.
    pub inodes: u64,
    /// What counts towards the limit.
    pub scope: DiskScope,
}

/// What counts towards a disk limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskScope {
    /// The image and what the container writes.
    #[default]
    Total,
    /// Only what the container writes.
    Exclusive,
}

/// Memory limits. Garden: `MemoryLimits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Most bytes of memory, swap included; 0 = unlimited. Values above `i64::MAX` mean `i64::MAX`.
    pub bytes: u64,
}

/// Task limits. Garden: `PidLimits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidLimits {
    /// Most tasks, init included; 0 = unlimited. Values above `i64::MAX` mean `i64::MAX`.
    pub max: u64,
}

/// Per-process limits (`setrlimit`), soft and hard alike; `None` inherits. Garden: `ResourceLimits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members are the RLIMIT_ names of getrlimit(2)")]
pub struct Rlimits {
    pub address_space: Option<u64>,
    pub core: Option<u64>,
    pub cpu: Option<u64>,
    pub data: Option<u64>,
    pub fsize: Option<u64>,
    pub locks: Option<u64>,
    pub memlock: Option<u64>,
    pub msgqueue: Option<u64>,
    pub nice: Option<u64>,
    pub nofile: Option<u64>,
    pub nproc: Option<u64>,
    pub rss: Option<u64>,
    pub rtprio: Option<u64>,
    pub sigpending: Option<u64>,
    pub stack: Option<u64>,
}

impl Rlimits {
    /// The limits that are set, with their numbers from `asm-generic/resource.h`.
    pub fn set(&self) -> impl Iterator<Item = (u32, u64)> {
        [
            (0, self.cpu),
            (1, self.fsize),
            (2, self.data),
            (3, self.stack),
            (4, self.core),
            (5, self.rss),
            (6, self.nproc),
            (7, self.nofile),
            (8, self.memlock),
            (9, self.address_space),
            (10, self.locks),
            (11, self.sigpending),
            (12, self.msgqueue),
            (13, self.nice),
            (14, self.rtprio),
        ]
        .into_iter()
        .filter_map(|(number, value)| value.map(|value| (number, value)))
    }
}
