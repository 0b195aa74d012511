//! Overlay file systems.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use crate::{Attributes, Detached, Error, Filesystem, Result};

mod attached;

/// Whether this kernel was seen to refuse detached layers, and to take the same ones attached.
static LAYERS_MUST_BE_ATTACHED: AtomicBool = AtomicBool::new(false);
/// Whether this kernel was seen to refuse `lowerdir+`, and to take the same layers by `lowerdir`.
static LAYERS_ARE_ONE_OPTION: AtomicBool = AtomicBool::new(false);

/// An overlay of read-only layers with one writable directory on top.
pub struct Overlay<'a> {
    /// The layers, topmost first; directories or detached mounts, possibly with mapped ids. At most 500 (the kernel's bound).
    pub layers: &'a [BorrowedFd<'a>],
    /// Where changes go. Its root directory's owner and mode are those of the overlay's root.
    pub upper: BorrowedFd<'a>,
    /// An empty directory on the same file system as `upper`, for the kernel.
    pub work: BorrowedFd<'a>,
}

impl Overlay<'_> {
    /// Makes the overlay as a detached mount.
    ///
    /// Kernels before 6.15 want layers to be mounted in the caller's mount namespace. There a thread with a namespace of its
    /// own does the work, which keeps detached layers attached in it until the process ends.
    ///
    /// # Errors
    /// What the kernel says to the layers, with its own words.
    pub fn mount(&self, attributes: Attributes) -> Result<Detached> {
        first_or(
            &LAYERS_MUST_BE_ATTACHED,
            || self.mount_here(attributes),
            || attached::mount(self, attributes),
        )
    }

    /// Makes the overlay out of what the kernel lets this thread see.
    fn mount_here(&self, attributes: Attributes) -> Result<Detached> {
        // Kernels before 6.8 do not know the option that takes one layer at a time (lowerdir+). They say so when the overlay
        // is made and not when the option is given.
        first_or(
            &LAYERS_ARE_ONE_OPTION,
            || self.mount_with(Self::add_layers_one_by_one, attributes),
            || self.mount_with(Self::add_layers_as_one_option, attributes),
        )
    }

    fn mount_with(
        &self,
        add_layers: impl Fn(&Self, Filesystem) -> Result<Filesystem>,
        attributes: Attributes,
    ) -> Result<Detached> {
        // The source shows in the container's mount table; it tells nothing about the host.
        let filesystem = Filesystem::new("overlay")?.option("source", "overlay")?;
        add_layers(self, filesystem)?
            .option("upperdir", &path_of(self.upper))?
            .option("workdir", &path_of(self.work))?
            .mount(attributes)
    }

    fn add_layers_one_by_one(&self, mut filesystem: Filesystem) -> Result<Filesystem> {
        for layer in self.layers {
            filesystem = filesystem.option("lowerdir+", &path_of(layer.as_fd()))?;
        }
        Ok(filesystem)
    }

    fn add_layers_as_one_option(&self, filesystem: Filesystem) -> Result<Filesystem> {
        let paths: Vec<String> = self.layers.iter().map(|layer| path_of(layer.as_fd())).collect();
        filesystem.option("lowerdir", &paths.join(":"))
    }
}

/// Tries the first way, and the second when the kernel does not know the first; remembers what worked, because each refusal
/// is a line in the kernel's log.
fn first_or(
    is_refused: &AtomicBool,
    first: impl Fn() -> Result<Detached>,
    second: impl Fn() -> Result<Detached>,
) -> Result<Detached> {
    if is_refused.load(Ordering::Relaxed) {
        return second();
    }
    match first() {
        Err(Error::Mount { errno: Errno::INVAL, .. }) => {
            second().inspect(|_| is_refused.store(true, Ordering::Relaxed))
        }
        mounted => mounted,
    }
}

/// A path that leads to what the descriptor refers to, whatever its real path looks like.
fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::fs::{Mode, OFlags};

    use super::*;
    use crate::Root;

    fn directory(path: &std::path::Path) -> OwnedFd {
        std::fs::create_dir_all(path).unwrap();
        rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    /// Mounts the same layers three times by `mount` and looks at what shows.
    fn layers_show(mount: impl Fn(&Overlay<'_>) -> Result<Detached>) {
        let place = tempfile::tempdir().unwrap();
        let below = |name: &str| directory(&place.path().join(name));
        let (low, high) = (below("low"), below("high"));
        for (layer, text) in [("low", "low"), ("high", "high")] {
            std::fs::write(place.path().join(layer).join("both"), text).unwrap();
            std::fs::write(place.path().join(layer).join(layer), text).unwrap();
        }
        let mounts_before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let low = Detached::copy_of(low.as_fd()).unwrap();
        for volume in ["one", "two", "three"] {
            let (upper, work) = (below(&format!("{volume}/upper")), below(&format!("{volume}/work")));
            // One layer is a detached mount that comes again, the other a plain directory.
            let layers = [high.as_fd(), Detached::as_fd(&low)];
            let overlay = Overlay { layers: &layers, upper: upper.as_fd(), work: work.as_fd() };
            let mounted = mount(&overlay).unwrap();
            let root = Root::from_fd(mounted.into_fd());
            for (file, text) in [("both", "high"), ("low", "low"), ("high", "high")] {
                assert_eq!(root.read(file, 10).unwrap(), text.as_bytes(), "{file} of {volume}");
            }
            root.create_dir("/new", 0o755).unwrap();
            assert!(place.path().join(volume).join("upper/new").is_dir());
        }
        assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts_before);
    }

    #[test]
    fn the_topmost_layer_wins_and_changes_go_to_the_upper_directory() {
        layers_show(|overlay| overlay.mount(Attributes::empty()));
    }

    #[test]
    fn a_thread_with_its_own_mount_namespace_makes_the_same_overlay() {
        layers_show(|overlay| attached::mount(overlay, Attributes::empty()));
    }
}
