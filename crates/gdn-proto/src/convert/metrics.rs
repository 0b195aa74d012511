//! Figures of containers.

use std::time::Duration;

use gdn_types::{ContainerMetrics, CpuStat, DiskStat, Error, MemoryStat, NetworkStat, PidStat, Result};

use super::{missing, nanoseconds};
use crate::garden;

impl From<ContainerMetrics> for garden::ContainerMetrics {
    fn from(metrics: ContainerMetrics) -> Self {
        let lines = metrics.memory.lines.into_iter().map(|(name, value)| garden::MemoryLine { name, value });
        garden::ContainerMetrics {
            memory: Some(garden::MemoryStat {
                usage_toward_limit_bytes: metrics.memory.usage_toward_limit,
                lines: lines.collect(),
            }),
            cpu: Some(garden::CpuStat {
                usage_ns: nanoseconds(metrics.cpu.usage),
                user_ns: nanoseconds(metrics.cpu.user),
                system_ns: nanoseconds(metrics.cpu.system),
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
            },
            cpu: CpuStat {
                usage: Duration::from_nanos(cpu.usage_ns),
                user: Duration::from_nanos(cpu.user_ns),
                system: Duration::from_nanos(cpu.system_ns),
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_back_as_they_were_sent() {
        let nanos = Duration::from_nanos;
        for network in [None, Some(NetworkStat { rx_bytes: 1, tx_bytes: 2 })] {
            let metrics = ContainerMetrics {
                memory: MemoryStat {
                    usage_toward_limit: 3,
                    lines: vec![("rss".into(), 4), ("cache".into(), 5)],
                },
                cpu: CpuStat { usage: nanos(6), user: nanos(7), system: nanos(8) },
                disk: DiskStat {
                    total_bytes: 9,
                    total_inodes: 10,
                    exclusive_bytes: 11,
                    exclusive_inodes: 12,
                },
                network,
                pids: PidStat { current: 13, max: 14 },
                age: nanos(15),
                cpu_entitlement: nanos(16),
            };
            assert_eq!(
                ContainerMetrics::try_from(garden::ContainerMetrics::from(metrics.clone())).unwrap(),
                metrics
            );
        }
        assert!(ContainerMetrics::try_from(garden::ContainerMetrics::default()).is_err());
    }
}
