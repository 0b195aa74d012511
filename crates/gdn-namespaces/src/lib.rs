//! Namespaces, id maps, pidfds and capabilities by direct system call.
//!
//! What it is: the few calls a container engine makes to put a process into namespaces of its own ([`spawn`]), to join
//! existing ones ([`join`]), to map ids ([`IdMap`]) and to give up privileges ([`Capabilities`]).
//!
//! What it is not: no helper programs (`newuidmap`), no name service, no threads. [`spawn`] forks, so it is only for
//! single-threaded processes.
//!
//! # Limitations
//! Needs `clone3` with `CLONE_INTO_CGROUP` (Linux 5.7) and `setns` on a pidfd (5.8).
//!
//! ```
//! use gdn_namespaces::IdMap;
//! let map = IdMap::container_default();
//! assert_eq!(map.to_host(0), Some(4_294_967_294));
//! assert_eq!(map.to_host(1000), Some(1000));
//! assert_eq!(map.lines(), "0 4294967294 1\n1 1 4294967293\n");
//! ```

mod capabilities;
mod idmap;
mod process;

pub use capabilities::{Capabilities, CapabilitySet};
pub use idmap::{IdMap, IdRange};
pub use process::{Namespaces, Spawned, join, pidfd_open, pidfd_signal, spawn, spawn_owned};
