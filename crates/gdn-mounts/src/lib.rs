//! Mounts by descriptor, and paths that cannot leave a root.
//!
//! What it is: the kernel's file-descriptor based mount calls (Linux 5.12 and later) as small types. A [`Detached`] mount
//! belongs to nobody's mount tree: it vanishes with its descriptor unless somebody [attaches](Detached::attach) it. A
//! [`Root`] is a directory below which everything is hostile: every path given to it is resolved by the kernel as if the
//! directory were `/` (`openat2` with `RESOLVE_IN_ROOT` and without magic links), so no link inside leads out.
//!
//! What it is not: no mount by path name, no parsing of `/etc/fstab`, no helper programs.
//!
//! # Limitations
//! Needs `openat2` (5.6) and the new mount calls with `mount_setattr` (5.12). Id-mapped mounts of a file system need its
//! support. Before Linux 6.15 an [`Overlay`] of detached layers costs one thread for the life of the process, and its layers
//! stay mounted, out of sight, until the process ends.
//!
//! ```no_run
//! use gdn_mounts::{Attributes, Filesystem, Root};
//! # fn main() -> gdn_mounts::Result<()> {
//! // A tmpfs that nobody sees...
//! let scratch = Filesystem::new("tmpfs")?.option("size", "1m")?.mount(Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOSUID)?;
//! // ...shown below a hostile directory, wherever its links point.
//! let root = Root::open("/srv/container/rootfs")?;
//! scratch.attach(root.create_dir("/tmp/scratch", 0o755)?)?;
//! # Ok(()) }
//! ```

mod detached;
mod error;
mod overlay;
mod propagation;
mod root;
mod spread;

pub use detached::{Attributes, Detached, Filesystem};
pub use error::{Error, Result};
pub use overlay::Overlay;
pub use root::Root;
pub use spread::spread;
