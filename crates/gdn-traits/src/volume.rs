//! The volumizer: images and root file systems.

use std::os::fd::OwnedFd;

use async_trait::async_trait;
use gdn_types::{ContainerId, DiskLimits, DiskStat, ImageConfig, ImageRef, Result};

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
#[async_trait]
pub trait Volumizer: Send + Sync + 'static {
    /// Makes the container's root file system.
    ///
    /// # Errors
    /// `ImageNotFound` or `ImageInvalid`, naming the URI and what is wrong with it; `InvalidArgument` for a URI of unknown
    /// form; `ResourceExhausted` when the disk is full or the quota smaller than the image.
    async fn create(&self, id: &ContainerId, request: &VolumeRequest) -> Result<Volume>;

    /// Mounts the existing volume of a container again.
    async fn mount(&self, id: &ContainerId, request: &VolumeRequest) -> Result<Volume>;

    /// Removes the container's volume. Succeeds for an unknown id. A `raw://` directory is never removed.
    async fn destroy(&self, id: &ContainerId) -> Result<()>;

    /// Removes every volume that is not in `known`, and every half-imported image.
    async fn restore(&self, known: &[ContainerId]) -> Result<()>;

    /// The volume's use of the disk.
    async fn metrics(&self, id: &ContainerId) -> Result<DiskStat>;

    /// Size of the file system that holds the volumes, and the size the store may grow to, in bytes.
    async fn capacity(&self) -> Result<(u64, u64)>;

    /// Removes images that no volume uses. Garden: `GC`.
    async fn collect_garbage(&self) -> Result<()>;
}

/// What a volume is made from.
#[derive(Clone, Debug)]
pub struct VolumeRequest {
    /// The image.
    pub image: ImageRef,
    /// Whether the container's root is the host's (then no ids are mapped).
    pub privileged: bool,
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
}
