//! Figures of containers.

use std::time::Duration;

use gdn_types::{
    ContainerMetrics, CpuStat, CpuThrottling, DiskStat, Error, MemoryStat, NetworkStat, PidStat, Pressure,
    Pressures, Result, Stall,
};

use super::{missing, nanoseconds};
use crate::garden;

impl From<ContainerMetrics> for garden::ContainerMetrics {
    fn from(metrics: ContainerMetrics) -> Self {
        let lines = metrics.memory.lines.into_iter().map(|(name, value)| garden::MemoryLine { name, value });
        garden::ContainerMetrics {
            memory: Some(garden::MemoryStat {
                usage_toward_limit_bytes: metrics.memory.usage_toward_limit,
                lines: lines.collect(),
                peak_bytes: metrics.memory.peak,
                oom_kills: metrics.memory.oom_kills,
            }),
            cpu: Some(garden::CpuStat {
                usage_ns: nanoseconds(metrics.cpu.usage),
                user_ns: nanoseconds(metrics.cpu.user),
                system_ns: nanoseconds(metrics.cpu.system),
                throttling: metrics.cpu.throttling.map(Into::into),
                demoted: metrics.cpu.demoted,
            }),
            disk: Some(garden::DiskStat {
                total_bytes: metrics.disk.total_bytes,
                total_inodes: metrics.disk.total_inodes,
                exclusive_bytes: metrics.disk.exclusive_bytes,
                exclusive_inodes: metrics.disk.exclusive_inodes,
            }),
            network: metrics.network.map(|network| garden::NetworkStat {
                rx_bytes: network.rx_bytes,
                tx_bytes: network.tx_bytes,
            }),
            pids: Some(garden::PidStat { current: metrics.pids.current, max: metrics.pids.max }),
            age_ns: nanoseconds(metrics.age),
            cpu_entitlement_ns: nanoseconds(metrics.cpu_entitlement),
            pressure: (metrics.pressure != Pressures::default()).then(|| metrics.pressure.into()),
        }
    }
}

impl TryFrom<garden::ContainerMetrics> for ContainerMetrics {
    type Error = Error;

    fn try_from(wire: garden::ContainerMetrics) -> Result<Self> {
        let memory = wire.memory.ok_or_else(|| missing("memory figures"))?;
        let cpu = wire.cpu.ok_or_else(|| missing("processor figures"))?;
        let disk = wire.disk.ok_or_else(|| missing("disk figures"))?;
        let pids = wire.pids.ok_or_else(|| missing("task figures"))?;
        Ok(ContainerMetrics {
            memory: MemoryStat {
                usage_toward_limit: memory.usage_toward_limit_bytes,
                lines: memory.lines.into_iter().map(|line| (line.name, line.value)).collect(),
                peak: memory.peak_bytes,
                oom_kills: memory.oom_kills,
            },
            cpu: CpuStat {
                usage: Duration::from_nanos(cpu.usage_ns),
                user: Duration::from_nanos(cpu.user_ns),
                system: Duration::from_nanos(cpu.system_ns),
                throttling: cpu.throttling.map(Into::into),
                demoted: cpu.demoted,
            },
            disk: DiskStat {
                total_bytes: disk.total_bytes,
                total_inodes: disk.total_inodes,
                exclusive_bytes: disk.exclusive_bytes,
                exclusive_inodes: disk.exclusive_inodes,
            },
            network: wire
                .network
                .map(|network| NetworkStat { rx_bytes: network.rx_bytes, tx_bytes: network.tx_bytes }),
            pids: PidStat { current: pids.current, max: pids.max },
            age: Duration::from_nanos(wire.age_ns),
            cpu_entitlement: Duration::from_nanos(wire.cpu_entitlement_ns),
            pressure: wire.pressure.map(Pressures::try_from).transpose()?.unwrap_or_default(),
        })
    }
}

impl From<CpuThrottling> for garden::CpuThrottling {
    fn from(throttling: CpuThrottling) -> Self {
        garden::CpuThrottling {
            periods: throttling.periods,
            throttled_periods: throttling.throttled_periods,
            throttled_ns: nanoseconds(throttling.throttled),
        }
    }
}

impl From<garden::CpuThrottling> for CpuThrottling {
    fn from(wire: garden::CpuThrottling) -> Self {
        CpuThrottling {
            periods: wire.periods,
            throttled_periods: wire.throttled_periods,
            throttled: Duration::from_nanos(wire.throttled_ns),
        }
    }
}

impl From<Pressures> for garden::Pressures {
    fn from(pressures: Pressures) -> Self {
        garden::Pressures {
            cpu: pressures.cpu.map(Into::into),
            memory: pressures.memory.map(Into::into),
            io: pressures.io.map(Into::into),
        }
    }
}

impl TryFrom<garden::Pressures> for Pressures {
    type Error = Error;

    fn try_from(wire: garden::Pressures) -> Result<Self> {
        Ok(Pressures {
            cpu: wire.cpu.map(Pressure::try_from).transpose()?,
            memory: wire.memory.map(Pressure::try_from).transpose()?,
            io: wire.io.map(Pressure::try_from).transpose()?,
        })
    }
}

impl From<Pressure> for garden::Pressure {
    fn from(pressure: Pressure) -> Self {
        garden::Pressure { some: Some(pressure.some.into()), full: pressure.full.map(Into::into) }
    }
}

impl TryFrom<garden::Pressure> for Pressure {
    type Error = Error;

    fn try_from(wire: garden::Pressure) -> Result<Self> {
        let some = wire.some.ok_or_else(|| missing("pressure of some tasks"))?;
        Ok(Pressure { some: some.into(), full: wire.full.map(Into::into) })
    }
}

impl From<Stall> for garden::Stall {
    fn from(stall: Stall) -> Self {
        garden::Stall {
            avg10: stall.avg10,
            avg60: stall.avg60,
            avg300: stall.avg300,
            total_ns: nanoseconds(stall.total),
        }
    }
}

impl From<garden::Stall> for Stall {
    fn from(wire: garden::Stall) -> Self {
        Stall {
            avg10: wire.avg10,
            avg60: wire.avg60,
            avg300: wire.avg300,
            total: Duration::from_nanos(wire.total_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> ContainerMetrics {
        let nanos = Duration::from_nanos;
        let stall = |first: f64| Stall { avg10: first, avg60: 0.25, avg300: 99.99, total: nanos(17) };
        ContainerMetrics {
            memory: MemoryStat {
                usage_toward_limit: 3,
                lines: vec![("rss".into(), 4), ("cache".into(), 5)],
                peak: Some(0),
                oom_kills: Some(0),
            },
            cpu: CpuStat {
                usage: nanos(6),
                user: nanos(7),
                system: nanos(8),
                throttling: Some(CpuThrottling { periods: 9, throttled_periods: 8, throttled: nanos(7) }),
                demoted: true,
            },
            disk: DiskStat { total_bytes: 9, total_inodes: 10, exclusive_bytes: 11, exclusive_inodes: 12 },
            network: Some(NetworkStat { rx_bytes: 1, tx_bytes: 2 }),
            pids: PidStat { current: 13, max: 14 },
            age: nanos(15),
            cpu_entitlement: nanos(16),
            pressure: Pressures {
                cpu: Some(Pressure { some: stall(1.5), full: None }),
                memory: Some(Pressure { some: stall(0.0), full: Some(stall(0.01)) }),
                io: Some(Pressure::default()),
            },
        }
    }

    fn there_and_back(metrics: &ContainerMetrics) -> ContainerMetrics {
        ContainerMetrics::try_from(garden::ContainerMetrics::from(metrics.clone())).unwrap()
    }

    #[test]
    fn figures_read_back_as_they_were_sent() {
        let all = figures();
        assert_eq!(there_and_back(&all), all);
        assert!(ContainerMetrics::try_from(garden::ContainerMetrics::default()).is_err());
    }

    #[test]
    fn what_nobody_counts_stays_absent() {
        let mut few = ContainerMetrics { network: None, pressure: Pressures::default(), ..figures() };
        (few.memory.peak, few.memory.oom_kills, few.cpu.throttling) = (None, None, None);
        assert_eq!(there_and_back(&few), few);
        assert_eq!(garden::ContainerMetrics::from(few).pressure, None);
        let nameless = garden::Pressure { some: None, full: None };
        assert!(Pressure::try_from(nameless).is_err());
    }
}
