//! Figures.

use gdn_types::{ContainerMetrics, MemoryStat};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::answer::Fault;

/// The members of Garden's `ContainerMemoryStat` that are lines of the kernel's file, in their order on the wire: those
/// before the sum, and those behind.
const LINES: [&str; 27] = [
    "active_anon",
    "active_file",
    "cache",
    "hierarchical_memory_limit",
    "inactive_anon",
    "inactive_file",
    "mapped_file",
    "pgfault",
    "pgmajfault",
    "pgpgin",
    "pgpgout",
    "rss",
    "total_active_anon",
    "total_active_file",
    "total_cache",
    "total_inactive_anon",
    "total_inactive_file",
    "total_mapped_file",
    "total_pgfault",
    "total_pgmajfault",
    "total_pgpgin",
    "total_pgpgout",
    "total_rss",
    "total_unevictable",
    "unevictable",
    "swap",
    "hierarchical_memsw_limit",
];
const LAST_LINES: [&str; 3] = ["anon", "file", "swapcached"];

/// Garden: `Metrics`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metrics {
    memory_stat: Memory,
    #[serde(rename = "CPUStat")]
    cpu_stat: Cpu,
    disk_stat: Disk,
    network_stat: Option<Network>,
    pid_stat: Pid,
    age: u64,
    #[serde(rename = "CPUEntitlement")]
    cpu_entitlement: u64,
}

#[derive(Debug, Default)]
struct Memory(MemoryStat);

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(LINES.len() + LAST_LINES.len() + 2))?;
        for name in LINES {
            map.serialize_entry(name, &self.0.line(name))?;
        }
        map.serialize_entry("total_swap", &self.0.line("total_swap"))?;
        map.serialize_entry("TotalUsageTowardLimit", &self.0.usage_toward_limit)?;
        for name in LAST_LINES {
            map.serialize_entry(name, &self.0.line(name))?;
        }
        map.end()
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Cpu {
    usage: u64,
    user: u64,
    system: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Disk {
    total_bytes_used: u64,
    total_inodes_used: u64,
    exclusive_bytes_used: u64,
    exclusive_inodes_used: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pid {
    current: u64,
    max: u64,
}

impl From<ContainerMetrics> for Metrics {
    fn from(metrics: ContainerMetrics) -> Self {
        let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Metrics {
            memory_stat: Memory(metrics.memory),
            cpu_stat: Cpu {
                usage: nanoseconds(metrics.cpu.usage),
                user: nanoseconds(metrics.cpu.user),
                system: nanoseconds(metrics.cpu.system),
            },
            disk_stat: Disk {
                total_bytes_used: metrics.disk.total_bytes,
                total_inodes_used: metrics.disk.total_inodes,
                exclusive_bytes_used: metrics.disk.exclusive_bytes,
                exclusive_inodes_used: metrics.disk.exclusive_inodes,
            },
            network_stat: metrics
                .network
                .map(|network| Network { rx_bytes: network.rx_bytes, tx_bytes: network.tx_bytes }),
            pid_stat: Pid { current: metrics.pids.current, max: metrics.pids.max },
            age: nanoseconds(metrics.age),
            cpu_entitlement: nanoseconds(metrics.cpu_entitlement),
        }
    }
}

/// Garden: `ContainerMetricsEntry`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BulkMetrics {
    pub(crate) metrics: Metrics,
    pub(crate) err: Option<Fault>,
}
