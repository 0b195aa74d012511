//! What the orchestrator is made from.

use std::sync::Arc;
use std::time::Duration;

use gdn_traits::{Containerizer, Networker, PropertyManager, Volumizer};

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
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The most containers; 0 = no limit but the pools'.
    pub max_containers: u64,
    /// The grace time of a container whose client names none; zero = for ever.
    pub default_grace_time: Duration,
    /// Whether clients may ask for privileged containers.
    pub allow_privileged: bool,
    /// The image of a container whose client names none.
    pub default_image: String,
    /// What happens to lost containers at the start.
    pub after_reboot: AfterReboot,
    /// Whether the start destroys every container of the earlier run.
    pub destroy_on_start: bool,
    /// This boot of the host (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// Memory of the machine, bytes.
    pub memory_bytes: u64,
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
