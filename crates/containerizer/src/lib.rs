//! The containerizer component: containers out of kernel objects.
//!
//! What it is: [`KernelContainerizer`], the implementation of [`Containerizer`](gdn_traits::Containerizer) over cgroups,
//! namespaces and keepers. It holds one connection to each container's keeper, and in memory what clients ask most: which
//! processes exist and how they ended. [`RuntimeContainerizer`] is the same with an external OCI runtime (runc, crun) for the
//! building of containers and the starting of processes.
//!
//! What it is not: it knows no image, no network and no handle. What it keeps on disk is only for its own restart: below
//! the run directory one directory for each container, named by the container's id, with the keeper's socket and exit log.
//!
//! # Invariants
//! A container's keeper lives in the engine's `keepers` cgroup, outside the cgroups of the server and of every container.
//! Nothing here forks. What is below a container's root is reached through a [`Root`](gdn_mounts::Root) only.
//!
//! # Limitations
//! With an external runtime the caps of user namespaces and the flags of seccomp profiles are not passed on.

mod apparmor;
mod arguments;
mod binds;
mod cgroup_views;
mod component;
mod container;
mod demotion;
mod environment;
mod failures;
mod figures;
mod filters;
mod ids;
mod limits;
mod lookups;
mod oom;
mod policy;
mod processes;
mod removal;
mod restore;
mod runtime;
mod sandbox;
mod sidecars;
mod stop;
mod sysctls;
mod targets;
mod transfers;
mod user_limits;
mod users;

pub use component::{ContainerizerConfig, KernelContainerizer};
pub use gdn_cgroups::DeviceRule;
pub use policy::Policy;
pub use runtime::{Runtime, RuntimeContainerizer};
pub use user_limits::UserLimits;
