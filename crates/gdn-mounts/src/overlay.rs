//! Overlay file systems.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::{Attributes, Detached, Error, Filesystem, Result};

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
    /// # Errors
    /// What the kernel says to the layers, with its own words.
    pub fn mount(&self, attributes: Attributes) -> Result<Detached> {
        match self.configure(Self::add_layers_one_by_one) {
            // Kernels before 6.8 (lowerdir+) do not know the option that takes one layer at a time.
            Err(Error::Mount { errno: rustix::io::Errno::INVAL, .. }) => {
                self.configure(Self::add_layers_as_one_option)?.mount(attributes)
            }
            configured => configured?.mount(attributes),
        }
    }

    fn configure(&self, add_layers: impl Fn(&Self, Filesystem) -> Result<Filesystem>) -> Result<Filesystem> {
        // The source shows in the container's mount table; it tells nothing about the host.
        let filesystem = Filesystem::new("overlay")?.option("source", "overlay")?;
        add_layers(self, filesystem)?
            .option("upperdir", &path_of(self.upper))?
            .option("workdir", &path_of(self.work))
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

/// A path that leads to what the descriptor refers to, whatever its real path looks like.
fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
