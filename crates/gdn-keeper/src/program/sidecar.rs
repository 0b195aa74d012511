//! A process with a root file system of its own beside its container: it shares every namespace but the mounts.

use std::os::fd::{AsFd, OwnedFd};

use gdn_mounts::{Detached, Root};
use gdn_namespaces::{Namespaces, join};
use rustix::fs::{AtFlags, FileType, OFlags, statat};

use super::container::Container;
use super::failure::{During, Result, failure};
use super::{setup, system};
use crate::protocol::{Create, FailureKind, Run};

/// What the keeper was given for a sidecar, and what it made for it.
pub(crate) struct Sidecar {
    /// What to build.
    create: Create,
    /// Files of the container that are shown in the same place.
    shared: Vec<String>,
    /// Its node in the cgroup v2 tree.
    pub(crate) unified: Option<OwnedFd>,
    /// `tasks` of its v1 cgroups.
    pub(crate) tasks: Vec<OwnedFd>,
    /// The root file system, `/dev`, then the mounts.
    mounts: Vec<OwnedFd>,
}

impl Sidecar {
    /// Takes apart what came with a request. `None` when it asks for an ordinary process.
    pub(crate) fn of(
        run: &Run,
        mut descriptors: Vec<OwnedFd>,
        container: &Container,
    ) -> Result<Option<Self>> {
        let Some(sidecar) = &run.sidecar else { return Ok(None) };
        let create = sidecar.create.clone().unwrap_or_default();
        let lead = usize::from(sidecar.unified);
        if descriptors.len() < lead + 1 + create.mounts.len() {
            return Err(failure(
                FailureKind::BadRequest,
                "a sidecar needs a root file system and its mounts",
            ));
        }
        let unified = if sidecar.unified { Some(descriptors.remove(0)) } else { None };
        let tasks = descriptors.split_off(1 + create.mounts.len());
        descriptors.insert(1, container.devices()?);
        Ok(Some(Sidecar { create, shared: sidecar.shared.clone(), unified, tasks, mounts: descriptors }))
    }

    /// In the child, still as the host's root: goes into the container's namespaces with mounts of its own, and makes the
    /// root file system the only one.
    pub(crate) fn enter(&self, container: &Container) -> Result<()> {
        let built = container
            .built
            .as_ref()
            .ok_or_else(|| failure(FailureKind::NotRunning, "the container is not built"))?;
        let host = std::fs::File::open("/proc/self/ns/mnt")
            .during(FailureKind::Internal, || "keep the host's mounts".into())?;
        // Mounts are copied where they are.
        join(container.pidfd.as_fd(), Namespaces::MOUNT)
            .during(FailureKind::NotRunning, || "join the container".into())?;
        let terminals = Detached::copy_of(built.terminals.as_fd())
            .during(FailureKind::Internal, || "share the container's terminals".into())?;
        let shared = self.shared_files(container)?;
        // New mounts of procfs and sysfs are allowed only where the host's own are in sight.
        join(host.as_fd(), Namespaces::MOUNT)
            .during(FailureKind::Internal, || "return to the host's mounts".into())?;
        let others = Namespaces::NETWORK | Namespaces::IPC | Namespaces::UTS;
        let others = if container.privileged { others } else { others | Namespaces::USER };
        join(container.pidfd.as_fd(), others)
            .during(FailureKind::NotRunning, || "join the container".into())?;
        system::new_mount_namespace().during(FailureKind::Exhausted, || "make a mount namespace".into())?;
        let mut create = self.create.clone();
        let mut mounts = self
            .mounts
            .iter()
            .map(OwnedFd::try_clone)
            .collect::<std::io::Result<Vec<_>>>()
            .during(FailureKind::Exhausted, || "hand over the mounts".into())?;
        // Below the sidecar's own, which may show something else there.
        for (path, mount) in shared {
            create.mounts.insert(0, path);
            mounts.insert(2, mount.into_fd());
        }
        setup::build(&create, mounts, container.privileged, Some(terminals)).map(drop)
    }

    /// Copies of the container's own mounts of some files. What is no regular file there is left out.
    fn shared_files(&self, container: &Container) -> Result<Vec<(String, Detached)>> {
        let during = |path: &str| format!("share the container's {path}");
        let built = container.built.as_ref();
        let Some(root) = built.and_then(|built| built.root.try_clone().ok()).map(Root::from_fd) else {
            return Err(failure(FailureKind::Exhausted, "share the container's files"));
        };
        let mut files = Vec::new();
        for path in &self.shared {
            let Ok(file) = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW) else { continue };
            let stat =
                statat(&file, "", AtFlags::EMPTY_PATH).during(FailureKind::Internal, || during(path))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                let copy = Detached::copy_of(file.as_fd()).during(FailureKind::Internal, || during(path))?;
                files.push((path.clone(), copy));
            }
        }
        Ok(files)
    }
}
