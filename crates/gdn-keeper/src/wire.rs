//! One message is one datagram of a `SOCK_SEQPACKET` socket, with its descriptors beside it.
//!
//! A message too large for a datagram travels in a memfd, which is then the first descriptor. The first byte says which.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use prost::Message;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The message follows in the datagram.
const INLINE: u8 = 0;
/// The message is the content of the first descriptor.
const IN_MEMFD: u8 = 1;

/// Largest message inside a datagram: well below the kernel's default send buffer (208 KiB).
const MAX_INLINE: usize = 64 * 1024;
/// Largest message at all: arguments and environment of a process are bounded by the kernel at 6 MiB.
const MAX_MESSAGE: usize = 8 * 1024 * 1024;
/// Most descriptors beside a message (SCM_MAX_FD is 253).
pub const MAX_DESCRIPTORS: usize = 220;

/// Sends one message.
///
/// # Errors
/// `EPIPE`/`ECONNRESET` when the peer is gone, `EAGAIN` when a non-blocking socket is full, `EMSGSIZE` above 8 MiB.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Message,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let length = message.encoded_len();
    if length > MAX_MESSAGE || descriptors.len() >= MAX_DESCRIPTORS {
        return Err(rustix::io::Errno::MSGSIZE.into());
    }
    let mut datagram = Vec::with_capacity(1 + length.min(MAX_INLINE));
    if length <= MAX_INLINE {
        datagram.push(INLINE);
        message.encode(&mut datagram).expect("a vector grows as needed");
        return send_datagram(socket, &datagram, descriptors);
    }
    let memfd = memfd_create("message", MemfdFlags::CLOEXEC)?;
    write_all(memfd.as_fd(), &message.encode_to_vec())?;
    datagram.push(IN_MEMFD);
    let mut all = vec![memfd.as_fd()];
    all.extend_from_slice(descriptors);
    send_datagram(socket, &datagram, &all)
}

fn send_datagram(socket: BorrowedFd<'_>, datagram: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = vec![MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(descriptors).size()];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(socket, &[IoSlice::new(datagram)], &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// A message as it arrived.
#[derive(Debug)]
pub struct Received<M> {
    /// The message.
    pub message: M,
    /// Its descriptors; none when not all of them arrived.
    pub descriptors: Vec<OwnedFd>,
    /// False when the receiver had no room for all descriptors (`RLIMIT_NOFILE`): the rest is closed by the kernel.
    pub complete: bool,
}

/// As [`receive_any`], but a message without all its descriptors is an error.
///
/// # Errors
/// As [`receive_any`], and `EMFILE`.
pub fn receive<M: Message + Default>(socket: BorrowedFd<'_>) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    match receive_any(socket)? {
        Some(received) if received.complete => Ok(Some((received.message, received.descriptors))),
        Some(_) => Err(rustix::io::Errno::MFILE.into()),
        None => Ok(None),
    }
}

/// Receives one message; `None` when the peer has closed the connection.
///
/// # Errors
/// `EAGAIN` when a non-blocking socket is empty, `InvalidData` for what is not a message, `EMFILE` for a message whose
/// content was in a descriptor that found no room.
pub fn receive_any<M: Message + Default>(socket: BorrowedFd<'_>) -> io::Result<Option<Received<M>>> {
    let mut datagram = vec![0; next_length(socket)?];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(&mut datagram)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            descriptors.extend(received);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC) {
        return Err(invalid("a truncated message"));
    }
    let complete = !received.flags.intersects(ReturnFlags::CTRUNC);
    let message = match datagram[0] {
        INLINE => M::decode(&datagram[1..received.bytes]),
        IN_MEMFD if !descriptors.is_empty() => {
            let content = read_all(descriptors.remove(0).as_fd())?;
            M::decode(&*content)
        }
        IN_MEMFD if !complete => return Err(rustix::io::Errno::MFILE.into()),
        _ => return Err(invalid("a datagram of unknown form")),
    };
    if !complete {
        descriptors.clear();
    }
    let message = message.map_err(|error| invalid(&error.to_string()))?;
    Ok(Some(Received { message, descriptors, complete }))
}

/// The length of the next datagram, which stays in the socket; blocks if the socket does.
fn next_length(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut nothing = [0; 1];
    let (_, length) = rustix::io::retry_on_intr(|| {
        rustix::net::recv(socket, &mut nothing[..], RecvFlags::PEEK | RecvFlags::TRUNC)
    })?;
    if length > 1 + MAX_INLINE {
        return Err(invalid("an oversize datagram"));
    }
    Ok(length.max(1))
}

fn write_all(fd: BorrowedFd<'_>, mut content: &[u8]) -> io::Result<()> {
    while !content.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(fd, content))?;
        content = &content[written..];
    }
    Ok(())
}

fn read_all(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(rustix::fs::fstat(fd)?.st_size).map_err(io::Error::other)?;
    if length > MAX_MESSAGE {
        return Err(invalid("an oversize message"));
    }
    let mut content = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut content[filled..], filled as u64))? {
            0 => return Err(invalid("a message shorter than it says")),
            count => filled += count,
        }
    }
    Ok(content)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("received {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Call, Request, Run};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    fn request(bytes: usize) -> Request {
        let run = Run { args: vec![vec![7; bytes]], ..Run::default() };
        Request { id: 9, call: Some(Call::Run(run)) }
    }

    #[test]
    fn messages_of_every_size_arrive_with_their_descriptors() {
        let (a, b) = pair();
        for bytes in [0, 1, 60_000, 65_536, 3_000_000] {
            send(a.as_fd(), &request(bytes), &[a.as_fd(), b.as_fd()]).unwrap();
            let (received, descriptors) = receive::<Request>(b.as_fd()).unwrap().unwrap();
            assert!(received == request(bytes), "{bytes}");
            assert_eq!(descriptors.len(), 2);
        }
        assert_eq!(
            send(a.as_fd(), &request(9_000_000), &[]).unwrap_err().raw_os_error(),
            Some(rustix::io::Errno::MSGSIZE.raw_os_error())
        );
    }

    #[test]
    fn the_end_of_a_connection_and_rubbish_are_told_apart() {
        let (a, b) = pair();
        send_datagram(a.as_fd(), &[9, 1, 2], &[]).unwrap();
        send_datagram(a.as_fd(), &[IN_MEMFD], &[]).unwrap();
        send_datagram(a.as_fd(), &[INLINE, 0xff, 0xff], &[]).unwrap();
        for _ in 0..3 {
            assert_eq!(receive::<Request>(b.as_fd()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        drop(a);
        assert!(receive::<Request>(b.as_fd()).unwrap().is_none());
    }
}
