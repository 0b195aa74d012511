//! Mounting volumes.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use gdn_image_store::{Digest, Image, Layer};
use gdn_mounts::{Attributes, Detached, Overlay};
use gdn_types::{HostIds, Result};

use crate::errors::mount_error;
use crate::volumes::Writable;

/// Most layers of an overlay (`OVL_MAX_STACK` of the kernel).
pub(crate) const MAX_LAYERS: usize = 500;

/// Whose a volume's files are.
#[derive(Debug)]
pub(crate) enum Shown {
    /// Those of whom they are on the disk: the container is privileged.
    AsStored,
    /// By the map that all unprivileged containers share.
    Shared,
    /// By a map into host ids of the container's own, and a user namespace that has it.
    Own(HostIds, OwnedFd),
}

/// Detached mounts of layers, kept for the next container of the same image.
#[derive(Debug)]
pub(crate) struct Lowers {
    idmap: OwnedFd,
    mapped: Mutex<HashMap<Digest, Arc<Detached>>>,
}

impl Lowers {
    pub(crate) fn new(idmap: OwnedFd) -> Self {
        Lowers { idmap, mapped: Mutex::default() }
    }

    /// The overlay of an image below a writable directory.
    pub(crate) fn mount(&self, image: &Image, writable: &Writable, shown: &Shown) -> Result<OwnedFd> {
        let failed = |error| mount_error("mount the root file system", error);
        let privileged = matches!(shown, Shown::AsStored);
        let mapped: Vec<Arc<Detached>> = match shown {
            Shown::AsStored => Vec::new(),
            Shown::Shared => image.layers.iter().map(|layer| self.mapped(layer)).collect::<Result<_>>()?,
            // The overlay keeps mounts of its own of them, so that nothing is left to keep for others.
            Shown::Own(_, namespace) => {
                let mapped = image.layers.iter().map(|layer| map(layer, namespace.as_fd()).map(Arc::new));
                mapped.collect::<Result<_>>()?
            }
        };
        let layers: Vec<BorrowedFd<'_>> = match privileged {
            true => image.layers.iter().map(|layer| layer.as_fd()).collect(),
            false => mapped.iter().map(|mount| Detached::as_fd(mount)).collect(),
        };
        // An unprivileged container cannot make device nodes, and an image's are not unpacked: none is of any use.
        let attributes = if privileged { Attributes::empty() } else { Attributes::MOUNT_ATTR_NODEV };
        let overlay = Overlay { layers: &layers, upper: writable.upper.as_fd(), work: writable.work.as_fd() };
        overlay.mount(attributes).map(Detached::into_fd).map_err(failed)
    }

    /// A layer with its ids mapped as all containers share it.
    fn mapped(&self, layer: &Layer) -> Result<Arc<Detached>> {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mount) = mapped.get(&layer.diff_id) {
            return Ok(Arc::clone(mount));
        }
        let mount = Arc::new(map(layer, self.idmap.as_fd())?);
        mapped.insert(layer.diff_id, Arc::clone(&mount));
        Ok(mount)
    }

    /// Lets go of all layers, so that collected ones can be deleted.
    pub(crate) fn clear(&self) {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A new mount of a layer with its ids mapped by a user namespace.
fn map(layer: &Layer, namespace: BorrowedFd<'_>) -> Result<Detached> {
    let failed = |error| mount_error("map the ids of a layer", error);
    let mount = Detached::copy_of(layer.as_fd()).map_err(failed)?;
    mount.map_ids(namespace).map_err(failed)?;
    Ok(mount)
}
