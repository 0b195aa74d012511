//! What a container or a process may use. Zero or absent means "no limit of ours" throughout, as on the Garden wire.

use crate::{Error, Result};

/// The limits of a container. Garden: `Limits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Network rate.
    pub bandwidth: BandwidthLimits,
    /// Share of the processor.
    pub cpu: CpuLimits,
    /// Size of the root file system.
    pub disk: DiskLimits,
    /// Block I/O. Not on the Garden wire.
    pub io: IoLimits,
    /// Memory, and with it swap.
    pub memory: MemoryLimits,
    /// Number of tasks.
    pub pids: PidLimits,
}

/// A change of the limits of a container in use. An absent member stays as it is; zero takes a limit away, and gives the
/// processor its ordinary weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitChange {
    /// Most bytes of memory, swap included unless the operator leaves swap unlimited.
    pub memory_bytes: Option<u64>,
    /// Weight of the processor, in cgroup v1 shares.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per 100 ms.
    pub cpu_quota_us: Option<u64>,
    /// Most tasks.
    pub pids_max: Option<u64>,
    /// Block I/O.
    pub io: IoChange,
    /// Network rate.
    pub bandwidth: BandwidthChange,
}

/// A change of the limits of the network. An absent member stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthChange {
    /// Bytes a second; 0 takes the limit away, and what was said of bursts with it.
    pub rate: Option<u64>,
    /// Bytes that may be sent at once above the rate; 0 leaves them to the engine.
    pub burst: Option<u64>,
}

/// A change of the limits of block I/O. An absent member stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoChange {
    /// The weight; an absent one within is the ordinary one.
    pub weight: Option<Option<IoWeight>>,
    /// Bytes read in a second; 0 takes the limit away, and so below.
    pub read_bps: Option<u64>,
    /// Bytes written in a second.
    pub write_bps: Option<u64>,
    /// Operations that read in a second.
    pub read_iops: Option<u64>,
    /// Operations that write in a second.
    pub write_iops: Option<u64>,
}

impl Limits {
    /// These limits with a change made to them.
    #[must_use]
    pub fn changed(mut self, change: &LimitChange) -> Self {
        self.memory.bytes = change.memory_bytes.unwrap_or(self.memory.bytes);
        self.cpu.shares = change.cpu_shares.map_or(self.cpu.shares, CpuShares::new);
        self.cpu.quota_us = change.cpu_quota_us.unwrap_or(self.cpu.quota_us);
        self.pids.max = change.pids_max.unwrap_or(self.pids.max);
        self.bandwidth = self.bandwidth.changed(change.bandwidth);
        let (io, change) = (&mut self.io, &change.io);
        io.weight = change.weight.unwrap_or(io.weight);
        io.read_bps = change.read_bps.unwrap_or(io.read_bps);
        io.write_bps = change.write_bps.unwrap_or(io.write_bps);
        io.read_iops = change.read_iops.unwrap_or(io.read_iops);
        io.write_iops = change.write_iops.unwrap_or(io.write_iops);
        self
    }
}

impl BandwidthLimits {
    /// These limits with a change made to them.
    #[must_use]
    pub fn changed(self, change: BandwidthChange) -> Self {
        match change.rate.unwrap_or(self.rate) {
            0 => BandwidthLimits::default(),
            rate => BandwidthLimits { rate, burst: change.burst.unwrap_or(self.burst) },
        }
    }
}

/// Network rate limits, for what a container sends and for what it receives alike. Garden: `BandwidthLimits`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BandwidthLimits {
    /// Bytes a second; 0 = unlimited.
    pub rate: u64,
    /// Bytes that may be sent at once above the rate; 0 = what the engine thinks fit. Means nothing without a rate.
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
    /// What the kernel gives to whom nobody gave any.
    pub const ORDINARY: CpuShares = CpuShares(1024);

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

/// Limits of block I/O, on each block device with hardware behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoLimits {
    /// Weight against the other containers; `None` = the kernel's default.
    pub weight: Option<IoWeight>,
    /// Most bytes read in a second; 0 = unlimited, and so below.
    pub read_bps: u64,
    /// Most bytes written in a second.
    pub write_bps: u64,
    /// Most operations that read in a second.
    pub read_iops: u64,
    /// Most operations that write in a second.
    pub write_iops: u64,
}

impl IoLimits {
    /// These limits, and where they say nothing those of `defaults`.
    #[must_use]
    pub fn or(self, defaults: IoLimits) -> Self {
        let or = |given: u64, default: u64| if given == 0 { default } else { given };
        IoLimits {
            weight: self.weight.or(defaults.weight),
            read_bps: or(self.read_bps, defaults.read_bps),
            write_bps: or(self.write_bps, defaults.write_bps),
            read_iops: or(self.read_iops, defaults.read_iops),
            write_iops: or(self.write_iops, defaults.write_iops),
        }
    }
}

/// A weight of block I/O as cgroup v1 has it: 10 to 1000, 500 being ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IoWeight(u64);

impl IoWeight {
    /// The ordinary weight, in the words of cgroup v1.
    pub const ORDINARY: IoWeight = IoWeight(500);

    /// `None` for 0, which on the wire means "not given".
    ///
    /// # Errors
    /// `InvalidArgument` for a weight that no kernel takes, naming it.
    pub fn new(weight: u64) -> Result<Option<Self>> {
        match weight {
            0 => Ok(None),
            10..=1000 => Ok(Some(IoWeight(weight))),
            _ => Err(Error::invalid(format!("block i/o weight {weight} is not between 10 and 1000"))),
        }
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let cpu = CpuLimits { shares: CpuShares::new(512), quota_us: 7 };
        let before = Limits { cpu, memory: MemoryLimits { bytes: 9 }, ..Limits::default() };
        assert_eq!(before.changed(&LimitChange::default()), before);
        let change = LimitChange { cpu_shares: Some(0), pids_max: Some(3), ..LimitChange::default() };
        let after = before.changed(&change);
        assert_eq!((after.cpu.shares, after.cpu.quota_us), (None, 7));
        assert_eq!((after.memory.bytes, after.pids.max), (9, 3));
    }

    #[test]
    fn limits_of_block_io_change_one_by_one() {
        let io = IoLimits { weight: Some(IoWeight::ORDINARY), read_bps: 5, ..IoLimits::default() };
        let before = Limits { io, ..Limits::default() };
        let change = IoChange { weight: Some(None), write_iops: Some(6), ..IoChange::default() };
        let after = before.changed(&LimitChange { io: change, ..LimitChange::default() }).io;
        assert_eq!(after, IoLimits { weight: None, read_bps: 5, write_iops: 6, ..IoLimits::default() });
    }

    #[test]
    fn a_rate_that_is_taken_away_takes_its_burst_along() {
        let limits = |rate, burst| BandwidthLimits { rate, burst };
        let change = |rate, burst| BandwidthChange { rate, burst };
        assert_eq!(limits(5, 6).changed(BandwidthChange::default()), limits(5, 6));
        assert_eq!(limits(5, 6).changed(change(Some(7), None)), limits(7, 6));
        assert_eq!(limits(5, 6).changed(change(None, Some(0))), limits(5, 0));
        assert_eq!(limits(5, 6).changed(change(Some(0), Some(9))), BandwidthLimits::default());
        assert_eq!(limits(0, 0).changed(change(None, Some(9))), BandwidthLimits::default());
    }

    #[test]
    fn weights_of_block_io_that_no_kernel_takes_are_named() {
        assert_eq!(IoWeight::new(0).unwrap(), None);
        for weight in [10, 500, 1000] {
            assert_eq!(IoWeight::new(weight).unwrap().map(IoWeight::get), Some(weight));
        }
        for weight in [1, 9, 1001, u64::MAX] {
            assert!(IoWeight::new(weight).unwrap_err().message().contains(&weight.to_string()));
        }
    }

    #[test]
    fn defaults_fill_what_is_not_given() {
        let defaults =
            IoLimits { weight: Some(IoWeight::ORDINARY), read_bps: 5, write_bps: 6, ..IoLimits::default() };
        let given = IoLimits { read_bps: 7, ..IoLimits::default() };
        assert_eq!(given.or(defaults), IoLimits { read_bps: 7, ..defaults });
    }
}
