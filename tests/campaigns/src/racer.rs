//! Somebody who exchanges a directory and a link as fast as the kernel lets him.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use engine_tests::until;
use rustix::fs::{Mode, OFlags, RenameFlags, renameat_with};

use crate::Verdict;

/// The name that is a directory one moment and a link the next.
const SWAPPED: &str = "swap";
/// Where the other of the two is meanwhile.
const OTHER: &str = "other";

/// A running exchange. It ends when it is dropped.
///
/// A thread of the campaign does it, on the same directory that the container has: to the kernel that is what a process of
/// the container would do, and no limit of the container slows it down.
pub struct Racer {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    /// Makes the directory `swap` and a link to `target` in `place`, and exchanges them from now on.
    pub fn start(place: &Path, target: &Path) -> Self {
        std::fs::create_dir(place.join(SWAPPED)).unwrap();
        symlink(target, place.join(OTHER)).unwrap();
        Self::exchange(place, SWAPPED, OTHER)
    }

    /// Exchanges two things of a directory, whatever they are. It has begun when this returns.
    pub fn exchange(place: &Path, one: &'static str, other: &'static str) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened: OwnedFd = rustix::fs::open(place, flags, Mode::empty()).unwrap();
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&swaps));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // One of them may be busy for a moment; the next round finds it free.
                if renameat_with(&opened, one, &opened, other, RenameFlags::EXCHANGE).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let racer = Racer { stop, swaps, thread: Some(thread) };
        // On a busy host an attempt could be over before its adversary has begun.
        until("the first exchange", || racer.swaps() > 0);
        racer
    }

    /// How often the two changed places.
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }

    /// What came of attempts that were made meanwhile. None has shown anything if nothing was exchanged.
    pub fn judged(self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Held if self.swaps() == 0 => Verdict::Broken("nothing was exchanged".into()),
            verdict => verdict,
        }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_change_places_until_it_is_dropped() {
        let place = tempfile::tempdir().unwrap();
        let racer = Racer::start(place.path(), Path::new("/"));
        while racer.swaps() < 1000 {
            std::thread::yield_now();
        }
        drop(racer);
        let links = [SWAPPED, OTHER].iter().filter(|name| place.path().join(name).is_symlink()).count();
        assert_eq!(links, 1);
    }
}
