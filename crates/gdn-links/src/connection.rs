//! A socket to the routing tables of one network namespace.

use std::os::fd::BorrowedFd;

use netlink_packet_core::{
    DecodeError, ErrorBuffer, NLM_F_ACK, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST,
    NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use crate::batch::{Batch, encode};
use crate::error::io_call;
use crate::namespace::inside;
use crate::{Error, Result};

/// Bytes for one answer: the kernel makes answers to listings as long as the reader's buffer, up to this.
const ANSWER: usize = 32 << 10;
/// Messages in one send. Each can be answered by one error, and all errors must fit into the socket's receive buffer of
/// 208 KiB at some 800 bytes each.
const MESSAGES: usize = 128;
/// Readings of a listing that changes meanwhile, before giving up.
const READINGS: u32 = 16;
/// The kernel's words in an extended acknowledgement (`NLMSGERR_ATTR_MSG`).
const REASON: u16 = 1;
/// The length of a message's header, which an error repeats.
const HEADER: usize = 16;

/// A connection to the routing tables of one network namespace.
///
/// It stays with its namespace wherever the calling thread goes, and keeps the namespace alive, with all links in it, until
/// it is dropped.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

/// What the kernel says about one message.
enum Answer<'a> {
    /// A message of this type with this content.
    Message(u16, &'a [u8]),
    Done,
    Refused(Errno, Option<String>),
}

/// What can be read from a message of the kernel.
pub(crate) trait Readable: Sized {
    /// Reads the content of a message of a type; none when it is about something else.
    fn read(kind: u16, content: &[u8]) -> std::result::Result<Option<Self>, DecodeError>;
}

/// How far to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The acknowledgement of the message with this number.
    Acknowledged(u32),
    /// The first answer.
    First,
    /// The end of a listing.
    End,
}

impl Connection {
    /// Connects to the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Error::Call`] when no socket can be made.
    pub fn open() -> Result<Self> {
        Self::around(Socket::new(NETLINK_ROUTE))
    }

    /// Connects to another network namespace, given as a descriptor of it. Needs `CAP_SYS_ADMIN`.
    ///
    /// The calling thread is in that namespace for a moment.
    ///
    /// # Errors
    /// [`Error::Call`] when the descriptor is not a network namespace's, may not be entered, or no socket can be made.
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Self> {
        Self::around(inside(netns, || Socket::new(NETLINK_ROUTE))?)
    }

    fn around(socket: std::io::Result<Socket>) -> Result<Self> {
        let socket = socket.map_err(io_call("open netlink socket"))?;
        // Errors with a text and without a copy of the request; listings that heed their filter.
        socket.set_ext_ack(true).map_err(io_call("ask for extended acknowledgements"))?;
        socket.set_cap_ack(true).map_err(io_call("ask for short acknowledgements"))?;
        socket.set_netlink_get_strict_chk(true).map_err(io_call("ask for filtered listings"))?;
        Ok(Connection { socket, sequence: 0, answer: Vec::with_capacity(ANSWER) })
    }

    /// Makes all changes of a batch, in their order, with one message to the kernel for every 128 of them.
    ///
    /// The kernel goes on after a failed change, so the others are made nevertheless where they can be.
    ///
    /// # Errors
    /// [`Error::Refused`] for the first change that failed, named with its values; [`Error::Call`] or [`Error::NoAnswer`]
    /// when the kernel could not be asked.
    pub fn commit(&mut self, batch: Batch) -> Result<()> {
        let mut failed = None;
        let Batch { mut bytes, entries } = batch;
        for chunk in entries.chunks(MESSAGES) {
            let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { break };
            let first_sequence = self.next_sequences(chunk.len());
            for (entry, sequence) in chunk.iter().zip(first_sequence..) {
                NetlinkBuffer::new(&mut bytes[entry.start..entry.end]).set_sequence_number(sequence);
            }
            // Failures are always reported; one acknowledgement at the end says that the whole chunk was handled.
            let mut header = NetlinkBuffer::new(&mut bytes[last.start..last.end]);
            header.set_flags(header.flags() | NLM_F_ACK);
            let last_sequence = header.sequence_number();
            self.send(&bytes[first.start..last.end])?;
            self.read(
                first_sequence,
                Until::Acknowledged(last_sequence),
                &|| last.operation.to_string(),
                |at, answer| {
                    let entry = &chunk[(at - first_sequence) as usize];
                    if let Answer::Refused(errno, reason) = answer
                        && failed.is_none()
                        && !entry.tolerated.contains(&errno)
                    {
                        failed =
                            Some(Error::Refused { operation: entry.operation.to_string(), errno, reason });
                    }
                    Ok(())
                },
            )?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Sends one message and returns what the kernel sends back of it before it acknowledges.
    pub(crate) fn perform<T: Readable>(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        operation: &dyn Fn() -> String,
    ) -> Result<Option<T>> {
        let sequence = self.request(message, flags | NLM_F_ACK)?;
        let mut echo = None;
        self.read(sequence, Until::Acknowledged(sequence), operation, |_, answer| match answer {
            Answer::Message(kind, content) => read_into(&mut echo, kind, content, operation),
            Answer::Done => Ok(()),
            Answer::Refused(errno, reason) => Err(Error::Refused { operation: operation(), errno, reason }),
        })?;
        Ok(echo)
    }

    /// Asks for one thing; none when the kernel knows of no such thing.
    pub(crate) fn ask<T: Readable>(
        &mut self,
        message: RouteNetlinkMessage,
        operation: &dyn Fn() -> String,
    ) -> Result<Option<T>> {
        let sequence = self.request(message, 0)?;
        let mut found = None;
        self.read(sequence, Until::First, operation, |_, answer| match answer {
            Answer::Message(kind, content) => read_into(&mut found, kind, content, operation),
            Answer::Done | Answer::Refused(Errno::NODEV, _) => Ok(()),
            Answer::Refused(errno, reason) => Err(Error::Refused { operation: operation(), errno, reason }),
        })?;
        Ok(found)
    }

    /// Asks for a list, and keeps what is wanted of it. Nothing else of it is held in memory.
    pub(crate) fn list<T: Readable>(
        &mut self,
        message: &RouteNetlinkMessage,
        limit: usize,
        operation: &dyn Fn() -> String,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>> {
        for _ in 0..READINGS {
            let sequence = self.request(message.clone(), NLM_F_DUMP)?;
            let mut wanted = Vec::new();
            let mut is_beyond = false;
            let is_steady = self.read(sequence, Until::End, operation, |_, answer| match answer {
                Answer::Message(kind, content) => {
                    let mut entry = None;
                    read_into(&mut entry, kind, content, operation)?;
                    if let Some(entry) = entry.filter(&is_wanted) {
                        is_beyond |= wanted.len() == limit;
                        if !is_beyond {
                            wanted.push(entry);
                        }
                    }
                    Ok(())
                }
                // A table nothing was ever put into is not there.
                Answer::Done | Answer::Refused(Errno::NOENT, _) => Ok(()),
                Answer::Refused(errno, reason) => {
                    Err(Error::Refused { operation: operation(), errno, reason })
                }
            })?;
            if is_beyond {
                return Err(Error::TooMany { operation: operation(), limit });
            }
            if is_steady {
                return Ok(wanted);
            }
        }
        Err(Error::Unsteady { operation: operation(), tries: READINGS })
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<u32> {
        let sequence = self.next_sequences(1);
        let mut bytes = Vec::new();
        encode(&mut bytes, message, NLM_F_REQUEST | flags);
        NetlinkBuffer::new(&mut bytes[..]).set_sequence_number(sequence);
        self.send(&bytes)?;
        Ok(sequence)
    }

    /// Numbers that no message of the last requests had.
    fn next_sequences(&mut self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        // Zero is the number of what the kernel sends unasked.
        let first =
            self.sequence.checked_add(1).filter(|first| first.checked_add(count).is_some()).unwrap_or(1);
        self.sequence = first + count - 1;
        first
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        self.socket.send(bytes, 0).map(drop).map_err(io_call("send to the kernel"))
    }

    /// Reads answers to messages numbered from `first` on. Returns whether the list, if it is one, was steady.
    fn read(
        &mut self,
        first: u32,
        until: Until,
        operation: &dyn Fn() -> String,
        mut each: impl FnMut(u32, Answer<'_>) -> Result<()>,
    ) -> Result<bool> {
        let unreadable = |error: &dyn ToString| unreadable(operation, error);
        let last = if let Until::Acknowledged(last) = until { last } else { first };
        let mut is_steady = true;
        loop {
            let length = self.receive(operation)?;
            let mut rest = self.answer.get(..length).ok_or_else(|| unreadable(&"longer than expected"))?;
            while rest.len() >= HEADER {
                let message = NetlinkBuffer::new_checked(rest).map_err(|error| unreadable(&error))?;
                let end = (message.length() as usize).next_multiple_of(4).min(rest.len());
                rest = &rest[end..];
                let number = message.sequence_number();
                if !(first..=last).contains(&number) {
                    continue;
                }
                is_steady &= message.flags() & NLM_F_DUMP_INTR == 0;
                let answer = answer(&message).map_err(|error| unreadable(&error))?;
                let is_end = match (&answer, until) {
                    (Answer::Message(..), Until::First)
                    | (Answer::Done | Answer::Refused(..), Until::First | Until::End) => true,
                    (Answer::Done | Answer::Refused(..), Until::Acknowledged(_)) => number == last,
                    (Answer::Message(..), _) => false,
                };
                each(number, answer)?;
                if is_end {
                    return Ok(is_steady);
                }
            }
        }
    }

    /// One datagram. The kernel queues its answers before a send to it returns, so there is nothing to wait for.
    fn receive(&mut self, operation: &dyn Fn() -> String) -> Result<usize> {
        loop {
            self.answer.clear();
            match self.socket.recv(&mut self.answer, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Err(Error::NoAnswer { operation: operation() });
                }
                Err(error) => return Err(io_call("receive from the kernel")(error)),
            }
        }
    }
}

fn read_into<T: Readable>(
    place: &mut Option<T>,
    kind: u16,
    content: &[u8],
    operation: &dyn Fn() -> String,
) -> Result<()> {
    if let Some(read) = T::read(kind, content).map_err(|error| unreadable(operation, &error))? {
        *place = Some(read);
    }
    Ok(())
}

fn unreadable(operation: &dyn Fn() -> String, error: &dyn ToString) -> Error {
    Error::Unreadable { operation: operation(), reason: error.to_string() }
}

fn answer<'a>(message: &NetlinkBuffer<&'a [u8]>) -> std::result::Result<Answer<'a>, DecodeError> {
    let payload = message.payload();
    match message.message_type() {
        NLMSG_DONE => {
            // A listing that breaks off says why in place of its end.
            let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
            Ok(if code < 0 { Answer::Refused(Errno::from_raw_os_error(-code), None) } else { Answer::Done })
        }
        NLMSG_ERROR => {
            let error = ErrorBuffer::new_checked(payload)?;
            let Some(code) = error.code() else { return Ok(Answer::Done) };
            // Without the kernel's shortening, the whole request would stand before the attributes.
            let attributes = error.payload().get(HEADER..).filter(|_| message.flags() & NLM_F_CAPPED != 0);
            let reason = attributes.and_then(|attributes| {
                let reason =
                    NlasIterator::new(attributes).flatten().find(|attribute| attribute.kind() == REASON)?;
                Some(String::from_utf8_lossy(reason.value()).trim_end_matches('\0').to_owned())
            });
            Ok(Answer::Refused(Errno::from_raw_os_error(code.get().abs()), reason))
        }
        kind => Ok(Answer::Message(kind, payload)),
    }
}
