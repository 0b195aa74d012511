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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{COMMENT, EXTENSION_HEAD};
    use crate::{Family, Rule};

    /// A table with one rule in FORWARD (2), which leads to the policy of OUTPUT (3), and nothing before it.
    fn table(family: Family) -> (Info, Vec<u8>) {
        let mut bytes: Vec<u8> = Vec::new();
        let mut starts = Vec::new();
        for comment in ["input", "a rule", "forward", "output"] {
            starts.push(u32::try_from(bytes.len()).unwrap());
            bytes.extend(Rule::accept_from("eth", comment).encode(family).unwrap());
        }
        let verdict = family.layout().head + EXTENSION_HEAD + COMMENT + EXTENSION_HEAD;
        put(&mut bytes, usize::try_from(starts[1]).unwrap() + verdict, &starts[3].to_ne_bytes());
        let info = Info {
            valid_hooks: 0b1110,
            hook_entry: [0, starts[0], starts[1], starts[3], 0],
            underflow: [0, starts[0], starts[2], starts[3], 0],
            count: 4,
            size: u32::try_from(bytes.len()).unwrap(),
        };
        (info, bytes)
    }

    #[test]
    fn what_is_put_in_and_taken_out_again_leaves_the_table_as_it_was() {
        for family in [Family::Ip, Family::Ip6] {
            let (info, bytes) = table(family);
            let before = Snapshot::parse(family, info.clone(), &bytes).unwrap();
            let rule = Rule::accept_to("gab", "ours").encode(family).unwrap();
            let edit = before.edit("ours", &[rule.clone(), rule.clone()]).unwrap();
            assert_eq!(edit.info.hook_entry[FORWARD], info.hook_entry[FORWARD]);
            let moved = u32::try_from(2 * rule.len()).unwrap();
            assert_eq!(edit.info.underflow[FORWARD], info.underflow[FORWARD] + moved);
            let with = Snapshot::parse(family, edit.info.clone(), &edit.bytes).unwrap();
            assert_eq!(with.forward_marked("ours"), (2, 2));
            assert_eq!(
                with.entries[3].verdict(family),
                Some(i32::try_from(edit.info.hook_entry[3]).unwrap())
            );
            let counters: Vec<u8> = (0..4).flat_map(|number| [number; COUNTER]).collect();
            let given = edit.counters(&counters);
            let firsts: Vec<u8> = given.iter().step_by(COUNTER).copied().collect();
            assert_eq!(firsts, [0, 0, 0, 1, 2, 3]);
            let back = with.edit("ours", &[]).unwrap();
            assert_eq!((back.info, back.bytes), (info, bytes));
        }
    }

    #[test]
    fn no_lying_table_makes_the_reader_panic() {
        for family in [Family::Ip, Family::Ip6] {
            let (info, bytes) = table(family);
            let rule = Rule::accept_to("gab", "ours").encode(family).unwrap();
            let look = |info: &Info, bytes: &[u8]| {
                let Ok(table) = Snapshot::parse(family, info.clone(), bytes) else { return };
                let _ = (table.forward_drops(), table.forward_marked("a rule"));
                let _ = table.edit("a rule", std::slice::from_ref(&rule));
            };
            for at in 0..bytes.len() {
                for value in [0, 1, 8, 0x70, 0xff] {
                    let mut lie = bytes.clone();
                    lie[at] = value;
                    look(&info, &lie);
                }
                look(&info, &bytes[..at]);
            }
            for place in [0, 1, 8, info.size, u32::MAX] {
                let mut lie = info.clone();
                (lie.hook_entry[FORWARD], lie.count) = (place, place);
                look(&lie, &bytes);
                lie.count = info.count;
                look(&lie, &bytes);
            }
        }
    }
}
