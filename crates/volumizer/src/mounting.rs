//! Mounting volumes.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use gdn_image_store::{Digest, Image, Layer};
use gdn_mounts::{Attributes, Detached, Overlay};
use gdn_types::Result;

use crate::errors::mount_error;
use crate::volumes::Writable;

/// Most layers of an overlay (`OVL_MAX_STACK` of the kernel).
pub(crate) const MAX_LAYERS: usize = 500;

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
    pub(crate) fn mount(&self, image: &Image, writable: &Writable, privileged: bool) -> Result<OwnedFd> {
        let failed = |error| mount_error("mount the root file system", error);
        let mapped: Vec<Arc<Detached>> = match privileged {
            true => Vec::new(),
            false => image.layers.iter().map(|layer| self.mapped(layer)).collect::<Result<_>>()?,
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

    /// A layer with its ids mapped.
    fn mapped(&self, layer: &Layer) -> Result<Arc<Detached>> {
        let failed = |error| mount_error("map the ids of a layer", error);
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mount) = mapped.get(&layer.diff_id) {
            return Ok(Arc::clone(mount));
        }
        let mount = Detached::copy_of(layer.as_fd()).map_err(failed)?;
        mount.map_ids(self.idmap.as_fd()).map_err(failed)?;
        let mount = Arc::new(mount);
        mapped.insert(layer.diff_id, Arc::clone(&mount));
        Ok(mount)
    }

    /// Lets go of all layers, so that collected ones can be deleted.
    pub(crate) fn clear(&self) {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
