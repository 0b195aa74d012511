//! The volumizer: images and root file systems.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use async_trait::async_trait;
use gdn_types::{ContainerId, DiskLimits, DiskStat, HostIds, ImageConfig, ImageRef, ProcessId, Result};

use crate::ImageMount;

/// Turns images into root file systems.
///
/// # The story
///
/// [`create`](Self::create) makes sure that the image is in the store (importing it if it must), and returns a *detached*
/// mount that shows it: nothing is mounted in the host's own tree, and what nobody moves into a container vanishes with its
/// descriptor. [`mount`](Self::mount) makes that mount again for a volume that exists, after a restart of the host.
/// [`destroy`](Self::destroy) removes what the container wrote; images stay until they are collected, which is never in the
/// path of a create.
///
/// Sidecars have volumes of their own, which belong to the container's: they go with it, and one cannot be made for a
/// container without a volume.
#[async_trait]
pub trait Volumizer: Send + Sync + 'static {
    /// Makes a root file system.
    ///
    /// # Errors
    /// `ImageNotFound` or `ImageInvalid`, naming the URI and what is wrong with it; `InvalidArgument` for a URI of unknown
    /// form; `ResourceExhausted` when the disk is full or the quota smaller than the image; `FailedPrecondition` for a sidecar of
    /// a container that has no volume.
    async fn create(&self, id: &VolumeId, request: &VolumeRequest) -> Result<Volume>;

    /// Mounts an existing volume again.
    ///
    /// # Errors
    /// `Lost` when there is none; what [`create`](Self::create) says of images.
    async fn mount(&self, id: &VolumeId, request: &VolumeRequest) -> Result<Volume>;

    /// Removes a volume; a container's with those of its sidecars. Succeeds for an unknown id. A `raw://` directory is never
    /// removed.
    async fn destroy(&self, id: &VolumeId) -> Result<()>;

    /// Removes every volume of a container that is not in `known`, and every half-imported image.
    async fn restore(&self, known: &[ContainerId]) -> Result<()>;

    /// The sidecars of a container that have a volume, and when it was made, in no particular order; none for an unknown
    /// container.
    async fn sidecars(&self, id: &ContainerId) -> Result<Vec<(ProcessId, SystemTime)>>;

    /// The volume's use of the disk.
    async fn metrics(&self, id: &VolumeId) -> Result<DiskStat>;

    /// Size of the file system that holds the volumes, and the size the store may grow to, in bytes.
    async fn capacity(&self) -> Result<(u64, u64)>;

    /// Removes images that no volume uses. Garden: `GC`.
    async fn collect_garbage(&self) -> Result<()>;
}

/// Whose root file system a volume is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId {
    /// The container.
    pub container: ContainerId,
    /// Its sidecar; absent = the container itself.
    pub sidecar: Option<ProcessId>,
}

impl VolumeId {
    /// The volume of a sidecar.
    pub fn sidecar(container: ContainerId, process: ProcessId) -> Self {
        VolumeId { container, sidecar: Some(process) }
    }
}

impl From<ContainerId> for VolumeId {
    /// The volume of a container.
    fn from(container: ContainerId) -> Self {
        VolumeId { container, sidecar: None }
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sidecar {
            None => write!(f, "{}", self.container),
            Some(process) => write!(f, "{} of sidecar {process}", self.container),
        }
    }
}

/// What a volume is made from.
#[derive(Clone, Debug)]
pub struct VolumeRequest {
    /// The image.
    pub image: ImageRef,
    /// Whether the container's root is the host's (then no ids are mapped).
    pub privileged: bool,
    /// The host ids that the container's are mapped to; absent: the map that all share.
    pub ids: Option<HostIds>,
    /// Quota.
    pub limits: DiskLimits,
}

/// A root file system.
#[derive(Debug)]
pub struct Volume {
    /// The root as a detached mount.
    pub rootfs: OwnedFd,
    /// Further mounts of the image.
    pub mounts: Vec<ImageMount>,
    /// What the image says about running it.
    pub config: ImageConfig,
    /// Host user and group of the container's root, where the root is the volumizer's own and nobody else's: places for
    /// mounts may be made in it before the container is there. Absent for a directory of the host.
    pub places: Option<(u32, u32)>,
}
