//! Mounts that belong to no mount tree.

#![allow(unsafe_code, reason = "mount_setattr(2) has no safe wrapper")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_path_empty, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::{Error, Result};

/// Per-mount attributes: `MOUNT_ATTR_RDONLY`, `..._NOSUID`, `..._NODEV`, `..._NOEXEC` and the access time rules.
pub type Attributes = MountAttrFlags;

/// `MOUNT_ATTR_IDMAP` of `linux/mount.h`; rustix does not list it.
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// A file system that is being configured.
pub struct Filesystem {
    context: OwnedFd,
    kind: String,
}

impl Filesystem {
    /// Opens a context for a file system type, as `fsopen(2)`.
    ///
    /// # Errors
    /// `ENODEV` when the kernel does not have the type, `EPERM` without the capability.
    pub fn new(kind: &str) -> Result<Self> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(mount_error("fsopen", kind))?;
        Ok(Filesystem { context, kind: kind.to_owned() })
    }

    /// Sets an option with a value.
    ///
    /// # Errors
    /// What the file system says to it.
    pub fn option(self, key: &str, value: &str) -> Result<Self> {
        fsconfig_set_string(self.context.as_fd(), key, value)
            .map_err(|errno| self.refused(&format!("{}: {key}={value}", self.kind), errno))?;
        Ok(self)
    }

    /// Sets an option without a value.
    ///
    /// # Errors
    /// What the file system says to it.
    pub fn flag(self, key: &str) -> Result<Self> {
        fsconfig_set_flag(self.context.as_fd(), key)
            .map_err(|errno| self.refused(&format!("{}: {key}", self.kind), errno))?;
        Ok(self)
    }

    /// Sets an option to what a descriptor refers to.
    ///
    /// # Errors
    /// `EINVAL` when the kernel or the file system does not take descriptors for this option.
    pub fn descriptor(self, key: &str, value: BorrowedFd<'_>) -> Result<Self> {
        fsconfig_set_path_empty(self.context.as_fd(), key, value)
            .or_else(|_| rustix::mount::fsconfig_set_fd(self.context.as_fd(), key, value))
            .map_err(|errno| self.refused(&format!("{}: {key}", self.kind), errno))?;
        Ok(self)
    }

    /// Makes the file system and a detached mount of it.
    ///
    /// # Errors
    /// What the file system says to its options together.
    pub fn mount(self, attributes: Attributes) -> Result<Detached> {
        fsconfig_create(self.context.as_fd()).map_err(|errno| self.refused(&self.kind, errno))?;
        let mount = fsmount(self.context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(mount_error("fsmount", &self.kind))?;
        Ok(Detached(mount))
    }

    /// The error, with the file system's own last message where it left one in the context.
    fn refused(&self, what: &str, errno: Errno) -> Error {
        let mut message = [0_u8; 512];
        let said = match rustix::io::read(&self.context, &mut message) {
            Ok(length) => String::from_utf8_lossy(&message[..length]).trim_end().to_owned(),
            Err(_) => String::new(),
        };
        let what = if said.is_empty() { what.to_owned() } else { format!("{what} ({said})") };
        Error::Mount { op: "fsconfig", what, errno }
    }
}

/// A mount that no mount tree has (yet). Dropping it unmounts it.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl Detached {
    /// A detached copy of the mount at a directory or file, without the mounts below it.
    ///
    /// The source must be in the caller's own mount namespace.
    ///
    /// # Errors
    /// `EINVAL` when the source's mount cannot be copied, `EPERM` without the capability.
    pub fn copy_of(source: BorrowedFd<'_>) -> Result<Self> {
        Self::open_tree(source, OpenTreeFlags::empty())
    }

    /// A detached copy of the mount at a directory and of every mount below it.
    ///
    /// # Errors
    /// As [`Detached::copy_of`].
    pub fn recursive_copy_of(source: BorrowedFd<'_>) -> Result<Self> {
        Self::open_tree(source, OpenTreeFlags::AT_RECURSIVE)
    }

    fn open_tree(source: BorrowedFd<'_>, more: OpenTreeFlags) -> Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | more;
        let mount = open_tree(source, "", flags).map_err(|errno| Error::Mount {
            op: "open_tree",
            what: describe(source),
            errno,
        })?;
        Ok(Detached(mount))
    }

    /// Takes over a descriptor that another process sent.
    pub fn from_fd(mount: OwnedFd) -> Self {
        Detached(mount)
    }

    /// Adds and removes attributes of this mount (not of those below it).
    ///
    /// # Errors
    /// `EPERM` when a more privileged mount namespace locked an attribute that would be removed.
    pub fn set_attributes(&self, set: Attributes, clear: Attributes) -> Result<()> {
        self.setattr(&MountAttr {
            attr_set: u64::from(set.bits()),
            attr_clr: u64::from(clear.bits()),
            propagation: 0,
            userns_fd: 0,
        })
    }

    /// Shows the files of this mount with their ids mapped by a user namespace: what the file system stores as id N shows
    /// as the host id that the namespace maps its N to.
    ///
    /// # Errors
    /// `EINVAL` when the file system does not support it, `EPERM` when the mount is already mapped or attached.
    pub fn map_ids(&self, user_namespace: BorrowedFd<'_>) -> Result<()> {
        self.setattr(&MountAttr {
            attr_set: MOUNT_ATTR_IDMAP,
            attr_clr: 0,
            propagation: 0,
            userns_fd: u64::try_from(user_namespace.as_raw_fd()).expect("an open descriptor is not negative"),
        })
    }

    fn setattr(&self, attr: &MountAttr) -> Result<()> {
        // SAFETY: the path is an empty C string, the structure is the kernel's own layout and outlives the call, and its
        // size is passed; the kernel only reads both.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH,
                std::ptr::from_ref(attr),
                size_of::<MountAttr>(),
            )
        };
        if result == 0 {
            return Ok(());
        }
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL);
        Err(Error::Mount {
            op: "mount_setattr",
            what: format!("set {:#x} clear {:#x}", attr.attr_set, attr.attr_clr),
            errno,
        })
    }

    /// Attaches the mount on top of an open directory or file.
    ///
    /// # Errors
    /// `ENOTDIR` when one is a directory and the other is not.
    pub fn attach(&self, target: impl AsFd) -> Result<()> {
        let target = target.as_fd();
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&self.0, "", target, "", flags).map_err(|errno| Error::Mount {
            op: "move_mount",
            what: describe(target),
            errno,
        })
    }

    /// Attaches the mount at a path of the caller's own, trusted tree.
    ///
    /// # Errors
    /// As [`Detached::attach`].
    pub fn attach_at(&self, path: &str) -> Result<()> {
        move_mount(&self.0, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(mount_error("move_mount", path))
    }

    /// The mount's root directory (or file), to walk below it.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Gives up the mount's descriptor, to be sent to another process.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn mount_error(op: &'static str, what: &str) -> impl FnOnce(Errno) -> Error + use<> {
    let what = what.to_owned();
    move |errno| Error::Mount { op, what, errno }
}

/// The path behind a descriptor, for messages only.
fn describe(fd: BorrowedFd<'_>) -> String {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).map_or_else(|_| "a descriptor".to_owned(), |path| path.display().to_string())
}
