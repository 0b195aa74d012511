//! The directories below an engine's root.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where an engine keeps what.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The records of the containers.
    pub(crate) state: PathBuf,
    /// Run-time files: sockets of keepers, exit records.
    pub(crate) run: PathBuf,
    /// The files that containers see as `/etc/hosts` and `/etc/resolv.conf`.
    pub(crate) network: PathBuf,
}

impl Layout {
    /// Makes what is missing of it.
    pub(crate) fn make(root: &Path) -> anyhow::Result<Self> {
        let layout =
            Layout { state: root.join("state"), run: root.join("run"), network: root.join("network") };
        for directory in [root, &layout.state, &layout.run, &layout.network] {
            make_private(directory)?;
        }
        Ok(layout)
    }

    /// Tells the file system, where it wants to know, that what is one container's has nothing to do with another's. Without
    /// that everything works, and some of it slower.
    pub(crate) fn spread(&self, root: &Path, boot_id: &str) {
        for directory in [&root.join("volumes"), &self.run.join(boot_id), &self.network] {
            if let Err(error) = gdn_mounts::spread(directory) {
                tracing::warn!(%error, "containers' directories stay close to each other on the disk");
            }
        }
    }
}

/// Makes a directory that only its owner may enter, with its parents; one that is there becomes so.
pub(crate) fn make_private(directory: &Path) -> anyhow::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make directory {}", parent.display()))?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot make directory {}", directory.display()));
        }
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700))
        .with_context(|| format!("cannot make directory {} private", directory.display()))
}

/// Makes a directory that everybody may pass through and nobody else may read, for sockets that have modes of their own; one
/// that is there stays as it is.
pub(crate) fn make_reachable(directory: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot make directory {}", directory.display());
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().mode(0o711).create(directory).with_context(failed)?;
    fs::set_permissions(directory, Permissions::from_mode(0o711)).with_context(failed)
}

/// The directory of a socket: made private when missing, left as it is when somebody made it.
pub(crate) fn make_socket_directory(socket: &Path) -> anyhow::Result<()> {
    match socket.parent() {
        Some(directory) if !directory.as_os_str().is_empty() && !directory.exists() => {
            make_private(directory)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below_the_root_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/b");
        let layout = Layout::make(&root).unwrap();
        for directory in [&root, &layout.state, &layout.run, &layout.network] {
            assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700, "{directory:?}");
        }
        Layout::make(&root).unwrap();
    }
}
