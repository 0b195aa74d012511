//! Files of figures that stay open: opening and closing one costs twice what reading it does, and figures are asked for again
//! and again.
//!
//! So many stay open for all groups of an engine, each with a buffer of the kernel's; what is beyond is opened each time. A group that was removed answers
//! `ENODEV` in its open files, and is asked by name then, which says what is the matter.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::Cgroup;
use crate::error::{Error, Result};
use crate::tree::{Hierarchy, Version};

/// The most files that stay open: those of some hundred groups.
const MAX_OPEN: u64 = 1024;

/// Of the descriptors that the process may have, one in so many at most.
const SHARE: u64 = 8;

/// The places for files that stay open, of one engine: how many are taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<AtomicUsize>);

impl Places {
    fn take(&self) -> Option<Place> {
        // Asked each time: a server raises it after it has begun.
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        self.take_of(usize::try_from((descriptors / SHARE).min(MAX_OPEN)).unwrap_or(0))
    }

    fn take_of(&self, all: usize) -> Option<Place> {
        let one_more = |taken: usize| (taken < all).then(|| taken + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(self.clone()))
    }
}

/// One of them, free again when dropped.
#[derive(Debug)]
struct Place(Places);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open files of one group.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<Vec<OpenFile>>);

#[derive(Debug)]
struct OpenFile {
    version: Version,
    name: &'static str,
    file: Arc<OwnedFd>,
    _place: Place,
}

impl OpenFiles {
    fn find(&self, version: Version, name: &str) -> Option<Arc<OwnedFd>> {
        let same = |open: &&OpenFile| open.version == version && open.name == name;
        self.all().iter().find(same).map(|open| Arc::clone(&open.file))
    }

    fn keep(&self, version: Version, name: &'static str, file: OwnedFd, place: Place) {
        let mut all = self.all();
        all.retain(|open| open.version != version || open.name != name);
        all.push(OpenFile { version, name, file: Arc::new(file), _place: place });
    }

    fn give_up(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, Vec<OpenFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cgroup {
    /// The text of a file of figures, which are asked for again.
    pub(super) fn figures(&self, home: &Hierarchy, name: &'static str) -> Result<String> {
        if let Some(open) = self.open.find(home.version, name) {
            match home.directory.read_open(open.as_fd(), &self.file(name)) {
                // Removed, or what it tells of is switched off.
                Err(Error::Path { errno: Errno::NODEV, .. }) => self.open.give_up(),
                read => return read,
            }
        }
        let file = self.file(name);
        let opened = home.directory.open_for_reading(&file)?;
        let content = home.directory.read_open(opened.as_fd(), &file)?;
        if let Some(place) = self.tree.places.take() {
            self.open.keep(home.version, name, opened, place);
        }
        Ok(content)
    }

    /// Such a file with one number.
    pub(super) fn figure(&self, home: &Hierarchy, name: &'static str) -> Result<u64> {
        home.directory.number(&self.file(name), &self.figures(home, name)?)
    }

    /// Such a file with one number, or a word for "no limit".
    pub(super) fn figure_or_none(&self, home: &Hierarchy, name: &'static str) -> Result<Option<u64>> {
        home.directory.limit(&self.file(name), &self.figures(home, name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_files_stay_open_than_there_are_places_and_a_dropped_one_makes_room() {
        let places = Places::default();
        let files = OpenFiles::default();
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        files.keep(Version::V1, "cpu.stat", file(), places.take_of(2).unwrap());
        files.keep(Version::V2, "cpu.stat", file(), places.take_of(2).unwrap());
        assert!(places.take_of(2).is_none());
        assert!(files.find(Version::V1, "cpu.stat").is_some());
        assert!(files.find(Version::V1, "memory.stat").is_none());
        drop(files);
        let again = (places.take_of(2).unwrap(), places.take_of(2).unwrap());
        assert!(places.take_of(2).is_none());
        drop(again);
    }
}
