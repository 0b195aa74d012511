//! Mounts on their way to the runtime: detached ones, which the keeper shows to it on a stage.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gdn_mounts::Root;
use gdn_traits::ImageMount;
use gdn_types::{BindMount, Error, ErrorKind, Result};
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use serde_json::{Value, json};

/// Name of the root file system on the stage.
const ROOTFS: &str = "rootfs";
/// Name of init's program there.
const INIT: &str = "garden-init";

/// Where runtimes mount file systems, and then write by path.
const MOUNT_POINTS: [&str; 3] = ["dev", "proc", "sys"];

/// What a mount forbids, as runtimes are asked for it.
const ATTRIBUTES: [(StatVfsMountFlags, &str); 4] = [
    (StatVfsMountFlags::RDONLY, "ro"),
    (StatVfsMountFlags::NOSUID, "nosuid"),
    (StatVfsMountFlags::NODEV, "nodev"),
    (StatVfsMountFlags::NOEXEC, "noexec"),
];

/// The mounts of one container or sidecar, the root file system first.
pub(super) struct Mounts {
    stage: String,
    /// The name of each on the stage.
    pub(super) names: Vec<String>,
    /// What the runtime is to do with them, the root file system left out.
    pub(super) entries: Vec<Value>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Mounts {
    /// A root file system, the image's mounts and the client's, in this order.
    ///
    /// # Errors
    /// `ImageInvalid` for a root file system in which a mount point is no directory.
    pub(super) fn new(
        stage: &str,
        rootfs: OwnedFd,
        image: Vec<ImageMount>,
        (binds, detached): (&[BindMount], Vec<OwnedFd>),
    ) -> Result<Self> {
        refuse_links(&rootfs)?;
        let mut mounts = Mounts {
            stage: stage.to_owned(),
            names: vec![ROOTFS.to_owned()],
            entries: Vec::new(),
            descriptors: vec![rootfs],
        };
        for ImageMount { mount, target } in image {
            mounts.add(&target.display().to_string(), mount)?;
        }
        for (bind, mount) in binds.iter().zip(detached) {
            mounts.add(&bind.target.display().to_string(), mount)?;
        }
        Ok(mounts)
    }

    fn add(&mut self, target: &str, mount: OwnedFd) -> Result<()> {
        let name = self.entries.len().to_string();
        self.entries.push(self.bind(&name, target, mount.as_fd())?);
        self.names.push(name);
        self.descriptors.push(mount);
        Ok(())
    }

    /// A bind mount of something on the stage, with the attributes that were set when it was made: crun takes away what it is
    /// not asked for where it can, from containers without a user namespace of their own.
    pub(super) fn bind(&self, name: &str, target: &str, mount: BorrowedFd<'_>) -> Result<Value> {
        let about = rustix::fs::fstatvfs(mount)
            .map_err(|errno| crate::failures::os(format!("look at the mount for {target}"))(errno.into()))?;
        let asked = ATTRIBUTES.iter().filter(|(flag, _)| about.f_flag.contains(*flag)).map(|(_, name)| *name);
        let options: Vec<&str> = std::iter::once("rbind").chain(asked).collect();
        let source = format!("{}/{name}", self.stage);
        Ok(json!({ "type": "bind", "source": source, "destination": target, "options": options }))
    }

    /// The root file system, as the runtime sees it.
    pub(super) fn rootfs(&self) -> String {
        format!("{}/{ROOTFS}", self.stage)
    }

    /// Init's program, as the runtime sees it.
    pub(super) fn init(&self) -> String {
        format!("{}/{INIT}", self.stage)
    }
}

/// A runtime follows links of the image where it makes device nodes and links, out of the root file system too: runc 1.1.5
/// writes into the host's directory behind a link `/dev`. A mount point that is missing is the runtime's to make.
fn refuse_links(rootfs: &OwnedFd) -> Result<()> {
    let root = rootfs.as_fd().try_clone_to_owned().map(Root::from_fd);
    let root = root.map_err(crate::failures::os("keep the root file system"))?;
    for point in MOUNT_POINTS {
        match root.open_dir_no_link(point) {
            Ok(_) => {}
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            Err(error) => {
                let message = format!("the root file system cannot hold a container: {error}");
                return Err(Error::new(ErrorKind::ImageInvalid, message));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_root_whose_mount_points_are_links_is_refused_and_one_without_them_is_not() {
        let place = tempfile::tempdir().unwrap();
        let refusal = || {
            let rootfs = fs::File::open(place.path()).unwrap();
            Mounts::new("/mnt", rootfs.into(), Vec::new(), (&[], Vec::new())).err()
        };
        assert!(refusal().is_none());
        for point in MOUNT_POINTS {
            symlink("/tmp", place.path().join(point)).unwrap();
            let error = refusal().unwrap();
            assert_eq!(error.kind(), ErrorKind::ImageInvalid);
            assert!(error.message().contains(point), "{error}");
            fs::remove_file(place.path().join(point)).unwrap();
            fs::create_dir(place.path().join(point)).unwrap();
            assert!(refusal().is_none());
        }
    }
}
