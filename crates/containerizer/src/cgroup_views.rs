//! What a container sees of its cgroups: copies of the host's mounts that begin at its own groups.
//!
//! A mount of the hierarchy that the container makes in its cgroup namespace shows the same, of the same file system. But
//! for each one of version 1 the kernel goes through all groups of the cgroup2 tree first, holding up everybody who does
//! anything with groups (ADR 0010).

use std::os::fd::{AsFd, BorrowedFd};

use gdn_cgroups::{Cgroup, Cgroups};
use gdn_mounts::{Attributes, Detached, Filesystem};
use gdn_namespaces::IdMap;
use gdn_types::{Error, Result};
use rustix::fs::{AtFlags, Mode, chownat, mkdirat};
use rustix::process::{Gid, Uid};

use crate::component::cgroup_error;
use crate::failures;

/// Where a container has its cgroups.
const PLACE: &str = "/sys/fs/cgroup";
/// The cgroup2 tree's name beside those of version 1.
const UNIFIED: &str = "unified";

/// A mount, and where in the container it goes.
pub(crate) struct View {
    pub(crate) target: String,
    pub(crate) mount: Detached,
}

/// All of them, in the order in which they are to be mounted; none where a privileged container has to mount its own.
pub(crate) fn of(cgroups: &Cgroups, cgroup: &Cgroup, privileged: bool, ids: &IdMap) -> Result<Vec<View>> {
    let hierarchies = cgroups.v1_hierarchies();
    if privileged && !hierarchies.is_empty() {
        return Ok(Vec::new());
    }
    let unified = cgroup.unified_dir().map(read_only_copy).transpose()?;
    if hierarchies.is_empty() {
        return Ok(unified.map(|mount| View { target: PLACE.to_owned(), mount }).into_iter().collect());
    }
    let directories = cgroup.v1_dirs().map_err(cgroup_error)?;
    let mut shown: Vec<(&str, Detached)> = Vec::with_capacity(hierarchies.len() + 1);
    for (hierarchy, directory) in hierarchies.iter().zip(&directories) {
        shown.push((place_of(hierarchy), read_only_copy(directory.as_fd())?));
    }
    shown.extend(unified.map(|mount| (UNIFIED, mount)));
    let names: Vec<&str> = shown.iter().map(|(name, _)| *name).collect();
    let mut views = vec![View { target: PLACE.to_owned(), mount: directory_of(&names, ids)? }];
    views.extend(shown.into_iter().map(|(name, mount)| View { target: format!("{PLACE}/{name}"), mount }));
    Ok(views)
}

/// The name of a hierarchy's place, of the mount options that make it (`cpu,cpuacct`, `name=systemd`).
fn place_of(hierarchy: &str) -> &str {
    hierarchy.rsplit('=').next().unwrap_or(hierarchy)
}

fn attributes() -> Attributes {
    Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV | Attributes::MOUNT_ATTR_NOEXEC
}

fn read_only_copy(directory: BorrowedFd<'_>) -> Result<Detached> {
    let during = "show a container its cgroup";
    let copy = Detached::copy_of(directory).map_err(failures::mount(during))?;
    // Where the host's mount is shared, what the container mounts on it would show there.
    copy.make_private().map_err(failures::mount(during))?;
    copy.set_attributes(attributes() | Attributes::MOUNT_ATTR_RDONLY, Attributes::empty())
        .map_err(failures::mount(during))?;
    Ok(copy)
}

/// The directory that the places are in. It is the container's root's, and nobody writes to it.
fn directory_of(names: &[&str], ids: &IdMap) -> Result<Detached> {
    let during = "make a container's directory of cgroups";
    let root = ids.to_host(0).ok_or_else(|| Error::internal("a container's map of ids has no root"))?;
    let owner = root.to_string();
    let directory = Filesystem::new("tmpfs")
        .and_then(|tmpfs| tmpfs.option("mode", "755"))
        .and_then(|tmpfs| tmpfs.option("size", "64k"))
        .and_then(|tmpfs| tmpfs.option("uid", &owner))
        .and_then(|tmpfs| tmpfs.option("gid", &owner))
        .and_then(|tmpfs| tmpfs.mount(attributes()))
        .map_err(failures::mount(during))?;
    let (uid, gid) = (Some(Uid::from_raw(root)), Some(Gid::from_raw(root)));
    for name in names {
        mkdirat(directory.as_fd(), *name, Mode::from_raw_mode(0o755))
            .and_then(|()| chownat(directory.as_fd(), *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|errno| failures::os(during)(errno.into()))?;
    }
    directory
        .set_attributes(Attributes::MOUNT_ATTR_RDONLY, Attributes::empty())
        .map_err(failures::mount(during))?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hierarchy_is_shown_under_its_controllers_or_its_name() {
        assert_eq!(place_of("cpu,cpuacct"), "cpu,cpuacct");
        assert_eq!(place_of("name=systemd"), "systemd");
    }
}
