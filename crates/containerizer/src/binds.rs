//! Bind mounts: the source, as the host sees it, becomes a detached mount before anything of the container exists.

use std::os::fd::{AsFd, OwnedFd};

use gdn_mounts::{Attributes, Detached};
use gdn_types::{BindMode, BindMount, BindOrigin, Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::failures;
use crate::targets::Targets;

/// The mounts of all, in their order. Sources are the client's word, and may lie where somebody else decides when to answer.
/// Places for them are made on the way, where there are `targets` to make them in.
pub(crate) async fn all(binds: &[BindMount], mut targets: Option<Targets>) -> Result<Vec<OwnedFd>> {
    if binds.is_empty() && !targets.as_ref().is_some_and(Targets::has_any) {
        return Ok(Vec::new());
    }
    let binds = binds.to_vec();
    let mount_all = move || {
        if let Some(targets) = &mut targets {
            targets.make_all_of_image();
        }
        let mount = |bind: &BindMount| {
            let mount = detached(bind)?;
            if let Some(targets) = &mut targets {
                targets.make_for(&bind.target, mount.as_fd());
            }
            Ok(mount)
        };
        binds.iter().map(mount).collect()
    };
    tokio::task::spawn_blocking(mount_all).await.map_err(|error| failures::joined(&error))?
}

/// Opens the source and copies its mount; flags that the source's file system has stay with the copy.
fn detached(bind: &BindMount) -> Result<OwnedFd> {
    if bind.origin == BindOrigin::Container {
        return Err(Error::not_yet("a bind mount whose source is in the container"));
    }
    let source = open(&bind.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        let kind = match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::ACCESS => {
                ErrorKind::InvalidArgument
            }
            _ => ErrorKind::Internal,
        };
        Error::new(kind, format!("open bind mount source {}: {errno}", bind.source.display()))
    })?;
    let copy = |error| {
        Error::caused(ErrorKind::InvalidArgument, format!("bind mount {}", bind.source.display()), error)
    };
    let mount = Detached::copy_of(source.as_fd()).map_err(copy)?;
    // The host's mounts are shared as a rule, and so would be their copy: mounts made inside would show on the host.
    mount.make_private().map_err(copy)?;
    if bind.mode == BindMode::ReadOnly {
        mount.set_attributes(Attributes::MOUNT_ATTR_RDONLY, Attributes::empty()).map_err(copy)?;
    }
    Ok(mount.into_fd())
}
