//! What can go wrong.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::Controller;

/// A failed operation on control groups.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No hierarchy that could hold processes is mounted.
    #[error("no control group hierarchy is mounted")]
    NoHierarchy,
    /// A limit was asked for that no mounted hierarchy can hold.
    #[error("controller {controller} is not available in any mounted hierarchy")]
    NoController {
        /// The controller that is missing.
        controller: Controller,
    },
    /// A limit was asked for that the controller of this kernel does not have.
    #[error("this kernel cannot set {limit}: it has no control file for it")]
    NoControlFile {
        /// What was to be limited.
        limit: &'static str,
    },
    /// Block I/O was to be limited, and there is none.
    #[error("no block device with hardware behind it is there to limit")]
    NoBlockDevice,
    /// The name cannot be the name of a control group of ours.
    #[error("invalid control group name {name:?}")]
    InvalidName {
        /// The name as given.
        name: String,
    },
    /// The kernel refused a value.
    #[error("write {value:?} to {}: {errno}", path.display())]
    Value {
        /// The control file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why the kernel refused it.
        errno: Errno,
    },
    /// The text is no rule for devices.
    #[error("device rule {rule:?}: {reason}")]
    DeviceRule {
        /// The rule as given.
        rule: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A weight of block I/O that no kernel takes.
    #[error("block i/o weight {weight} is not between 10 and 1000")]
    IoWeight {
        /// The weight as given.
        weight: u64,
    },
    /// Memory cannot be limited to less than is in use and cannot be dropped.
    #[error("limit {} to {limit} bytes: {usage} bytes are in use", path.display())]
    BelowUsage {
        /// The group's directory.
        path: PathBuf,
        /// The limit that was asked for, in bytes.
        limit: u64,
        /// Bytes in use that count towards the limit.
        usage: u64,
    },
    /// A system call failed.
    #[error("{op} {}: {errno}", path.display())]
    Path {
        /// What was being done.
        op: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        errno: Errno,
    },
    /// A control file held something else than what the kernel documents.
    #[error("unexpected content {content:?} in {}", path.display())]
    Unexpected {
        /// The control file.
        path: PathBuf,
        /// What it held.
        content: String,
    },
    /// A control group still holds processes (or the kernel is not yet done with dead ones).
    #[error("control group {} is still in use", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
}

impl Error {
    /// The error number, where the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Value { errno, .. } | Error::Path { errno, .. } => Some(*errno),
            Error::Busy { .. } => Some(Errno::BUSY),
            _ => None,
        }
    }
}

/// The result of an operation on control groups.
pub type Result<T> = std::result::Result<T, Error>;
