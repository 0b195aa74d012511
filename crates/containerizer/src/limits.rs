//! Limits, from the words of the API to those of control groups and back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gdn_cgroups::{Cgroups, EffectiveLimits, IoMax, Resources};
use gdn_types::{
    CpuLimits, CpuShares, Error, IoLimits, IoWeight, LimitChange, Limits, MemoryLimits, PidLimits, Result,
};

use crate::component::cgroup_error;
use crate::container::Container;
use crate::failures;
use crate::policy::Policy;

/// The limits of a new container; zero is "none of ours".
pub(crate) fn resources(limits: &Limits, policy: &Policy) -> Resources {
    let io = limits.io.or(policy.io);
    Resources {
        memory_bytes: given(limits.memory.bytes),
        swap: policy.swap(),
        cpu_shares: limits.cpu.shares.map(CpuShares::get),
        cpu_quota_us: policy.quota(&limits.cpu),
        pids_max: given(limits.pids.max),
        io_weight: io.weight.map(IoWeight::get),
        io_max: io_max(&io),
        devices: policy.devices(),
        ..Resources::default()
    }
}

/// The rates among the limits of block I/O.
pub(crate) fn io_max(io: &IoLimits) -> IoMax {
    IoMax {
        read_bps: given(io.read_bps),
        write_bps: given(io.write_bps),
        read_iops: given(io.read_iops),
        write_iops: given(io.write_iops),
    }
}

fn given(value: u64) -> Option<u64> {
    (value > 0).then_some(value)
}

/// Whether a new container with these limits has any of block I/O.
pub(crate) fn limits_block_io(limits: &Limits, policy: &Policy) -> bool {
    limits.io.or(policy.io) != IoLimits::default()
}

/// Limits in the words of the API.
pub(crate) fn in_force(limits: EffectiveLimits) -> Result<Limits> {
    let none = |value: Option<u64>| value.unwrap_or(0);
    Ok(Limits {
        cpu: CpuLimits {
            // Clients of cgroup v2 hosts expect the weight in this place (conformance G29).
            shares: limits.cpu_shares.or(limits.cpu_weight).and_then(CpuShares::new),
            quota_us: none(limits.cpu_quota_us),
        },
        memory: MemoryLimits { bytes: none(limits.memory_bytes) },
        pids: PidLimits { max: none(limits.pids_max) },
        io: IoLimits {
            weight: IoWeight::new(none(limits.io_weight))?,
            read_bps: none(limits.io_max.read_bps),
            write_bps: none(limits.io_max.write_bps),
            read_iops: none(limits.io_max.read_iops),
            write_iops: none(limits.io_max.write_iops),
        },
        ..Limits::default()
    })
}

/// Changes limits of a container in use.
pub(crate) async fn change(
    cgroups: Arc<Cgroups>,
    policy: &Policy,
    container: Arc<Container>,
    change: &LimitChange,
) -> Result<Limits> {
    let changed = resources_of(change, policy);
    let concerns_block_io = changed.io_weight.is_some() || changed.io_max != IoMax::default();
    let changing = Arc::clone(&container);
    let limits = tokio::task::spawn_blocking(move || {
        changing.cgroup.update(&changed).map_err(cgroup_error)?;
        if changed.cpu_shares.is_some() {
            changing.demote_again()?;
        }
        changing.demotion.undone_in(|| changing.cgroup.limits()).map_err(cgroup_error)
    });
    let limits = limits.await.map_err(|error| failures::joined(&error))??;
    if limits.memory_bytes.is_some() {
        container.watch_memory();
    }
    if concerns_block_io {
        join_block_io(cgroups, container).await?;
    }
    in_force(limits)
}

/// A change in the words of control groups, in which the greatest number is no limit.
fn resources_of(change: &LimitChange, policy: &Policy) -> Resources {
    let or = |value: Option<u64>, none: u64| value.map(|value| if value == 0 { none } else { value });
    let io = &change.io;
    Resources {
        memory_bytes: or(change.memory_bytes, u64::MAX),
        swap: policy.swap(),
        cpu_shares: or(change.cpu_shares, CpuShares::ORDINARY.get()),
        cpu_quota_us: or(change.cpu_quota_us, u64::MAX),
        pids_max: or(change.pids_max, u64::MAX),
        io_weight: io.weight.map(|weight| weight.unwrap_or(IoWeight::ORDINARY).get()),
        io_max: IoMax {
            read_bps: or(io.read_bps, u64::MAX),
            write_bps: or(io.write_bps, u64::MAX),
            read_iops: or(io.read_iops, u64::MAX),
            write_iops: or(io.write_iops, u64::MAX),
        },
        ..Resources::default()
    }
}

/// Brings the container's processes, and the keeper as the parent of those to come, to where their block I/O is limited, if
/// that is a place of its own (version 1).
pub(crate) async fn join_block_io(cgroups: Arc<Cgroups>, container: Arc<Container>) -> Result<()> {
    let joined = tokio::task::spawn_blocking(move || {
        let keeper = keeper(&cgroups, container.init_pid.load(Ordering::Relaxed))?;
        container.cgroup.join_block_io(keeper).map_err(cgroup_error)
    });
    joined.await.map_err(|error| failures::joined(&error))?
}

/// The keeper: the parent of init. Nobody, once init has ended and its number is perhaps another's.
fn keeper(cgroups: &Cgroups, init: u32) -> Result<Option<u32>> {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{init}/status")) else { return Ok(None) };
    let Some(parent) = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok()) else {
        return Ok(None);
    };
    let keepers = cgroups.keepers().and_then(|keepers| keepers.procs()).map_err(cgroup_error)?;
    Ok(keepers.contains(&parent).then_some(parent))
}

/// The operator's policy as far as this host can hold it; what it cannot is told here, once.
pub(crate) fn supported(cgroups: &Cgroups, mut policy: Policy) -> Result<Policy, Error> {
    if policy.io == IoLimits::default() {
        return Ok(policy);
    }
    let support = cgroups.block_io_support().map_err(cgroup_error)?;
    if let Some(weight) = policy.io.weight.filter(|_| !support.weight) {
        tracing::warn!(
            weight = weight.get(),
            "this kernel has no weights of block i/o: the default is not set"
        );
        policy.io.weight = None;
    }
    let rates = IoLimits { weight: None, ..policy.io };
    if rates != IoLimits::default() && !support.max {
        tracing::warn!(?rates, "this host cannot limit rates of block i/o: the defaults are not set");
        policy.io = IoLimits { weight: policy.io.weight, ..IoLimits::default() };
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use gdn_cgroups::{DevicePolicy, Swap};
    use gdn_types::ProcessSpec;

    use super::*;

    #[test]
    fn what_a_container_names_wins_over_the_operators_default() {
        let defaults = IoLimits { weight: Some(IoWeight::ORDINARY), read_bps: 5, ..IoLimits::default() };
        let policy = Policy { io: defaults, ..Policy::default() };
        let named = IoLimits { read_bps: 9, write_iops: 3, ..IoLimits::default() };
        let made = resources(&Limits { io: named, ..Limits::default() }, &policy);
        assert_eq!(
            (made.io_weight, made.io_max.read_bps, made.io_max.write_iops),
            (Some(500), Some(9), Some(3))
        );
        assert_eq!(made.io_max.write_bps, None);
        assert!(!limits_block_io(&Limits::default(), &Policy::default()));
        assert!(limits_block_io(&Limits::default(), &policy));
    }

    #[test]
    fn swap_is_limited_with_memory_unless_the_operator_says_otherwise() {
        let own = (CpuLimits::default(), MemoryLimits { bytes: 1 << 26 });
        let spec = ProcessSpec { limits: Some(own), ..ProcessSpec::default() };
        for (unlimited_swap, swap) in [(false, Swap::Counted), (true, Swap::Unlimited)] {
            let policy = Policy { unlimited_swap, ..Policy::default() };
            assert_eq!(resources(&Limits::default(), &policy).swap, swap);
            assert_eq!(resources_of(&LimitChange::default(), &policy).swap, swap);
            assert_eq!(crate::sidecars::resources(&spec, &policy).unwrap().swap, swap);
        }
    }

    #[test]
    fn the_operators_rules_for_devices_are_those_of_containers_and_of_sidecars_with_limits() {
        let spec = ProcessSpec { limits: Some(Default::default()), ..ProcessSpec::default() };
        let devices = |policy: &Policy| {
            let sidecar = crate::sidecars::resources(&spec, policy).unwrap().devices;
            let container = resources(&Limits::default(), policy).devices;
            assert_eq!(sidecar, container);
            // A change of limits leaves what there is.
            assert_eq!(resources_of(&LimitChange::default(), policy).devices, DevicePolicy::Inherit);
            container
        };
        assert_eq!(devices(&Policy::default()), DevicePolicy::Default);
        let rule = "c 1:11 w".parse().unwrap();
        let policy = Policy { device_rules: vec![rule], ..Policy::default() };
        assert!(
            matches!(devices(&policy), DevicePolicy::Only(rules) if rules[0] == rule && rules.len() > 10)
        );
    }

    #[test]
    fn a_change_to_zero_takes_a_limit_away_and_gives_the_ordinary_weight() {
        let mut change = LimitChange { cpu_shares: Some(0), memory_bytes: Some(0), ..LimitChange::default() };
        change.io.weight = Some(None);
        change.io.read_iops = Some(0);
        let changed = resources_of(&change, &Policy::default());
        assert_eq!((changed.cpu_shares, changed.memory_bytes), (Some(1024), Some(u64::MAX)));
        assert_eq!((changed.io_weight, changed.io_max.read_iops), (Some(500), Some(u64::MAX)));
        assert_eq!((changed.pids_max, changed.io_max.read_bps), (None, None));
    }
}
