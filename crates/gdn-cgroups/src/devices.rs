//! Device rules: which device files a group may make (`m`), read (`r`) and write (`w`).

use std::fmt;

use rustix::fd::AsFd;

use crate::error::Result;
use crate::files::Directory;

pub(crate) mod program;

/// Kind of a device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Block device.
    Block,
    /// Character device.
    Character,
}

/// What a rule allows to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceAccess {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Make the device file.
    pub mknod: bool,
}

impl DeviceAccess {
    /// Read, write and mknod.
    pub const ALL: DeviceAccess = DeviceAccess { read: true, write: true, mknod: true };
    /// Mknod only.
    pub const MKNOD: DeviceAccess = DeviceAccess { read: false, write: false, mknod: true };
}

/// One rule: these device files may be used so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceRule {
    /// Kind of device file.
    pub kind: DeviceKind,
    /// Major number; `None` = any.
    pub major: Option<u32>,
    /// Minor number; `None` = any.
    pub minor: Option<u32>,
    /// What may be done.
    pub access: DeviceAccess,
}

impl DeviceRule {
    /// A rule for one kind, `None` meaning any number.
    pub const fn new(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: DeviceAccess) -> Self {
        DeviceRule { kind, major, minor, access }
    }

    /// The devices a container may use: any node may be made; null, zero, full, random, urandom, tty, the terminals of devpts,
    /// tun and fuse may be opened.
    pub fn container_defaults() -> Vec<DeviceRule> {
        use DeviceKind::{Block, Character};
        let open = |major, minor| DeviceRule::new(Character, Some(major), minor, DeviceAccess::ALL);
        vec![
            DeviceRule::new(Character, None, None, DeviceAccess::MKNOD),
            DeviceRule::new(Block, None, None, DeviceAccess::MKNOD),
            open(1, Some(3)),    // null
            open(1, Some(5)),    // zero
            open(1, Some(7)),    // full
            open(1, Some(8)),    // random
            open(1, Some(9)),    // urandom
            open(5, Some(0)),    // tty
            open(5, Some(2)),    // ptmx
            open(136, None),     // devpts terminals
            open(10, Some(200)), // tun
            open(10, Some(229)), // fuse
        ]
    }
}

/// As `devices.allow` takes it, for example `c 1:3 rwm`.
impl fmt::Display for DeviceRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Block => 'b',
            DeviceKind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(formatter, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (set, letter) in [(self.access.read, 'r'), (self.access.write, 'w'), (self.access.mknod, 'm')] {
            if set {
                write!(formatter, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// Writes rules to a v1 group; the file takes one rule a write.
pub(crate) fn restrict_v1(directory: &Directory, group: &str, rules: &[DeviceRule]) -> Result<()> {
    directory.write(&format!("{group}/devices.deny"), "a")?;
    let allow = format!("{group}/devices.allow");
    let fd = directory.open_for_writing(&allow)?;
    for rule in rules {
        directory.write_to(fd.as_fd(), &allow, &rule.to_string())?;
    }
    Ok(())
}

/// Allows a v1 group all that its parent may.
pub(crate) fn allow_all_v1(directory: &Directory, group: &str) -> Result<()> {
    directory.write(&format!("{group}/devices.allow"), "a")
}
