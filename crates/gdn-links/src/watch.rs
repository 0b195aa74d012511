//! Being told that something changed.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::Result;
use crate::error::io_call;

/// Links come, go, rise and fall (`RTNLGRP_LINK`); routes of either family change (`RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_ROUTE`).
const GROUPS: [u32; 3] = [1, 7, 11];

/// Says that links or routes of the calling thread's namespace have changed since the last question.
///
/// It does not say what: look again. Wait for its descriptor to become readable, as with poll(2).
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    message: Vec<u8>,
}

impl Watch {
    /// Watches from now on.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) when no socket can be made.
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(io_call("open netlink socket"))?;
        socket.set_non_blocking(true).map_err(io_call("make netlink socket non-blocking"))?;
        socket.bind(&SocketAddr::new(0, 0)).map_err(io_call("bind netlink socket"))?;
        for group in GROUPS {
            socket.add_membership(group).map_err(io_call("subscribe to changes"))?;
        }
        // What the messages say is not read, so a part of one is enough.
        Ok(Watch { socket, message: Vec::with_capacity(16) })
    }

    /// Whether anything has changed since the last call, or more than the kernel could note. Does not wait.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) when the kernel cannot be asked.
    pub fn has_changed(&mut self) -> Result<bool> {
        let mut has_changed = false;
        loop {
            self.message.clear();
            match self.socket.recv(&mut self.message, 0) {
                Ok(_) => has_changed = true,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => has_changed = true,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(has_changed),
                Err(error) => return Err(io_call("receive changes")(error)),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
