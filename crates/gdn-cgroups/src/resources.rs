//! What a group may use, and what the kernel says it may.

use crate::devices::DeviceRule;

/// Lowest and highest number of v1 shares; the kernel clamps to these.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// Lowest and highest v1 weight of block I/O.
pub(crate) const IO_WEIGHTS: std::ops::RangeInclusive<u64> = 10..=1000;
/// The `io.weight` of v2 that nobody changed.
pub(crate) const DEFAULT_IO_WEIGHT: u64 = 100;
/// Highest v2 weight.
const MAX_WEIGHT: u64 = 10_000;
/// Period of the processor quota when none is given, in microseconds; the kernel's own default.
pub(crate) const DEFAULT_PERIOD_US: u64 = 100_000;
/// From here on `pids.max` refuses a number: no host can have more tasks (`PID_MAX_LIMIT` of a 64-bit kernel).
const PIDS_UNREACHABLE: u64 = 4 * 1024 * 1024;

/// What a group may use. `None` leaves what the kernel has (for a new group: no limit).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes of memory. Values above `i64::MAX` mean `i64::MAX`.
    pub memory_bytes: Option<u64>,
    /// What the memory limit says about swap.
    pub swap: Swap,
    /// Weight against other groups, in v1 shares (2..=262144, clamped); on v2 it is converted by [`shares_to_weight`].
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per period, at least 1000.
    pub cpu_quota_us: Option<u64>,
    /// The period in microseconds; without it 100 ms.
    pub cpu_period_us: Option<u64>,
    /// Number of tasks.
    pub pids_max: Option<u64>,
    /// Weight of block I/O against other groups, 10..=1000 as `blkio.weight` of v1; on v2 it is converted by
    /// [`blkio_to_io_weight`].
    pub io_weight: Option<u64>,
    /// Block I/O in each second.
    pub io_max: IoMax,
    /// Device files.
    pub devices: DevicePolicy,
}

/// Block I/O that a group may do in a second, on each block device with hardware behind it. As a limit to set, `None` leaves what
/// the kernel has and `u64::MAX` takes a limit away; as one that was read, `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoMax {
    /// Bytes read.
    pub read_bps: Option<u64>,
    /// Bytes written.
    pub write_bps: Option<u64>,
    /// Operations that read.
    pub read_iops: Option<u64>,
    /// Operations that write.
    pub write_iops: Option<u64>,
}

impl IoMax {
    pub(crate) fn from_values([read_bps, write_bps, read_iops, write_iops]: [Option<u64>; 4]) -> Self {
        IoMax { read_bps, write_bps, read_iops, write_iops }
    }
}

/// What a memory limit says about swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Swap {
    /// Memory and swap together may use the memory limit (v1: `memsw` is the same number; v2: no swap). A kernel without swap
    /// accounting is not an error.
    #[default]
    Counted,
    /// Swap is not limited, and a limit that was set before is taken away.
    Unlimited,
}

/// Which device files may be made, read and written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DevicePolicy {
    /// What the parent allows (new group) or what was set before.
    #[default]
    Inherit,
    /// The usual devices of a container: [`DeviceRule::container_defaults`].
    Default,
    /// All that the parent allows.
    AllowAll,
    /// Only these.
    Only(Vec<DeviceRule>),
}

/// The limits as the kernel has them now; `None` = unlimited, or no such controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EffectiveLimits {
    /// Bytes of memory, rounded down to pages by the kernel.
    pub memory_bytes: Option<u64>,
    /// v1 shares.
    pub cpu_shares: Option<u64>,
    /// v2 weight.
    pub cpu_weight: Option<u64>,
    /// Microseconds per period.
    pub cpu_quota_us: Option<u64>,
    /// The period in microseconds.
    pub cpu_period_us: Option<u64>,
    /// Number of tasks.
    pub pids_max: Option<u64>,
    /// Weight of block I/O, 10..=1000 as `blkio.weight` of v1.
    pub io_weight: Option<u64>,
    /// Block I/O in each second.
    pub io_max: IoMax,
}

/// The v2 weight for a number of v1 shares.
///
/// The curve runs through (2, 1), (1024, 100) and (262144, 10000), so that a default in one is the default in the other; it
/// is the one runc, crun and systemd's successors of the linear formula agreed on (`opencontainers/cgroups`).
pub fn shares_to_weight(shares: u64) -> u64 {
    if shares <= *SHARES.start() {
        return 1;
    }
    if shares >= *SHARES.end() {
        return MAX_WEIGHT;
    }
    #[allow(clippy::cast_precision_loss, reason = "shares are below 2^18 here")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = 10f64.powf(exponent).ceil() as u64;
    weight
}

/// The v2 `io.weight` for a v1 weight of block I/O: 10 becomes 1 and 1000 becomes 10000, linearly, as runc does it.
pub fn blkio_to_io_weight(weight: u64) -> u64 {
    let (lowest, highest) = (*IO_WEIGHTS.start(), *IO_WEIGHTS.end());
    1 + (weight.clamp(lowest, highest) - lowest) * (MAX_WEIGHT - 1) / (highest - lowest)
}

/// The v1 weight of block I/O that becomes this v2 `io.weight`, or the nearest one.
pub(crate) fn io_to_blkio_weight(weight: u64) -> u64 {
    let (lowest, highest) = (*IO_WEIGHTS.start(), *IO_WEIGHTS.end());
    let above = weight.clamp(1, MAX_WEIGHT) - 1;
    lowest + (above * (highest - lowest)).div_ceil(MAX_WEIGHT - 1)
}

/// A number of bytes as the kernel takes it: it parses signed numbers.
pub(crate) fn bytes_text(bytes: u64) -> String {
    bytes.min(i64::MAX.unsigned_abs()).to_string()
}

/// A number of tasks as `pids.max` takes it.
pub(crate) fn pids_text(max: u64) -> String {
    if max >= PIDS_UNREACHABLE { "max".to_owned() } else { max.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_by_the_agreed_curve() {
        let expected =
            [(0, 1), (2, 1), (3, 2), (128, 20), (512, 60), (1024, 100), (2048, 170), (262_144, 10_000)];
        for (shares, weight) in expected {
            let got = shares_to_weight(shares);
            assert!(got.abs_diff(weight) <= weight / 10, "{shares} shares: {got}, about {weight}");
        }
        assert_eq!(shares_to_weight(1024), 100);
        assert_eq!(shares_to_weight(u64::MAX), 10_000);
        let weights: Vec<u64> = (2..=262_144).map(shares_to_weight).collect();
        assert!(weights.is_sorted(), "more shares never weigh less");
    }

    #[test]
    fn weights_of_block_io_are_converted_linearly() {
        let converted = [10, 100, 500, 1000].map(blkio_to_io_weight);
        assert_eq!(converted, [1, 910, 4950, 10_000]);
        assert_eq!((blkio_to_io_weight(0), blkio_to_io_weight(u64::MAX)), (1, 10_000));
        for weight in IO_WEIGHTS {
            assert_eq!(io_to_blkio_weight(blkio_to_io_weight(weight)), weight);
            assert_ne!(blkio_to_io_weight(weight), DEFAULT_IO_WEIGHT);
        }
    }

    #[test]
    fn numbers_the_kernel_cannot_hold_become_its_largest() {
        assert_eq!(bytes_text(u64::MAX), "9223372036854775807");
        assert_eq!(pids_text(u64::MAX), "max");
        assert_eq!(pids_text(12), "12");
    }
}
