//! What a container may use.

use gdn_types::{
    BandwidthLimits, CpuLimits, CpuShares, DiskLimits, DiskScope, Error, LimitChange, Limits, MemoryLimits,
    PidLimits, Result,
};

use super::{enumeration, unless_default};
use crate::garden;

impl TryFrom<garden::Limits> for Limits {
    type Error = Error;

    fn try_from(wire: garden::Limits) -> Result<Self> {
        let bandwidth = wire.bandwidth.unwrap_or_default();
        Ok(Limits {
            bandwidth: BandwidthLimits { rate: bandwidth.rate, burst: bandwidth.burst },
            cpu: wire.cpu.map(CpuLimits::from).unwrap_or_default(),
            disk: wire.disk.map(DiskLimits::try_from).transpose()?.unwrap_or_default(),
            memory: wire.memory.map(MemoryLimits::from).unwrap_or_default(),
            pids: PidLimits { max: wire.pids.unwrap_or_default().max },
        })
    }
}

impl From<Limits> for garden::Limits {
    fn from(limits: Limits) -> Self {
        garden::Limits {
            bandwidth: unless_default(limits.bandwidth),
            cpu: unless_default(limits.cpu),
            disk: unless_default(limits.disk),
            memory: unless_default(limits.memory),
            pids: unless_default(limits.pids),
        }
    }
}

impl From<garden::ChangeLimitsRequest> for LimitChange {
    fn from(wire: garden::ChangeLimitsRequest) -> Self {
        LimitChange {
            memory_bytes: wire.memory_bytes,
            cpu_shares: wire.cpu_shares,
            cpu_quota_us: wire.cpu_quota_us,
            pids_max: wire.pids_max,
        }
    }
}

impl From<LimitChange> for garden::ChangeLimitsRequest {
    /// Of no container yet.
    fn from(change: LimitChange) -> Self {
        garden::ChangeLimitsRequest {
            handle: String::new(),
            memory_bytes: change.memory_bytes,
            cpu_shares: change.cpu_shares,
            cpu_quota_us: change.cpu_quota_us,
            pids_max: change.pids_max,
        }
    }
}

impl From<BandwidthLimits> for garden::BandwidthLimits {
    fn from(limits: BandwidthLimits) -> Self {
        garden::BandwidthLimits { rate: limits.rate, burst: limits.burst }
    }
}

impl From<garden::CpuLimits> for CpuLimits {
    fn from(wire: garden::CpuLimits) -> Self {
        CpuLimits { shares: CpuShares::new(wire.shares), quota_us: wire.quota_us }
    }
}

impl From<CpuLimits> for garden::CpuLimits {
    fn from(limits: CpuLimits) -> Self {
        garden::CpuLimits { shares: limits.shares.map_or(0, CpuShares::get), quota_us: limits.quota_us }
    }
}

impl TryFrom<garden::DiskLimits> for DiskLimits {
    type Error = Error;

    fn try_from(wire: garden::DiskLimits) -> Result<Self> {
        let scope = match enumeration("disk limit scope", wire.scope)? {
            garden::DiskScope::Unspecified | garden::DiskScope::Total => DiskScope::Total,
            garden::DiskScope::Exclusive => DiskScope::Exclusive,
        };
        Ok(DiskLimits { bytes: wire.bytes, inodes: wire.inodes, scope })
    }
}

impl From<DiskLimits> for garden::DiskLimits {
    fn from(limits: DiskLimits) -> Self {
        let scope = match limits.scope {
            DiskScope::Total => garden::DiskScope::Total,
            DiskScope::Exclusive => garden::DiskScope::Exclusive,
        };
        garden::DiskLimits { bytes: limits.bytes, inodes: limits.inodes, scope: scope.into() }
    }
}

impl From<garden::MemoryLimits> for MemoryLimits {
    fn from(wire: garden::MemoryLimits) -> Self {
        MemoryLimits { bytes: wire.bytes }
    }
}

impl From<MemoryLimits> for garden::MemoryLimits {
    fn from(limits: MemoryLimits) -> Self {
        garden::MemoryLimits { bytes: limits.bytes }
    }
}

impl From<PidLimits> for garden::PidLimits {
    fn from(limits: PidLimits) -> Self {
        garden::PidLimits { max: limits.max }
    }
}
