//! All containers in memory, by handle.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use gdn_types::{ContainerId, Error, ErrorKind, Handle, Result};

use crate::IdPool;
use crate::container::{Container, Phase};

/// The table of containers. A handle is in it from before its claim until after its record is forgotten.
#[derive(Default)]
pub(crate) struct Containers(RwLock<HashMap<Handle, Arc<Container>>>);

impl Containers {
    /// Takes a handle in memory, and host ids of the `pool`: of any number of callers at once, one succeeds. Both are free
    /// again once the container is removed.
    ///
    /// # Errors
    /// `AlreadyExists`; `ResourceExhausted` when there are `most` containers (0 = no limit), and when the pool is used up.
    pub(crate) fn reserve(
        &self,
        id: ContainerId,
        handle: Handle,
        most: u64,
        pool: Option<&IdPool>,
    ) -> Result<Arc<Container>> {
        let mut containers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if containers.contains_key(&handle) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("handle '{handle}' already in use")));
        }
        if most > 0 && containers.len() as u64 >= most {
            return Err(Error::too_many_containers(most));
        }
        let taken = containers.values().filter_map(|container| container.ids);
        let ids = pool.map(|pool| pool.free(taken)).transpose()?;
        let container = Arc::new(Container::new(id, handle.clone(), ids, Phase::Creating));
        containers.insert(handle, Arc::clone(&container));
        Ok(container)
    }

    /// Puts in a container that was loaded.
    pub(crate) fn insert(&self, container: Arc<Container>) {
        let mut containers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        containers.insert(container.handle.clone(), container);
    }

    /// The container, whatever its phase.
    pub(crate) fn get(&self, handle: &Handle) -> Option<Arc<Container>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(handle).cloned()
    }

    /// The container, if clients can see it.
    ///
    /// # Errors
    /// `ContainerNotFound`.
    pub(crate) fn visible(&self, handle: &Handle) -> Result<Arc<Container>> {
        self.get(handle)
            .filter(|container| container.is_visible())
            .ok_or_else(|| Error::container_not_found(handle))
    }

    /// Frees the handle, if it is still this container's.
    pub(crate) fn remove(&self, container: &Container) {
        let mut containers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if containers.get(&container.handle).is_some_and(|known| known.id == container.id) {
            containers.remove(&container.handle);
        }
    }

    /// Forgets everything: a start begins anew.
    pub(crate) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// All containers, in the order of their handles.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        let containers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = containers.values().cloned().collect();
        all.sort_unstable_by(|a, b| a.handle.cmp(&b.handle));
        all
    }
}
