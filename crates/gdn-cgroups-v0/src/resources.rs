//! Limits, in the words of cgroup v1 where the two versions differ.

/// Microseconds of the period to which a processor quota refers: the kernel's default.
pub(crate) const CPU_PERIOD_US: u64 = 100_000;

/// What a control group may use; `None` is "no limit of ours".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Memory in bytes, swap included.
    pub memory_bytes: Option<u64>,
    /// Processor weight in shares (1024 = normal).
    pub cpu_shares: Option<u64>,
    /// Processor time in microseconds for each 100 ms.
    pub cpu_quota_us: Option<u64>,
    /// Number of tasks.
    pub pids_max: Option<u64>,
    /// Device nodes that work.
    pub devices: DevicePolicy,
}

/// Which device nodes processes may open, and which they may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DevicePolicy {
    /// As the parent has it.
    #[default]
    Inherit,
    /// Any node may be made; null, zero, full, tty, random, urandom, terminals, tun and fuse may be opened.
    Default,
}

/// The lines of [`DevicePolicy::Default`] for `devices.allow`, after everything was denied.
pub(crate) const DEFAULT_DEVICES: [&str; 12] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:8 rwm",
    "c 1:7 rwm",
    "c 5:0 rwm",
    "c 1:5 rwm",
    "c 1:9 rwm",
    "c 136:* rwm",
    "c 5:2 rwm",
    "c 10:200 rwm",
    "c 10:229 rwm",
];

/// A cgroup v1 weight as a v2 weight, by the curve through (2, 1), (1024, 100) and (262144, 10000).
///
/// Source: the opencontainers cgroups module, since 2025; conformance G29.
pub fn shares_to_weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    let logarithm = (shares as f64).log2();
    let exponent = (logarithm * logarithm + 125.0 * logarithm) / 612.0 - 7.0 / 34.0;
    // The curve stays between 1 and 10000 on the clamped range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 <= value <= 10000")]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

/// The smallest number of shares that gives this v2 weight.
pub fn weight_to_shares(weight: u64) -> u64 {
    let (mut low, mut high) = (2, 262_144);
    while low < high {
        let middle = u64::midpoint(low, high);
        if shares_to_weight(middle) < weight {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The kernel's numbers are signed.
pub(crate) fn clamped(value: u64) -> u64 {
    value.min(i64::MAX.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_meet_the_fixed_points_and_lead_back() {
        assert_eq!([2, 1024, 262_144].map(shares_to_weight), [1, 100, 10_000]);
        for weight in [1, 2, 50, 100, 500, 10_000] {
            assert_eq!(shares_to_weight(weight_to_shares(weight)), weight);
        }
    }
}
