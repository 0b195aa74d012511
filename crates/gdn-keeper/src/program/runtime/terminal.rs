//! How a runtime hands over a terminal: it connects to a socket and sends the master's descriptor.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, listen, recvmsg, socket_with,
};

use crate::program::failure::{During, Result, failure};
use crate::protocol::FailureKind;

/// A socket that waits for one terminal.
pub(crate) struct Console(OwnedFd);

impl Console {
    /// Listens in a directory that only root can enter.
    pub(crate) fn listen(directory: &str, name: &str) -> Result<Self> {
        let during = || "listen for the process's terminal".to_owned();
        let directory = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .during(FailureKind::Internal, during)?;
        // Through the descriptor the path is short, however long the directory's is.
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
            .during(FailureKind::Internal, during)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .during(FailureKind::Exhausted, during)?;
        bind(&socket, &address).and_then(|()| listen(&socket, 1)).during(FailureKind::Internal, during)?;
        Ok(Console(socket))
    }

    /// The terminal that a runtime has sent before it ended.
    pub(crate) fn received(&self) -> Result<OwnedFd> {
        let during = || "receive the process's terminal from the runtime".to_owned();
        let peer = accept_with(&self.0, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
            .during(FailureKind::Runtime, during)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        // The name that comes along is of no use.
        let mut name = [0; 4096];
        let mut into = [std::io::IoSliceMut::new(&mut name)];
        recvmsg(&peer, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)
            .during(FailureKind::Runtime, during)?;
        let master = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let master =
            master.ok_or_else(|| failure(FailureKind::Runtime, format!("{}: none came", during())))?;
        rustix::io::ioctl_fionbio(&master, true).during(FailureKind::Internal, during)?;
        Ok(master)
    }
}
