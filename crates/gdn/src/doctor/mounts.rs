//! User namespaces, and overlays over layers with mapped ids.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use gdn_mounts::{Attributes, Detached, Overlay};
use rustix::fs::{Mode, OFlags};

use super::Finding;
use super::storage::existing;

/// Where the kernel tells how many user namespaces there may be.
const MAX_USER_NAMESPACES: &str = "/proc/sys/user/max_user_namespaces";

/// Looks at all of it.
pub(super) fn check(root: &Path) -> Vec<Finding> {
    let namespace = user_namespace();
    let most = fs::read_to_string(MAX_USER_NAMESPACES).unwrap_or_default();
    let namespaces = match &namespace {
        Ok(_) => Finding::ok("user namespaces", format!("at most {}", most.trim())),
        Err(error) if most.trim() == "0" => Finding::missing(
            "user namespaces",
            format!("{error:#}"),
            "unprivileged containers cannot be made",
            "allow them: sysctl user.max_user_namespaces=10000",
        ),
        Err(error) => Finding::missing(
            "user namespaces",
            format!("{error:#}"),
            "unprivileged containers cannot be made",
            "run this as root, on a kernel with CONFIG_USER_NS, and outside a container that forbids them",
        ),
    };
    let overlay = match namespace {
        Ok(namespace) => overlay(root, &namespace),
        Err(_) => {
            Finding::limited("overlay", "not tried", "it needs a user namespace", "see user namespaces")
        }
    };
    vec![namespaces, overlay]
}

/// Has a launcher make one, as the engine does. On a thread of its own: the caller may be inside a runtime.
fn user_namespace() -> anyhow::Result<OwnedFd> {
    let make = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            Ok(gdn_launcher::Launcher::start()?
                .user_namespace(&gdn_namespaces::IdMap::container_default())
                .await?)
        })
    };
    std::thread::scope(|scope| scope.spawn(make).join()).map_err(|_| anyhow::anyhow!("the check panicked"))?
}

fn overlay(root: &Path, namespace: &OwnedFd) -> Finding {
    match try_overlay(&existing(root), namespace) {
        Ok(()) => Finding::ok("overlay", "works over layers with mapped ids"),
        Err(error) => Finding::missing(
            "overlay",
            format!("{error:#}"),
            "no image can be mounted on the file system that holds the root directory",
            "load the module (modprobe overlay), or put --root on ext4, XFS or btrfs",
        ),
    }
}

/// A directory that goes away with everything in it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over it would be a few empty directories.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Mounts an overlay like a container's, out of sight, on the file system that a container's would be on.
fn try_overlay(directory: &Path, namespace: &OwnedFd) -> anyhow::Result<()> {
    let scratch = Scratch(directory.join(format!(".gdn-doctor-{}", std::process::id())));
    let mut opened = Vec::new();
    for name in ["lower", "upper", "work"] {
        let path = scratch.0.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        opened.push(rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
    }
    let lower = Detached::copy_of(opened[0].as_fd())?;
    lower.map_ids(namespace.as_fd())?;
    let overlay = Overlay { layers: &[lower.as_fd()], upper: opened[1].as_fd(), work: opened[2].as_fd() };
    overlay.mount(Attributes::empty()).map(drop).context("mount an overlay")
}
