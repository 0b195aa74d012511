//! Control groups v1, hybrid and v2 behind one interface.
//!
//! What it is: one engine's subtree ([`Cgroups`]) in every hierarchy the host has mounted, with one [`Cgroup`] for each
//! container. Everything is reached relative to directory descriptors that are opened once; no program is executed and no
//! mount table is read per container.
//!
//! What it is not: it mounts nothing, and it does not talk to systemd. On a host where systemd owns the tree, the engine's
//! unit needs `Delegate=yes`.
//!
//! # Layout
//! `<hierarchy>/<engine>/<container>` in every hierarchy, and `<hierarchy>/<engine>/keepers` for processes that must outlive
//! the server and are in no container. On cgroup v2, limits are set on the container's node and processes live there too.
//! On a hybrid host each container also has a node in the unified tree, for `cgroup.kill` and events.
//!
//! # Limitations
//! On cgroup v2 device rules need a BPF program, which is not made yet: a container's user namespace keeps it from making
//! device nodes, a privileged container is not restricted there.
//!
//! ```no_run
//! # fn main() -> gdn_cgroups::Result<()> {
//! use gdn_cgroups::{Cgroups, Resources};
//! let cgroups = Cgroups::open("my-engine")?;
//! let group = cgroups.create("box", &Resources { pids_max: Some(50), ..Resources::default() })?;
//! group.attach(std::process::id())?;
//! # Ok(()) }
//! ```

mod error;
mod group;
mod hierarchy;
mod resources;
mod stats;
mod tree;

pub use error::{Error, Result};
pub use group::Cgroup;
pub use hierarchy::Mode;
pub use resources::{DevicePolicy, Resources, shares_to_weight, weight_to_shares};
pub use stats::Stats;
pub use tree::Cgroups;
