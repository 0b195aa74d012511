//! Who learns of mounts that are made below a mount.

#![allow(unsafe_code, reason = "mount_setattr(2) has no safe wrapper")]

use std::os::fd::AsRawFd;

use rustix::io::Errno;

use crate::{Detached, Error, Result};

impl Detached {
    /// Makes this mount and every mount below it private: what is mounted or unmounted inside shows nowhere else, and
    /// nothing from elsewhere shows inside.
    ///
    /// A copy of a shared mount is shared with its original until this is called.
    ///
    /// # Errors
    /// `EINVAL` on a kernel without `mount_setattr` for detached mounts.
    pub fn make_private(&self) -> Result<()> {
        let attr = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
        // SAFETY: the path is an empty C string, the structure is the kernel's own layout and outlives the call, and its
        // size is passed; the kernel only reads both.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.as_fd().as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
                std::ptr::from_ref(&attr),
                size_of::<libc::mount_attr>(),
            )
        };
        if result == 0 {
            return Ok(());
        }
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL);
        Err(Error::Mount { op: "mount_setattr", what: "private propagation".to_owned(), errno })
    }
}
