//! What the operator decided.

use gdn_cgroups::{DevicePolicy, DeviceRule, Swap};
use gdn_types::{CpuLimits, IoLimits};

use crate::user_limits::UserLimits;

/// What the operator of an engine decided for every container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Processor time, in microseconds of each 100 ms, for each share of a container or sidecar that names no quota; 0 = no
    /// quota.
    pub cpu_quota_per_share_us: u64,
    /// Block I/O of a container that names no limit of its own, member by member. What the kernel cannot limit is told in the
    /// log, once.
    pub io: IoLimits,
    /// Whether a limit of memory is one of memory alone, and swap is not limited.
    pub unlimited_swap: bool,
    /// Devices that containers and sidecars may use beside the usual ones, by [`DeviceRule::container_devices`].
    pub device_rules: Vec<DeviceRule>,
    /// Whether processes of unprivileged containers can gain rights by no program that they execute (`no_new_privs`).
    pub no_new_privileges: bool,
    /// What users of unprivileged containers may have of what the kernel counts by user.
    pub user_limits: UserLimits,
}

/// The least quota that the kernel takes, in microseconds.
const LEAST_QUOTA_US: u64 = 1000;

impl Policy {
    /// Which devices containers may use.
    pub(crate) fn devices(&self) -> DevicePolicy {
        match &self.device_rules[..] {
            [] => DevicePolicy::Default,
            rules => DevicePolicy::Only(DeviceRule::container_devices(rules)),
        }
    }

    /// What a limit of memory says about swap.
    pub(crate) fn swap(&self) -> Swap {
        if self.unlimited_swap { Swap::Unlimited } else { Swap::Counted }
    }

    /// The quota of these limits: what they name, else what their shares bring.
    pub(crate) fn quota(&self, cpu: &CpuLimits) -> Option<u64> {
        match (cpu.quota_us, cpu.shares, self.cpu_quota_per_share_us) {
            (0, None, _) | (0, _, 0) => None,
            (0, Some(shares), each) => Some(shares.get().saturating_mul(each).max(LEAST_QUOTA_US)),
            (named, ..) => Some(named),
        }
    }
}
