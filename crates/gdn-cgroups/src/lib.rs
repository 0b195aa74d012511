//! Control groups v1, hybrid and v2 behind one interface.
//!
//! What it is: a subtree of one's own in every hierarchy the host has mounted, and groups in it that are made, limited,
//! filled, measured, killed and removed by one call each, whatever the host's layout. Everything is done with plain system
//! calls relative to directories opened once; the mount table is read once.
//!
//! What it is not: a manager of groups that belong to others (systemd's slices, the group this process is in), and not a
//! watcher. It starts no thread, runs no program, keeps no state but descriptors, and never kills or removes on drop.
//!
//! Start with [`Cgroups::open`].
//!
//! # Invariants
//! * A group has the same name in every hierarchy that is needed, and in the cgroup2 one always: there a whole group can
//!   be killed and watched even if all controllers are v1.
//! * The subtree is directly below each hierarchy's root, so nothing that stops this process's service stops the groups.
//! * Names are single file names that cannot be control files; nothing outside the subtree is ever written, but for
//!   `cgroup.subtree_control` of the cgroup2 root.
//! * Making and removing are idempotent and complete what a crash left half done.
//!
//! # Limitations
//! * On v2 the hierarchy's root must be allowed to hand out controllers: true of a host's root, not of a container's.
//! * Block I/O is limited for all block devices alike, and not measured; huge pages and RDMA neither.
//! * v1 needs `cpu`, `cpuacct`, `cpuset`, `devices`, `memory` and `pids` only for what is asked of them; a limit without
//!   its controller is an error, a figure without its controller is 0.
//!
//! # Example
//! ```no_run
//! use gdn_cgroups::{Cgroups, DevicePolicy, Resources};
//!
//! # fn main() -> gdn_cgroups::Result<()> {
//! let cgroups = Cgroups::open("my-engine")?;
//! let limits = Resources {
//!     memory_bytes: Some(64 << 20),
//!     pids_max: Some(100),
//!     devices: DevicePolicy::Default,
//!     ..Resources::default()
//! };
//! let group = cgroups.create("job-1", &limits)?;
//! group.attach(std::process::id())?;
//! println!("{} bytes in use", group.stats()?.memory_toward_limit);
//! # Ok(())
//! # }
//! ```

mod block_devices;
mod devices;
mod error;
mod files;
mod group;
mod layout;
mod memory;
mod resources;
mod tree;

pub use devices::{DeviceAccess, DeviceKind, DeviceRule};
pub use error::{Error, Result};
pub use group::{Cgroup, OomWatch, Pressure, Pressures, Stall, Stats, Throttling};
pub use layout::{Controller, Layout, Mode, V1Hierarchy};
pub use resources::{
    DevicePolicy, EffectiveLimits, IoMax, Resources, Swap, blkio_to_io_weight, shares_to_weight,
};
pub use tree::{BlockIoSupport, Cgroups, Options};
