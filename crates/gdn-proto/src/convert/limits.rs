//! What a container may use.

use gdn_types::{
    BandwidthChange, BandwidthLimits, CpuLimits, CpuShares, DiskLimits, DiskScope, Error, IoChange, IoLimits,
    IoWeight, LimitChange, Limits, MemoryLimits, PidLimits, Result,
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
            io: wire.io.map(IoLimits::try_from).transpose()?.unwrap_or_default(),
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
            io: unless_default(limits.io),
        }
    }
}

impl TryFrom<garden::ChangeLimitsRequest> for LimitChange {
    type Error = Error;

    fn try_from(wire: garden::ChangeLimitsRequest) -> Result<Self> {
        Ok(LimitChange {
            memory_bytes: wire.memory_bytes,
            cpu_shares: wire.cpu_shares,
            cpu_quota_us: wire.cpu_quota_us,
            pids_max: wire.pids_max,
            io: wire.io.map(IoChange::try_from).transpose()?.unwrap_or_default(),
            bandwidth: wire.bandwidth.map(BandwidthChange::from).unwrap_or_default(),
        })
    }
}

impl From<garden::BandwidthChange> for BandwidthChange {
    fn from(wire: garden::BandwidthChange) -> Self {
        BandwidthChange { rate: wire.rate, burst: wire.burst }
    }
}

impl From<BandwidthChange> for garden::BandwidthChange {
    fn from(change: BandwidthChange) -> Self {
        garden::BandwidthChange { rate: change.rate, burst: change.burst }
    }
}

impl TryFrom<garden::IoChange> for IoChange {
    type Error = Error;

    fn try_from(wire: garden::IoChange) -> Result<Self> {
        Ok(IoChange {
            weight: wire.weight.map(IoWeight::new).transpose()?,
            read_bps: wire.read_bps,
            write_bps: wire.write_bps,
            read_iops: wire.read_iops,
            write_iops: wire.write_iops,
        })
    }
}

impl From<IoChange> for garden::IoChange {
    fn from(change: IoChange) -> Self {
        garden::IoChange {
            weight: change.weight.map(number),
            read_bps: change.read_bps,
            write_bps: change.write_bps,
            read_iops: change.read_iops,
            write_iops: change.write_iops,
        }
    }
}

impl TryFrom<garden::IoLimits> for IoLimits {
    type Error = Error;

    fn try_from(wire: garden::IoLimits) -> Result<Self> {
        Ok(IoLimits {
            weight: IoWeight::new(wire.weight)?,
            read_bps: wire.read_bps,
            write_bps: wire.write_bps,
            read_iops: wire.read_iops,
            write_iops: wire.write_iops,
        })
    }
}

impl From<IoLimits> for garden::IoLimits {
    fn from(limits: IoLimits) -> Self {
        garden::IoLimits {
            weight: number(limits.weight),
            read_bps: limits.read_bps,
            write_bps: limits.write_bps,
            read_iops: limits.read_iops,
            write_iops: limits.write_iops,
        }
    }
}

/// A weight on the wire.
fn number(weight: Option<IoWeight>) -> u64 {
    weight.map_or(0, IoWeight::get)
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
            io: unless_default(change.io),
            bandwidth: unless_default(change.bandwidth),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_back_as_they_were_sent_and_absent_is_not_zero() {
        let weights = [None, Some(None), Some(Some(IoWeight::ORDINARY))];
        for (weight, read_bps) in weights.into_iter().zip([None, Some(0), Some(7)]) {
            let io = IoChange { weight, read_bps, ..IoChange::default() };
            let bandwidth = BandwidthChange { rate: read_bps, burst: None };
            let change = LimitChange { pids_max: Some(3), io, bandwidth, ..LimitChange::default() };
            assert_eq!(LimitChange::try_from(garden::ChangeLimitsRequest::from(change)).unwrap(), change);
        }
        assert_eq!(garden::ChangeLimitsRequest::from(LimitChange::default()).io, None);
    }

    #[test]
    fn a_weight_that_no_kernel_takes_is_refused() {
        for weight in [9, 1001] {
            let limits = garden::IoLimits { weight, ..Default::default() };
            assert!(IoLimits::try_from(limits).unwrap_err().message().contains(&weight.to_string()));
            let change = garden::IoChange { weight: Some(weight), ..Default::default() };
            assert!(IoChange::try_from(change).is_err());
        }
    }
}
