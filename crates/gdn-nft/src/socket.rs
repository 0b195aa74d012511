//! Committing batches.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::io::Errno;

use crate::attribute::{Header, Messages, add_flags, message, set_sequence};
use crate::batch::{REQUEST, SUBSYSTEM};
use crate::channel::{ACKNOWLEDGE, Answer, Channel, DONT_WAIT, PATIENCE, late};
use crate::{Batch, Error, Family, Result, Table};

/// `NFNL_MSG_BATCH_BEGIN`.
const BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`.
const END: u16 = 17;
/// `NFNL_BATCH_GENID`.
const GENERATION: u16 = 1;

/// What this kernel's nftables can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Tables of the family `inet` (Linux 3.14, and a module).
    pub inet: bool,
    /// [Owned](Table::owned) tables (Linux 5.12).
    pub owner: bool,
    /// [Persistent](Table::persistent) tables (Linux 6.9).
    pub persist: bool,
}

/// A socket to the nftables of the network namespace in which it was opened.
///
/// Owned tables belong to it: they go, or persist without owner, when it is dropped. It stays usable after an error.
#[derive(Debug)]
pub struct Socket {
    pub(crate) channel: Channel,
}

impl Socket {
    /// Opens a socket.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the kernel has no netfilter, [`Error::System`] for what socket(7) tells.
    pub fn open() -> Result<Socket> {
        Ok(Socket { channel: Channel::open()? })
    }

    /// Its netlink port: the owner of its tables, and the origin of its changes among [events](crate::Event).
    pub fn port(&self) -> u32 {
        self.channel.port()
    }

    /// Does all operations of a batch, or none.
    ///
    /// It is one message to the kernel, which is done when the call returns. Another transaction that runs is waited
    /// for, by the kernel and without bound.
    ///
    /// # Errors
    /// The fault of an operation that could not be written; [`Error::Unsupported`] and [`Error::Refused`] with the name
    /// of the first operation that the kernel did not take. `EPERM` means that the table is owned by another socket, or
    /// that `CAP_NET_ADMIN` is missing. After any of these nothing is changed. After errors that
    /// [leave in doubt](Error::leaves_in_doubt) it is not known whether the batch was done.
    pub fn commit(&mut self, batch: &Batch) -> Result<()> {
        match self.exchange(batch)?.into_iter().next() {
            None => Ok(()),
            Some(refusal) => {
                let operation = refusal.operation.and_then(|at| batch.operations.get(at));
                let name = operation.map(|operation| operation.describe(refusal.offset));
                let name = name.as_deref().unwrap_or("commit batch");
                Err(Error::answer(name, refusal.errno, refusal.message))
            }
        }
    }

    /// What this kernel can. Nothing is changed by asking: the batch that asks is refused in any case.
    ///
    /// # Errors
    /// As for [`commit`](Socket::commit); `EPERM` without `CAP_NET_ADMIN`.
    pub fn features(&mut self) -> Result<Features> {
        const NAME: &str = "gdn-nft-probe";
        let table = Table::new(Family::Inet, NAME);
        let mut batch = Batch::new();
        batch.add_table(&table);
        let owned = Table::new(Family::Inet, &format!("{NAME}-owned")).owned();
        batch.add_table(&owned);
        batch.add_table(&Table::new(Family::Inet, &format!("{NAME}-kept")).owned().persistent());
        batch.delete_chain(&table, "there-is-no-such-chain");
        let refusals = self.exchange(&batch)?;
        if let Some(refusal) = refusals.iter().find(|one| one.operation.is_none())
            && refusal.errno != Errno::OPNOTSUPP
        {
            return Err(Error::answer("ask what nftables can", refusal.errno, refusal.message.clone()));
        }
        let taken = |at| refusals.iter().all(|one| one.operation.is_some_and(|refused| refused != at));
        Ok(Features { inet: taken(0), owner: taken(1), persist: taken(2) })
    }

    /// Sends a batch and gives what was refused; nothing refused means that it is done.
    fn exchange(&mut self, batch: &Batch) -> Result<Vec<Refusal>> {
        batch.check()?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let count = batch.operations.len();
        let first = self.channel.sequences(count + 2);
        let bytes = assemble(batch, first);
        self.channel.send(&bytes)?;
        self.answers(first, count)
    }

    /// Reads answers up to the last operation's, or up to one for the batch as a whole.
    ///
    /// Only the last operation asks for an acknowledgement: however long the batch is, the answers are few. Operations
    /// that fail are answered in their order. The batch as a whole is answered for by its first message, before all
    /// operations.
    fn answers(&mut self, first: u32, count: usize) -> Result<Vec<Refusal>> {
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut wait = 0;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let datagram = match self.channel.receive(wait) {
                // Answers were dropped, so there were many, so operations failed: the first of them are there still.
                Err(Error::EventsLost) => {
                    wait = DONT_WAIT;
                    continue;
                }
                other => other?,
            };
            let Some(datagram) = datagram else { break };
            for answer in Messages(datagram).filter_map(Answer::of) {
                // What is left of an earlier batch has other numbers.
                let Some(at) = answer.sequence.checked_sub(first).and_then(|at| usize::try_from(at).ok())
                else {
                    continue;
                };
                if at > count {
                    continue;
                }
                if let Some(errno) = answer.errno {
                    let operation = at.checked_sub(1);
                    refusals.push(Refusal {
                        operation,
                        errno,
                        message: answer.message,
                        offset: answer.offset,
                    });
                }
                if at == 0 && answer.errno.is_some() || at == count {
                    return Ok(refusals);
                }
            }
        }
        match (wait, refusals.is_empty()) {
            (DONT_WAIT, true) => Err(Error::EventsLost),
            (DONT_WAIT, false) => Ok(refusals),
            _ => Err(late("commit batch")),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// What was not taken.
#[derive(Debug)]
struct Refusal {
    /// The operation; `None` for the batch as a whole.
    operation: Option<usize>,
    errno: Errno,
    message: Option<String>,
    /// Where in the operation's message the fault is, in bytes.
    offset: Option<usize>,
}

/// The whole datagram: begin, operations numbered from `first + 1`, end.
fn assemble(batch: &Batch, first: u32) -> Vec<u8> {
    let header = |kind| Header { kind, flags: REQUEST, family: 0, resource: u16::from(SUBSYSTEM) };
    let mut bytes = Vec::with_capacity(batch.bytes.len() + 64);
    message(&mut bytes, header(BEGIN), |body| {
        if let Some(generation) = batch.generation {
            body.number32(GENERATION, generation);
        }
    });
    set_sequence(&mut bytes, 0, first);
    let start = bytes.len();
    bytes.extend_from_slice(&batch.bytes);
    let mut sequence = first;
    for operation in &batch.operations {
        sequence = sequence.wrapping_add(1);
        set_sequence(&mut bytes, start + operation.at, sequence);
    }
    if let Some(last) = batch.operations.last() {
        add_flags(&mut bytes, start + last.at, ACKNOWLEDGE);
    }
    let end = bytes.len();
    message(&mut bytes, header(END), |_| {});
    set_sequence(&mut bytes, end, sequence.wrapping_add(1));
    bytes
}
