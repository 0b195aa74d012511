//! What a table is to become: rules taken out and put in, and every place in it that moved.

use std::collections::BTreeMap;

use crate::layout::{COUNTER, FORWARD, HOOKS, put};
use crate::snapshot::{Entry, Snapshot};
use crate::socket::Info;
use crate::{Error, Result};

/// Entries to put in the place of those of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) info: Info,
    pub(crate) bytes: Vec<u8>,
    /// For each entry the number that it had, if it was there.
    sources: Vec<Option<usize>>,
}

impl Snapshot {
    /// Takes the rules with a comment out of FORWARD and puts others at its head.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a rule leads to where no entry begins.
    pub(crate) fn edit(&self, comment: &str, new: &[Vec<u8>]) -> Result<Edit> {
        let head = self.info.hook_entry[FORWARD];
        let taken: Vec<u32> = self
            .forward()
            .filter(|entry| entry.comment(self.family) == Some(comment.as_bytes()))
            .map(|entry| entry.at)
            .collect();
        let mut bytes: Vec<u8> = Vec::new();
        let mut sources = Vec::new();
        let mut first_new = None;
        // Where each entry goes. One that is taken out leads to the one behind it: the last of a chain is its policy, which
        // stays.
        let mut places = BTreeMap::new();
        let mut starts = Vec::new();
        let here =
            |bytes: &Vec<u8>| u32::try_from(bytes.len()).map_err(|_| self.fault(0, "too many entries"));
        for (number, entry) in self.entries.iter().enumerate() {
            if entry.at == head {
                first_new = Some(here(&bytes)?);
                for rule in new {
                    bytes.extend_from_slice(rule);
                    sources.push(None);
                }
            }
            places.insert(entry.at, here(&bytes)?);
            if taken.contains(&entry.at) {
                continue;
            }
            starts.push((bytes.len(), entry));
            bytes.extend_from_slice(&entry.bytes);
            sources.push(Some(number));
        }
        let moved = |at: u32| places.get(&at).copied().ok_or_else(|| self.fault(at, "no entry begins there"));
        for (start, entry) in starts {
            self.mend(&mut bytes, start, entry, &moved)?;
        }
        let mut info = Info {
            count: u32::try_from(sources.len()).map_err(|_| self.fault(0, "too many entries"))?,
            size: here(&bytes)?,
            ..self.info.clone()
        };
        for hook in (0..HOOKS).filter(|hook| info.valid_hooks & 1 << hook != 0) {
            info.hook_entry[hook] = moved(self.info.hook_entry[hook])?;
            info.underflow[hook] = moved(self.info.underflow[hook])?;
        }
        if let (Some(first), false) = (first_new, new.is_empty()) {
            info.hook_entry[FORWARD] = first;
        }
        Ok(Edit { info, bytes, sources })
    }

    /// A jump, or a rule that goes on with the next, names a place.
    fn mend(
        &self,
        bytes: &mut [u8],
        start: usize,
        entry: &Entry,
        moved: &impl Fn(u32) -> Result<u32>,
    ) -> Result<()> {
        let verdict = entry.verdict(self.family).and_then(|verdict| u32::try_from(verdict).ok());
        if let (Some(to), Some(at)) = (verdict, entry.verdict_at(self.family)) {
            put(bytes, start + at, &moved(to)?.to_ne_bytes());
        }
        Ok(())
    }

    fn fault(&self, at: u32, fault: &'static str) -> Error {
        Error::Malformed { family: self.family, at: usize::try_from(at).unwrap_or(usize::MAX), fault }
    }
}

impl Edit {
    /// The counters of its entries, given those of the entries before.
    pub(crate) fn counters(&self, before: &[u8]) -> Vec<u8> {
        let one = |source: &Option<usize>| match source {
            Some(number) => {
                before.get(number * COUNTER..(number + 1) * COUNTER).unwrap_or(&[0; COUNTER]).to_vec()
            }
            None => vec![0; COUNTER],
        };
        self.sources.iter().flat_map(one).collect()
    }
}
