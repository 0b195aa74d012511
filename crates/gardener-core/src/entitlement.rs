//! Which part of the machine's processors a container may claim as its own.

use std::time::Duration;

use gdn_types::{CpuLimits, CpuShares, Error, Result};

/// Percent of one processor for each share of a container's processor weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entitlement {
    percent_per_share: f64,
}

impl Entitlement {
    /// So many percent of one processor for each share.
    ///
    /// # Errors
    /// `InvalidArgument` unless it is a number above 0.
    pub fn per_share(percent: f64) -> Result<Self> {
        if percent.is_finite() && percent > 0.0 {
            Ok(Entitlement { percent_per_share: percent })
        } else {
            Err(Error::invalid(format!("cpu entitlement per share {percent} is not a number above 0")))
        }
    }

    /// All processors, divided among as many shares as the machine has mebibytes of memory: whoever gives its containers a
    /// share for each of their mebibytes then gives away the machine once.
    ///
    /// # Errors
    /// `InvalidArgument` for a machine without processors or memory.
    pub fn of_machine(processors: u32, memory_bytes: u64) -> Result<Self> {
        let mebibytes = (memory_bytes >> 20) as f64;
        Entitlement::per_share(f64::from(processors) * 100.0 / mebibytes)
    }

    /// The processor time that a container of this age may have used.
    pub fn of(self, cpu: &CpuLimits, age: Duration) -> Duration {
        let shares = cpu.shares.unwrap_or(CpuShares::ORDINARY).get();
        let part = shares as f64 * self.percent_per_share / 100.0;
        Duration::try_from_secs_f64(part * age.as_secs_f64()).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(shares: u64) -> CpuLimits {
        CpuLimits { shares: CpuShares::new(shares), quota_us: 0 }
    }

    #[test]
    fn shares_and_age_multiply() {
        let half = Entitlement::per_share(0.5).unwrap();
        assert_eq!(half.of(&with(100), Duration::from_secs(60)), Duration::from_secs(30));
        assert_eq!(
            half.of(&with(0), Duration::from_secs(100)),
            Duration::from_secs(512),
            "the ordinary 1024"
        );
        assert_eq!(half.of(&with(100), Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_machine_is_given_away_once() {
        let all = Entitlement::of_machine(4, 8 << 30).unwrap();
        assert_eq!(all.of(&with(8 * 1024), Duration::from_secs(10)), Duration::from_secs(40));
    }

    #[test]
    fn what_is_no_part_is_refused_and_what_is_too_long_is_for_ever() {
        for percent in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Entitlement::per_share(percent).is_err(), "{percent}");
        }
        assert!(Entitlement::of_machine(1, 0).is_err() && Entitlement::of_machine(0, 1 << 30).is_err());
        let much = Entitlement::per_share(f64::MAX).unwrap();
        assert_eq!(much.of(&with(u64::MAX), Duration::from_secs(1)), Duration::MAX);
    }
}
