//! One lock for each name.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Names that are held by somebody.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    held: Mutex<HashSet<String>>,
    released: Condvar,
}

/// Holds a name until it is dropped.
pub(crate) struct Held<'a> {
    locks: &'a Locks,
    name: String,
}

impl Locks {
    /// Waits until nobody holds the name, then holds it.
    pub(crate) fn hold(&self, name: String) -> Held<'_> {
        let mut held = self.held();
        while held.contains(&name) {
            held = self.released.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.insert(name.clone());
        Held { locks: self, name }
    }

    fn held(&self) -> MutexGuard<'_, HashSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.locks.held().remove(&self.name);
        self.locks.released.notify_all();
    }
}
