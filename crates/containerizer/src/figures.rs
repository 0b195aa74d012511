//! What a group uses, in the words of the API.

use std::sync::Arc;
use std::time::Duration;

use gdn_cgroups::Cgroup;
use gdn_readers::Readers;
use gdn_types::{
    ContainerMetrics, CpuStat, CpuThrottling, Error, ErrorKind, MemoryStat, PidStat, Pressure, Pressures,
    Result, Stall,
};

use crate::component::cgroup_error;

/// Reads all figures of the group.
pub(crate) async fn of(group: Arc<Cgroup>, readers: &Readers) -> Result<ContainerMetrics> {
    let stats = readers.read(move || group.stats().map_err(cgroup_error)).await;
    let stats = stats.map_err(|error| Error::caused(ErrorKind::Internal, "read figures", error))??;
    let time = Duration::from_nanos;
    Ok(ContainerMetrics {
        memory: MemoryStat {
            usage_toward_limit: stats.memory_toward_limit,
            lines: stats.memory,
            peak: stats.memory_peak,
            oom_kills: stats.oom_kills,
        },
        cpu: CpuStat {
            usage: time(stats.cpu_usage_ns),
            user: time(stats.cpu_user_ns),
            system: time(stats.cpu_system_ns),
            throttling: stats.throttling.map(|throttling| CpuThrottling {
                periods: throttling.periods,
                throttled_periods: throttling.throttled_periods,
                throttled: time(throttling.throttled_ns),
            }),
            demoted: false,
        },
        pids: PidStat { current: stats.pids_current, max: stats.pids_max },
        pressure: Pressures {
            cpu: stats.pressures.cpu.map(pressure),
            memory: stats.pressures.memory.map(pressure),
            io: stats.pressures.io.map(pressure),
        },
        ..ContainerMetrics::default()
    })
}

fn pressure(told: gdn_cgroups::Pressure) -> Pressure {
    Pressure { some: stall(told.some), full: told.full.map(stall) }
}

fn stall(told: gdn_cgroups::Stall) -> Stall {
    Stall { avg10: told.avg10, avg60: told.avg60, avg300: told.avg300, total: told.total }
}
