//! The hierarchy for block I/O. Few groups are limited in it, so it costs nothing until one is: on v1 there is no directory
//! before that, and on v2 the controller is not switched on.

use std::sync::OnceLock;

use rustix::io::Errno;

use super::{Hierarchy, Tree, Version, enable};
use crate::error::{Error, Result};
use crate::files::Directory;
use crate::layout::{Controller, V1Hierarchy};

/// The v1 hierarchy for block I/O.
#[derive(Debug)]
pub(crate) struct OnDemand {
    v1: V1Hierarchy,
    /// The engine's directory in it, once there is one.
    ours: OnceLock<Hierarchy>,
}

impl OnDemand {
    /// Takes over the directory that an earlier life of the engine left.
    pub(super) fn new(v1: &V1Hierarchy, name: &str) -> Result<Self> {
        let on_demand = OnDemand { v1: v1.clone(), ours: OnceLock::new() };
        if Directory::open(&v1.mount)?.has(name)? {
            on_demand.ready(name)?;
        }
        Ok(on_demand)
    }

    fn ready(&self, name: &str) -> Result<&Hierarchy> {
        if let Some(ours) = self.ours.get() {
            return Ok(ours);
        }
        let mount = Directory::open(&self.v1.mount)?;
        mount.make(name)?;
        let directory = Directory::open(&self.v1.mount.join(name))?;
        let ours = Hierarchy {
            version: Version::V1,
            controllers: self.v1.controllers(),
            directory,
            mount,
            options: self.v1.options.join(","),
        };
        // Another thread may have been quicker; its directory is the same one.
        Ok(self.ours.get_or_init(|| ours))
    }
}

/// What of block I/O this host can limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockIoSupport {
    /// The weight against other groups.
    pub weight: bool,
    /// Bytes and operations a second, and disks to limit.
    pub max: bool,
}

impl Tree {
    /// The hierarchy that limits block I/O, ready for groups.
    pub(crate) fn block_io(&self) -> Result<&Hierarchy> {
        let missing = Error::NoController { controller: Controller::BlockIo };
        if let Some(home) = self.home(Controller::BlockIo) {
            return Ok(home);
        }
        if let Some(on_demand) = &self.block_io_v1 {
            return on_demand.ready(&self.name);
        }
        let unified = self.unified().filter(|_| self.block_io_v2).ok_or(missing)?;
        enable(&unified.mount, "cgroup.subtree_control", &[Controller::BlockIo])?;
        enable(&unified.directory, "cgroup.subtree_control", &[Controller::BlockIo])?;
        Ok(unified)
    }

    /// The same, if any group may have been limited in it.
    pub(crate) fn block_io_in_use(&self) -> Option<&Hierarchy> {
        self.home(Controller::BlockIo)
            .or_else(|| self.block_io_of_its_own())
            .or_else(|| self.unified().filter(|_| self.block_io_v2))
    }

    /// The v1 hierarchy in which only some groups have a directory, if any has.
    pub(crate) fn block_io_of_its_own(&self) -> Option<&Hierarchy> {
        self.block_io_v1.as_ref()?.ours.get()
    }

    /// What can be limited, by which files the engine's own directory has.
    pub(super) fn block_io_support(&self) -> Result<BlockIoSupport> {
        let home = match self.block_io() {
            Ok(home) => home,
            Err(Error::NoController { .. }) => return Ok(BlockIoSupport::default()),
            Err(error) => return Err(error),
        };
        let (weights, max): (&[&str], _) = match home.version {
            Version::V1 => (&["blkio.weight", "blkio.bfq.weight"], "blkio.throttle.read_bps_device"),
            Version::V2 => (&["io.bfq.weight", "io.weight"], "io.max"),
        };
        let has_disks = !crate::block_devices::real()?.is_empty();
        let mut support = BlockIoSupport { weight: false, max: has_disks && home.directory.has(max)? };
        for weight in weights {
            support.weight |= home.directory.has(weight)?;
        }
        Ok(support)
    }

    /// Removes the group where only some have a directory. Who is left there and in no other is no process of the group, but
    /// its parent, and is moved up.
    pub(super) fn leave_block_io(&self, name: &str, is_empty_elsewhere: bool) -> Result<()> {
        let Some(home) = self.block_io_of_its_own() else { return Ok(()) };
        match super::remove_deep(&home.directory, name) {
            Err(Error::Busy { .. }) if is_empty_elsewhere => {}
            other => return other,
        }
        for pid in home.directory.read_list(&format!("{name}/cgroup.procs"))?.lines() {
            match home.directory.write("cgroup.procs", pid) {
                // It has ended.
                Err(Error::Value { errno: Errno::SRCH, .. }) => {}
                moved => moved?,
            }
        }
        super::remove_deep(&home.directory, name)
    }
}
