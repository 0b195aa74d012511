//! A netlink socket of netfilter: sending, receiving, dumping.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::attribute::{Attributes, Message, Messages, native32, set_sequence, text};
use crate::{Error, Result};

/// How long an answer of the kernel is waited for. It answers before the send returns, so this is only for a kernel that
/// never does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Room for one datagram: the kernel's are at most 32 KiB.
const DATAGRAM_BYTES: usize = 128 * 1024;
/// Room for answers that are not read yet.
const RECEIVE_BYTES: usize = 4 << 20;

/// `MSG_DONTWAIT`.
pub(crate) const DONT_WAIT: i32 = 0x40;

/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// `NLM_F_ACK`.
pub(crate) const ACKNOWLEDGE: u16 = 4;
/// `NLM_F_DUMP`.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: what is listed changed meanwhile.
const INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED`: an error's request is cut after its header.
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: an error has attributes.
const EXPLAINED: u16 = 0x200;

/// An answer to one message.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sequence: u32,
    /// `None` is success.
    pub(crate) errno: Option<Errno>,
    /// The kernel's words.
    pub(crate) message: Option<String>,
    /// Where in the request the fault is, in bytes.
    pub(crate) offset: Option<usize>,
}

impl Answer {
    /// Reads `NLMSG_ERROR`; `None` for other messages.
    pub(crate) fn of(message: Message<'_>) -> Option<Answer> {
        if message.kind != ERROR {
            return None;
        }
        let code = native32(message.payload)?.cast_signed();
        let request = message.payload.get(4..)?;
        let length = match message.flags & CAPPED {
            0 => usize::try_from(native32(request)?).ok()?.next_multiple_of(4),
            _ => crate::attribute::HEADER,
        };
        let explanation = match message.flags & EXPLAINED {
            0 => Attributes(&[]),
            _ => Attributes(request.get(length..).unwrap_or(&[])),
        };
        let offset = explanation.find(2).and_then(native32).and_then(|offset| usize::try_from(offset).ok());
        let errno = (code != 0).then(|| errno_of(code));
        Some(Answer { sequence: message.sequence, errno, message: explanation.find(1).map(text), offset })
    }
}

/// What becomes of the word that messages were dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Told,
    /// They were answers to something earlier: a listing goes on only as fast as it is read. Were it the answer that is
    /// waited for, the wait would end in time.
    PassedOver,
}

/// One socket and its sequence numbers.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: Socket,
    port: u32,
    sequence: u32,
    send_bytes: usize,
    buffer: Vec<u8>,
}

impl Channel {
    pub(crate) fn open() -> Result<Channel> {
        let failed = |op| move |error: std::io::Error| system(op, &error);
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(|error| match error.raw_os_error() {
            Some(code) => Error::answer("open netlink socket", Errno::from_raw_os_error(code), None),
            None => system("open", &error),
        })?;
        let port = socket.bind_auto().map_err(failed("bind"))?.port_number();
        socket.set_ext_ack(true).map_err(failed("set up"))?;
        socket.set_cap_ack(true).map_err(failed("set up"))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))
            .map_err(|errno| Error::System { op: "set up", errno })?;
        // Beyond the host's bound only with CAP_NET_ADMIN over the host; in a user namespace the bound is what there is.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BYTES);
        }
        Ok(Channel { socket, port, sequence: 0, send_bytes: 0, buffer: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Its netlink port.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// The first of `count` unused sequence numbers. 0 is none of them: it is the one of notifications.
    pub(crate) fn sequences(&mut self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if self.sequence.checked_add(count).is_none() {
            self.sequence = 0;
        }
        let first = self.sequence.saturating_add(1);
        self.sequence = self.sequence.saturating_add(count);
        first
    }

    /// Sends bytes as one datagram.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.make_room(bytes.len());
        let kernel = SocketAddr::new(0, 0);
        loop {
            match self.socket.send_to(bytes, &kernel, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(system("write to", &error)),
            }
        }
    }

    /// Receives one datagram of the kernel; those of others are passed over. `None` when nothing came in time (or, with
    /// `flags` not to wait, is there).
    pub(crate) fn receive(&mut self, flags: i32) -> Result<Option<&[u8]>> {
        self.receive_or(flags, Lost::Told)
    }

    fn receive_or(&mut self, flags: i32, lost: Lost) -> Result<Option<&[u8]>> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, flags) {
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok(_) => return Ok(Some(&self.buffer)),
                Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::INTR) => {}
                    Some(Errno::NOBUFS) if lost == Lost::PassedOver => {}
                    Some(Errno::AGAIN) => return Ok(None),
                    Some(Errno::NOBUFS) => return Err(Error::EventsLost),
                    _ => return Err(system("read from", &error)),
                },
            }
        }
    }

    /// Sends one message (whose sequence number is still open) and waits for its acknowledgement.
    pub(crate) fn request(&mut self, operation: &str, mut bytes: Vec<u8>) -> Result<()> {
        let sequence = self.sequences(1);
        set_sequence(&mut bytes, 0, sequence);
        self.send(&bytes)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let Some(datagram) = self.receive_or(0, Lost::PassedOver)? else { break };
            let answer = Messages(datagram).filter_map(Answer::of).find(|one| one.sequence == sequence);
            match answer {
                Some(Answer { errno: None, .. }) => return Ok(()),
                Some(Answer { errno: Some(errno), message, .. }) => {
                    return Err(Error::answer(operation, errno, message));
                }
                None => {}
            }
        }
        Err(late(operation))
    }

    /// Sends a request for a listing and gives every message of the answer that `read` makes something of, at most `most`.
    ///
    /// A listing that others changed meanwhile is read anew.
    pub(crate) fn dump<T>(
        &mut self,
        operation: &str,
        request: &[u8],
        most: usize,
        mut read: impl FnMut(Message<'_>, &mut Vec<T>),
    ) -> Result<Vec<T>> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(found) = self.dump_once(operation, request, most, &mut read, deadline)? {
                return Ok(found);
            }
        }
        Err(Error::Changing { operation: operation.to_owned() })
    }

    fn dump_once<T>(
        &mut self,
        operation: &str,
        request: &[u8],
        most: usize,
        read: &mut impl FnMut(Message<'_>, &mut Vec<T>),
        deadline: Instant,
    ) -> Result<Option<Vec<T>>> {
        let sequence = self.sequences(1);
        let mut bytes = request.to_vec();
        set_sequence(&mut bytes, 0, sequence);
        self.send(&bytes)?;
        let mut found = Vec::new();
        let mut interrupted = false;
        while Instant::now() < deadline {
            let Some(datagram) = self.receive_or(0, Lost::PassedOver)? else { break };
            for message in Messages(datagram).filter(|one| one.sequence == sequence) {
                interrupted |= message.flags & INTERRUPTED != 0;
                if let Some(answer) = Answer::of(message) {
                    // What is not a listing ends with an acknowledgement, if one is asked for.
                    return match answer.errno {
                        None => Ok(Some(found)),
                        Some(Errno::INTR) => Ok(None),
                        Some(errno) => Err(Error::answer(operation, errno, answer.message)),
                    };
                }
                if message.kind == DONE {
                    // A listing that failed on the way says so here.
                    let code = native32(message.payload).map_or(0, u32::cast_signed);
                    if code < 0 && code != -Errno::INTR.raw_os_error() {
                        let errno = errno_of(code);
                        return Err(Error::answer(operation, errno, None));
                    }
                    interrupted |= code < 0;
                    if found.len() > most {
                        return Err(Error::TooLong { what: "listing in items", limit: most });
                    }
                    return Ok((!interrupted).then_some(found));
                }
                // The rest of a listing that is too long still has to be read, for the socket to be usable after it.
                if found.len() <= most {
                    read(message, &mut found);
                }
            }
        }
        Err(late(operation))
    }

    /// The kernel takes a datagram only up to the size of the socket's buffer for sending.
    fn make_room(&mut self, bytes: usize) {
        const OVERHEAD_BYTES: usize = 64 * 1024;
        let needed = bytes + OVERHEAD_BYTES;
        if needed <= self.send_bytes {
            return;
        }
        if sockopt::set_socket_send_buffer_size_force(&self.socket, needed).is_err() {
            // Where this is not enough, the send says EMSGSIZE.
            let _ = sockopt::set_socket_send_buffer_size(&self.socket, needed);
        }
        self.send_bytes = needed;
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The error number that a message has negated. One that no kernel has is a fault of the protocol.
fn errno_of(code: i32) -> Errno {
    const LAST: i32 = 4095;
    match code.checked_neg() {
        Some(code @ 1..=LAST) => Errno::from_raw_os_error(code),
        _ => Errno::PROTO,
    }
}

/// What a failed call on a socket is.
pub(crate) fn system(op: &'static str, error: &std::io::Error) -> Error {
    Error::System { op, errno: error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error) }
}

/// No answer came.
pub(crate) fn late(operation: &str) -> Error {
    Error::Timeout { operation: operation.to_owned(), seconds: PATIENCE.as_secs() }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::{Answer, CAPPED, ERROR, EXPLAINED};
    use crate::attribute::{Header, Messages, message, set_sequence};

    /// `NLMSG_ERROR` for a message of this length, capped or with the message behind its header.
    fn refusal(capped: bool) -> Vec<u8> {
        let mut refused = Vec::new();
        message(&mut refused, Header { kind: 0xa00, flags: 1, family: 1, resource: 0 }, |body| {
            body.string(1, "t")
        });
        let mut out = Vec::new();
        let flags = EXPLAINED | if capped { CAPPED } else { 0 };
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&ERROR.to_ne_bytes());
        out.extend_from_slice(&flags.to_ne_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&(-17_i32).to_ne_bytes());
        out.extend_from_slice(if capped { &refused[..16] } else { &refused });
        // NLMSGERR_ATTR_MSG and NLMSGERR_ATTR_OFFS.
        out.extend_from_slice(&[7, 0, 1, 0, b'n', b'o', 0, 0, 8, 0, 2, 0]);
        out.extend_from_slice(&20_u32.to_ne_bytes());
        let length = u32::try_from(out.len()).unwrap();
        out[..4].copy_from_slice(&length.to_ne_bytes());
        set_sequence(&mut out, 0, 5);
        out
    }

    #[test]
    fn a_refusal_is_read_with_its_words_whether_the_request_is_capped_or_not() {
        for capped in [true, false] {
            let bytes = refusal(capped);
            let answer = Messages(&bytes).find_map(Answer::of).unwrap();
            assert_eq!((answer.sequence, answer.errno), (5, Some(Errno::EXIST)));
            assert_eq!((answer.message.as_deref(), answer.offset), (Some("no"), Some(20)));
        }
    }

    #[test]
    fn no_lying_refusal_makes_the_reader_panic() {
        for capped in [true, false] {
            let bytes = refusal(capped);
            for at in 0..bytes.len() {
                for value in 0..=u8::MAX {
                    let mut lie = bytes.clone();
                    lie[at] = value;
                    let _ = Messages(&lie).take(100).filter_map(Answer::of).count();
                    let _ = Messages(&lie[..at]).filter_map(Answer::of).count();
                }
            }
        }
    }
}
