//! Watching what anybody changes.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use crate::attribute::{Message, Messages};
use crate::batch::SUBSYSTEM;
use crate::channel::{Channel, DONT_WAIT, system};
use crate::{Error, Family, Result};

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;

/// What happened to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was added or changed.
    New,
    /// It was deleted.
    Deleted,
}

/// What a change was of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// A table.
    Table,
    /// A chain.
    Chain,
    /// A rule.
    Rule,
    /// A set or map.
    Set,
    /// Elements of a set or map.
    Elements,
    /// The ruleset: comes at the end of each transaction.
    Generation,
    /// A counter, quota or other object, or a flow table.
    Other,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// To what.
    pub subject: Subject,
    /// The family of the table in which it is; `None` for a generation.
    pub family: Option<Family>,
    /// The table in which it is; `None` for a generation.
    pub table: Option<String>,
    /// The name of the chain (also a rule's) or of the set (also of elements).
    pub name: Option<String>,
    /// A rule's handle.
    pub handle: Option<u64>,
    /// The [port](crate::Socket::port) of the socket whose commit it was; 0 where the kernel does not say.
    pub port: u32,
}

/// A socket that hears of every change to the nftables of its network namespace.
///
/// Its descriptor is readable when [`next`](Watch::next) has something to say.
#[derive(Debug)]
pub struct Watch {
    channel: Channel,
    queue: VecDeque<Event>,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// As for [`Socket::open`](crate::Socket::open); `EPERM` without `CAP_NET_ADMIN`.
    pub fn open() -> Result<Watch> {
        let channel = Channel::open()?;
        channel.socket().add_membership(GROUP).map_err(|error| system("subscribe with", &error))?;
        Ok(Watch { channel, queue: VecDeque::new() })
    }

    /// The next change, or `None` if there is none yet; does not wait.
    ///
    /// # Errors
    /// [`Error::EventsLost`] when more happened than was read in time: the caller has to look for itself what is there
    /// now. The events after that come as usual.
    #[allow(clippy::should_implement_trait, reason = "the end of what is there now is not the end of events")]
    pub fn next(&mut self) -> Result<Option<Event>> {
        while self.queue.is_empty() {
            let datagram = match self.channel.receive(DONT_WAIT) {
                // What was queued before some were lost is old news: it is read by the caller's own look.
                Err(Error::EventsLost) => {
                    self.drop_queued()?;
                    return Err(Error::EventsLost);
                }
                other => other?,
            };
            let Some(datagram) = datagram else { return Ok(None) };
            self.queue.extend(Messages(datagram).filter_map(event));
        }
        Ok(self.queue.pop_front())
    }

    fn drop_queued(&mut self) -> Result<()> {
        loop {
            match self.channel.receive(DONT_WAIT) {
                Ok(None) => return Ok(()),
                Ok(Some(_)) | Err(Error::EventsLost) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

fn event(message: Message<'_>) -> Option<Event> {
    let [subsystem, number] = message.kind.to_be_bytes();
    if subsystem != SUBSYSTEM {
        return None;
    }
    // The numbers of `enum nf_tables_msg_types`, and the attribute that is the name.
    let (change, subject, name) = match number {
        0 => (Change::New, Subject::Table, None),
        2 => (Change::Deleted, Subject::Table, None),
        3 => (Change::New, Subject::Chain, Some(3)),
        5 => (Change::Deleted, Subject::Chain, Some(3)),
        6 => (Change::New, Subject::Rule, Some(2)),
        8 => (Change::Deleted, Subject::Rule, Some(2)),
        9 => (Change::New, Subject::Set, Some(2)),
        11 => (Change::Deleted, Subject::Set, Some(2)),
        12 => (Change::New, Subject::Elements, Some(2)),
        14 => (Change::Deleted, Subject::Elements, Some(2)),
        15 => (Change::New, Subject::Generation, None),
        18 | 22 => (Change::New, Subject::Other, Some(2)),
        20 | 24 => (Change::Deleted, Subject::Other, Some(2)),
        _ => return None,
    };
    let attributes = message.attributes();
    let in_table = subject != Subject::Generation;
    Some(Event {
        change,
        subject,
        family: if in_table { Family::of_number(message.family()) } else { None },
        table: if in_table { attributes.string(1) } else { None },
        name: name.and_then(|name| attributes.string(name)),
        handle: if subject == Subject::Rule { attributes.number64(3) } else { None },
        port: message.port,
    })
}
