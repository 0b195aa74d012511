//! Terminals: allocated in the container's own devpts, without a path that the container could exchange.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fchown, openat};
use rustix::process::{Gid, Uid};
use rustix::termios::Winsize;

use super::failure::{During, Result};
use super::system;
use crate::protocol::{FailureKind, Window};

/// The group that terminals belong to, inside.
pub(crate) const TTY_GROUP: u32 = 5;

/// Opens a new terminal of this size, owned by the user (host ids). Returns the keeper's side and the process's.
pub(crate) fn open(devpts: BorrowedFd<'_>, window: Window, uid: u32, gid: u32) -> Result<(OwnedFd, OwnedFd)> {
    let during = || "open a terminal".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let master = openat(devpts, "ptmx", flags, Mode::empty()).during(FailureKind::Exhausted, during)?;
    let peer = system::open_terminal_peer(master.as_fd()).during(FailureKind::Exhausted, during)?;
    fchown(&peer, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .during(FailureKind::Internal, during)?;
    resize(master.as_fd(), window).during(FailureKind::Internal, during)?;
    Ok((master, peer))
}

/// Changes the size; the kernel tells the foreground processes by SIGWINCH.
pub(crate) fn resize(master: BorrowedFd<'_>, window: Window) -> std::io::Result<()> {
    let or = |value: u32, default| match u16::try_from(value) {
        Ok(0) => default,
        Ok(value) => value,
        Err(_) => u16::MAX,
    };
    let size =
        Winsize { ws_row: or(window.rows, 24), ws_col: or(window.columns, 80), ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(master, size)?)
}
