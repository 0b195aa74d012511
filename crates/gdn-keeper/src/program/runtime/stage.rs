//! What a runtime sees of a container's parts: a small file system in its own mount namespace, with the mounts in it.
//!
//! It lies where everybody can go, since a runtime's own child looks at it as the container's root, who cannot enter the
//! engine's directories.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use gdn_mounts::{Attributes, Detached, Filesystem, Root};
use gdn_namespaces::{Namespaces, join};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use crate::program::container::Container;
use crate::program::failure::{During, Result, failure};
use crate::program::system;
use crate::protocol::{Client, FailureKind};

/// `garden-init` in the form for runtimes, compiled by the build script.
const GARDEN_INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/garden-init-of-runtime"));
/// Its name on the stage.
const INIT: &str = "garden-init";

/// Moves the calling process to a mount namespace of its own and sets the stage there: the host's tree never shows what the
/// container is made of.
pub(super) fn set(client: &Client, mounts: &[OwnedFd], container: Option<&Container>) -> Result<()> {
    let shared = container.map_or_else(|| Ok(Vec::new()), |container| shared_files(client, container))?;
    system::new_mount_namespace().during(FailureKind::Exhausted, || "make a mount namespace".into())?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .during(FailureKind::Internal, || "make the mount tree private".into())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for path in &client.hidden {
        unmount(path.as_str(), UnmountFlags::DETACH)
            .during(FailureKind::Internal, || format!("take {path} out of the runtime's sight"))?;
    }
    if client.stage.is_empty() {
        return Ok(());
    }
    let during = || format!("set the runtime's stage at {}", client.stage);
    let stage = Filesystem::new("tmpfs")
        .and_then(|tmpfs| tmpfs.option("mode", "755"))
        .and_then(|tmpfs| tmpfs.option("size", "1m"))
        .and_then(|tmpfs| tmpfs.mount(Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV))
        .and_then(|stage| stage.attach_at(&client.stage).map(|()| stage))
        .during(FailureKind::Internal, during)?;
    let place = Path::new(&client.stage);
    write_init(place).during(FailureKind::Internal, during)?;
    if client.mounts.is_empty() {
        // runc starts its own child in the directory where the root file system was, wherever that child goes then.
        fs::create_dir(place.join("rootfs")).during(FailureKind::Internal, during)?;
    }
    let given = client.mounts.iter().map(String::as_str).zip(mounts.iter().map(OwnedFd::try_clone));
    for (name, mount) in given {
        show(place, name, mount.map(Detached::from_fd).during(FailureKind::Exhausted, during)?)?;
    }
    for (name, file) in shared {
        show(place, name, file)?;
    }
    stage
        .set_attributes(Attributes::MOUNT_ATTR_RDONLY, Attributes::empty())
        .during(FailureKind::Internal, during)
}

fn write_init(place: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o555).open(place.join(INIT));
    file?.write_all(GARDEN_INIT)
}

/// Shows a mount under a name.
fn show(place: &Path, name: &str, mount: Detached) -> Result<()> {
    let during = || format!("show {name} to the runtime");
    let path = place.join(name);
    let stat = statat(mount.as_fd(), "", AtFlags::EMPTY_PATH).during(FailureKind::Internal, during)?;
    let made = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        fs::create_dir(&path)
    } else {
        OpenOptions::new().write(true).create_new(true).open(&path).map(drop)
    };
    made.during(FailureKind::Internal, during)?;
    mount.attach_at(&path.to_string_lossy()).during(FailureKind::Internal, during)
}

/// Copies of the mounts that the container has of some of its files. A mount can be copied only where it is.
fn shared_files<'a>(client: &'a Client, container: &Container) -> Result<Vec<(&'a str, Detached)>> {
    if client.shared.is_empty() {
        return Ok(Vec::new());
    }
    let during = || "share the container's files".to_owned();
    let built = container.built.as_ref();
    let built = built.ok_or_else(|| failure(FailureKind::NotRunning, "the container is not built"))?;
    let host = fs::File::open("/proc/self/ns/mnt").during(FailureKind::Internal, during)?;
    let root = built.root.try_clone().map(Root::from_fd).during(FailureKind::Exhausted, during)?;
    join(container.pidfd.as_fd(), Namespaces::MOUNT).during(FailureKind::NotRunning, during)?;
    let mut files = Vec::new();
    for pair in client.shared.chunks_exact(2) {
        let file = root.open_at(&pair[0], OFlags::PATH | OFlags::NOFOLLOW);
        let file = file.during(FailureKind::NotRunning, during)?;
        let copy = Detached::copy_of(file.as_fd()).during(FailureKind::Internal, during)?;
        files.push((pair[1].as_str(), copy));
    }
    join(host.as_fd(), Namespaces::MOUNT).during(FailureKind::Internal, during)?;
    Ok(files)
}
