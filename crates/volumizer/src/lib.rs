//! The volumizer component: root file systems out of images.
//!
//! What it is: [`ImageVolumizer`], the engine's [`Volumizer`](gdn_traits::Volumizer). It finds an image in the store
//! (importing it if it must), gives the container a writable directory above the image's layers, and returns both as one
//! detached overlay mount. `raw:///dir` is the directory itself, mounted as it is.
//!
//! What it is not: it knows no handle, runs nothing, and never mounts anything in the host's own tree.
//!
//! Start with [`ImageVolumizer::open`]; image URIs are [`Rootfs`].
//!
//! # Invariants
//! * Privileged and unprivileged containers share one copy of a layer: its files keep the image's ids on the disk, and an
//!   unprivileged container sees them through a mount that maps ids.
//! * The directory behind `raw://` is never changed, and never removed, by the engine.
//! * A destroyed volume is out of use when the call returns; its files are deleted by a thread in the background.
//!
//! # Limitations
//! No disk quotas and no registry yet: both are refused by name. The directories of a volume are not synced when it is made;
//! what a loss of power takes of them, [`mount`](gdn_traits::Volumizer::mount) makes again. Figures of the disk come from a
//! walk of what the container wrote, at most 128 levels deep.
//!
//! ```
//! use volumizer::Rootfs;
//! assert_eq!(Rootfs::parse("raw:///srv/root").unwrap(), Rootfs::Raw("/srv/root".into()));
//! assert!(Rootfs::parse("docker:///busybox").is_err());
//! ```

mod component;
mod errors;
mod janitor;
mod mounting;
mod uri;
mod usage;
mod volumes;

pub use component::{IdMaps, ImageVolumizer, VolumizerConfig};
pub use gdn_image_store::{BuiltinImage, RunConfig};
pub use uri::Rootfs;
