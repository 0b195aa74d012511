//! What the orchestrator is made from.

use std::sync::Arc;
use std::time::Duration;

use gdn_traits::{Containerizer, Networker, PropertyManager, Volumizer};

use crate::{CpuThrottling, Entitlement, IdPool};

/// The four components, each behind its trait.
#[derive(Clone)]
pub struct Components {
    /// Namespaces, cgroups, init, processes.
    pub containerizer: Arc<dyn Containerizer>,
    /// Addresses, links, firewall.
    pub networker: Arc<dyn Networker>,
    /// Images and root file systems.
    pub volumizer: Arc<dyn Volumizer>,
    /// The durable records.
    pub properties: Arc<dyn PropertyManager>,
}

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Config {
    /// The most containers; 0 = no limit but the pools'.
    pub max_containers: u64,
    /// The grace time of a container whose client names none; zero = for ever.
    pub default_grace_time: Duration,
    /// Whether clients may ask for privileged containers.
    pub allow_privileged: bool,
    /// The image of a container whose client names none.
    pub default_image: String,
    /// Kernel settings of containers whose client does not name them: name and value.
    pub default_sysctls: Vec<(String, String)>,
    /// What happens to lost containers at the start.
    pub after_reboot: AfterReboot,
    /// Whether the start destroys every container of the earlier run.
    pub destroy_on_start: bool,
    /// Whether the name of a process that has ended, and that somebody waited for, may be taken again.
    pub release_names_on_wait: bool,
    /// This boot of the host (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
    /// The part of the machine that each share of a container's processor weight entitles it to.
    pub cpu_entitlement: Entitlement,
    /// Whether containers that used more give way to the others, and how.
    pub cpu_throttling: Option<CpuThrottling>,
    /// Out of which every unprivileged container to come gets host ids of its own; absent: all share one map.
    pub id_pool: Option<IdPool>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_containers: 0,
            default_grace_time: Duration::ZERO,
            allow_privileged: false,
            default_image: String::new(),
            default_sysctls: Vec::new(),
            after_reboot: AfterReboot::default(),
            destroy_on_start: false,
            release_names_on_wait: false,
            boot_id: String::new(),
            memory_bytes: 0,
            cpu_entitlement: Entitlement::default(),
            cpu_throttling: None,
            id_pool: None,
        }
    }
}

/// What the start does with a container whose kernel objects are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterReboot {
    /// It stays, listed as `lost`, until a client destroys it.
    #[default]
    Keep,
    /// It is destroyed.
    Destroy,
}

/// What [`start`](crate::Gardener::start) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartReport {
    /// Containers that run on.
    pub running: usize,
    /// Containers that are listed as lost.
    pub lost: usize,
    /// Containers whose destruction goes on in the background.
    pub destroying: usize,
    /// Records that could not be read and were put aside, with the reason.
    pub quarantined: Vec<String>,
}
