//! A table as it was read.

use std::collections::BTreeSet;

use crate::layout::{DROP, EXTENSION_HEAD, FORWARD, Family, HOOKS, Layout, number16, number32};
use crate::socket::Info;
use crate::{Error, Result};

/// The filter table as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub(crate) family: Family,
    pub(crate) info: Info,
    pub(crate) entries: Vec<Entry>,
}

/// One entry of a table: a rule, a policy, or the head of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it begins, in bytes of all entries.
    pub(crate) at: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Snapshot {
    /// Reads entries.
    ///
    /// # Errors
    /// [`Error::Malformed`] when they are not what the kernel documents.
    pub(crate) fn parse(family: Family, info: Info, bytes: &[u8]) -> Result<Self> {
        let layout = family.layout();
        let mut entries = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let fault = |fault| Error::Malformed { family, at, fault };
            let rest = bytes.get(at..).unwrap_or(&[]);
            let length = entry_length(layout, rest).ok_or_else(|| fault("no entry"))?;
            let whole = rest.get(..length).ok_or_else(|| fault("an entry beyond the end"))?;
            let place = u32::try_from(at).map_err(|_| fault("too many entries"))?;
            entries.push(Entry { at: place, bytes: whole.to_vec() });
            at += length;
        }
        let starts: BTreeSet<u32> = entries.iter().map(|entry| entry.at).collect();
        let fault = |fault| Error::Malformed { family, at: bytes.len(), fault };
        if usize::try_from(info.count).ok() != Some(entries.len()) {
            return Err(fault("another number of entries than was told"));
        }
        for hook in (0..HOOKS).filter(|hook| info.valid_hooks & 1 << hook != 0) {
            let (first, last) = (info.hook_entry[hook], info.underflow[hook]);
            if first > last || !starts.contains(&first) || !starts.contains(&last) {
                return Err(fault("a chain that begins or ends at no entry"));
            }
        }
        if info.valid_hooks & 1 << FORWARD == 0 {
            return Err(fault("no chain FORWARD"));
        }
        Ok(Snapshot { family, info, entries })
    }

    /// Whether FORWARD drops what none of its rules decides about.
    pub fn forward_drops(&self) -> bool {
        let policy = self.entries.iter().find(|entry| entry.at == self.info.underflow[FORWARD]);
        policy.and_then(|entry| entry.verdict(self.family)) == Some(DROP)
    }

    /// How many rules of FORWARD have a comment: one after the other at its head, and in all.
    pub fn forward_marked(&self, comment: &str) -> (usize, usize) {
        let marked = || self.forward().map(|entry| entry.comment(self.family) == Some(comment.as_bytes()));
        (marked().take_while(|is_marked| *is_marked).count(), marked().filter(|is_marked| *is_marked).count())
    }

    /// The rules of FORWARD, without its policy.
    pub(crate) fn forward(&self) -> impl Iterator<Item = &Entry> {
        let chain = self.info.hook_entry[FORWARD]..self.info.underflow[FORWARD];
        self.entries.iter().filter(move |entry| chain.contains(&entry.at))
    }
}

impl Entry {
    /// Where its target begins.
    fn target(&self, family: Family) -> Option<usize> {
        number16(&self.bytes, family.layout().target_offset).map(usize::from)
    }

    /// Where in it the verdict of a standard target is.
    pub(crate) fn verdict_at(&self, family: Family) -> Option<usize> {
        let target = self.target(family)?;
        let is_standard = self.bytes.get(target + 2) == Some(&0);
        let at = target + EXTENSION_HEAD;
        (is_standard && number32(&self.bytes, at).is_some()).then_some(at)
    }

    /// The verdict of a standard target: below 0 what becomes of the packet, else where it goes on.
    pub(crate) fn verdict(&self, family: Family) -> Option<i32> {
        number32(&self.bytes, self.verdict_at(family)?).map(u32::cast_signed)
    }

    /// The text of its first match of comments.
    pub(crate) fn comment(&self, family: Family) -> Option<&[u8]> {
        let (mut at, end) = (family.layout().head, self.target(family)?);
        while at < end {
            let length = usize::from(number16(&self.bytes, at)?);
            let one = self.bytes.get(at..at + length).filter(|one| one.len() >= EXTENSION_HEAD)?;
            if text(one.get(2..EXTENSION_HEAD - 1)?) == b"comment" {
                return one.get(EXTENSION_HEAD..).map(text);
            }
            at += length;
        }
        None
    }
}

/// The length of the entry that bytes begin with, if its parts are within it.
fn entry_length(layout: Layout, bytes: &[u8]) -> Option<usize> {
    let target = usize::from(number16(bytes, layout.target_offset)?);
    let next = usize::from(number16(bytes, layout.target_offset + 2)?);
    let fine = target >= layout.head && next >= target + EXTENSION_HEAD && next.is_multiple_of(8);
    fine.then_some(next)
}

/// Bytes up to the first that is 0.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}
