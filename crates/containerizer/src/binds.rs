//! Bind mounts: the source, as the host sees it, becomes a detached mount before anything of the container exists.

use std::os::fd::OwnedFd;

use gdn_mounts::{Attributes, Detached};
use gdn_types::{BindMode, BindMount, BindOrigin, Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::failures;

/// The mounts of all, in their order. Sources are the client's word, and may lie where somebody else decides when to answer.
pub(crate) async fn all(binds: &[BindMount]) -> Result<Vec<OwnedFd>> {
    if binds.is_empty() {
        return Ok(Vec::new());
    }
    let binds = binds.to_vec();
    tokio::task::spawn_blocking(move || binds.iter().map(detached).collect())
        .await
        .map_err(|error| failures::joined(&error))?
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
    let mount = Detached::copy_of(std::os::fd::AsFd::as_fd(&source)).map_err(copy)?;
    // The host's mounts are shared as a rule, and so would be their copy: mounts made inside would show on the host.
    mount.make_private().map_err(copy)?;
    if bind.mode == BindMode::ReadOnly {
        mount.set_attributes(Attributes::MOUNT_ATTR_RDONLY, Attributes::empty()).map_err(copy)?;
    }
    Ok(mount.into_fd())
}
