//! Batches: transactions of typed operations.

use crate::attribute::{Header, Writer, message};
use crate::name::check_name;
use crate::set::{Data, length, type_number};
use crate::{Chain, Element, Error, Result, Rule, Set, Table, userdata};

mod number {
    //! `enum nf_tables_msg_types`.
    pub(super) const NEW_TABLE: u8 = 0;
    pub(super) const DELETE_TABLE: u8 = 2;
    pub(super) const NEW_CHAIN: u8 = 3;
    pub(super) const DELETE_CHAIN: u8 = 5;
    pub(super) const NEW_RULE: u8 = 6;
    pub(super) const DELETE_RULE: u8 = 8;
    pub(super) const NEW_SET: u8 = 9;
    pub(super) const DELETE_SET: u8 = 11;
    pub(super) const NEW_ELEMENT: u8 = 12;
    pub(super) const DELETE_ELEMENT: u8 = 14;
}

/// `NFNL_SUBSYS_NFTABLES`.
pub(crate) const SUBSYSTEM: u8 = 10;
/// `NLM_F_REQUEST`.
pub(crate) const REQUEST: u16 = 1;
/// `NLM_F_EXCL`: it must not be there yet.
const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`.
const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
const APPEND: u16 = 0x800;
/// Bytes after which a list of elements goes on in another message: an attribute has less than 64 KiB.
const ELEMENTS_BYTES: usize = 48 * 1024;

/// The type of a message of nftables.
pub(crate) fn message_type(number: u8) -> u16 {
    u16::from_be_bytes([SUBSYSTEM, number])
}

/// Operations that are done all together or not at all.
///
/// Operations are done in their order, and see what those before them did. Nothing is checked against the kernel before
/// the batch is committed; the first operation that could not be written (a name that cannot be, an element that does
/// not fit) is the error of the commit, and nothing is sent then.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) generation: Option<u32>,
    fault: Option<Error>,
    sets: u32,
}

/// One message of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    /// In words, for errors.
    pub(crate) name: String,
    /// Where its message starts in the bytes.
    pub(crate) at: usize,
    /// The elements it adds or deletes.
    elements: Option<Elements>,
}

/// Some of the elements of one call.
#[derive(Clone, Debug)]
struct Elements {
    /// Where each starts in the message.
    starts: Vec<usize>,
    /// How many went before, in other messages.
    before: usize,
    /// How many are in all.
    all: usize,
}

impl Operation {
    /// What was being done where the kernel found a fault, if it says where in the message that is.
    pub(crate) fn describe(&self, offset: Option<usize>) -> String {
        match &self.elements {
            Some(Elements { starts, before, all }) if *all > 1 => {
                let fault = offset.map(|offset| starts.partition_point(|start| *start <= offset));
                match fault {
                    Some(nth) if nth > 0 => format!("{} (number {} of {all})", self.name, before + nth),
                    _ => {
                        format!("{} (among {} to {} of {all})", self.name, before + 1, before + starts.len())
                    }
                }
            }
            _ => self.name.clone(),
        }
    }
}

/// What to write: in words, the name of what is in the table, the message's number and flags.
#[derive(Clone, Copy, Debug)]
struct Task<'a>(&'a str, Option<&'a str>, u8, u16);

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Commit only if the ruleset's generation is still this one; else the error is `ERESTART`.
    pub fn only_in_generation(&mut self, generation: u32) -> &mut Batch {
        self.generation = Some(generation);
        self
    }

    /// Whether there is no operation in it.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The first operation's fault that could not be written.
    pub(crate) fn check(&self) -> Result<()> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// Adds a table, or takes ownership of a persistent one whose owner is gone. One that is there already is left;
    /// its flags cannot be changed.
    pub fn add_table(&mut self, table: &Table) -> &mut Batch {
        self.push(table, Ok(()), Task("add table", None, number::NEW_TABLE, CREATE), |body| {
            body.string(1, &table.name);
            body.number32(2, table.flags);
            if let Some(comment) = &table.comment {
                let mut data = Vec::new();
                userdata::put_text(&mut data, userdata::COMMENT, comment);
                body.bytes(6, &data);
            }
        })
    }

    /// Deletes a table with all that is in it.
    pub fn delete_table(&mut self, table: &Table) -> &mut Batch {
        self.push(table, Ok(()), Task("delete table", None, number::DELETE_TABLE, 0), |body| {
            body.string(1, &table.name);
        })
    }

    /// Deletes all rules of all chains of a table.
    pub fn flush_table(&mut self, table: &Table) -> &mut Batch {
        self.push(table, Ok(()), Task("flush table", None, number::DELETE_RULE, 0), |body| {
            body.string(1, &table.name);
        })
    }

    /// Adds a chain. One that is there already is left, but for its policy.
    pub fn add_chain(&mut self, table: &Table, chain: &Chain) -> &mut Batch {
        let fine = check_name("chain", &chain.name);
        self.push(table, fine, Task("add chain", Some(&chain.name), number::NEW_CHAIN, CREATE), |body| {
            body.string(1, &table.name);
            body.string(3, &chain.name);
            if let Some(base) = &chain.base {
                body.nest(4, |hook| {
                    hook.number32(1, base.hook.number());
                    hook.number32(2, base.priority.cast_unsigned());
                });
                body.number32(5, base.policy.number());
                body.string(7, base.kind.name());
            }
        })
    }

    /// Deletes a chain with its rules. It must not be jumped to any more.
    pub fn delete_chain(&mut self, table: &Table, chain: &str) -> &mut Batch {
        let fine = check_name("chain", chain);
        self.push(table, fine, Task("delete chain", Some(chain), number::DELETE_CHAIN, 0), |body| {
            body.string(1, &table.name);
            body.string(3, chain);
        })
    }

    /// Deletes all rules of a chain.
    pub fn flush_chain(&mut self, table: &Table, chain: &str) -> &mut Batch {
        let fine = check_name("chain", chain);
        self.push(table, fine, Task("flush chain", Some(chain), number::DELETE_RULE, 0), |body| {
            body.string(1, &table.name);
            body.string(2, chain);
        })
    }

    /// Adds a rule at the end of its chain.
    pub fn add_rule(&mut self, table: &Table, rule: &Rule) -> &mut Batch {
        self.rule(table, rule, "add rule to", APPEND)
    }

    /// Adds a rule at the head of its chain.
    pub fn insert_rule(&mut self, table: &Table, rule: &Rule) -> &mut Batch {
        self.rule(table, rule, "insert rule into", 0)
    }

    fn rule(&mut self, table: &Table, rule: &Rule, what: &str, flags: u16) -> &mut Batch {
        self.push(
            table,
            rule.check(),
            Task(what, Some(&rule.chain), number::NEW_RULE, CREATE | flags),
            |body| {
                body.string(1, &table.name);
                body.string(2, &rule.chain);
                rule.write(body);
            },
        )
    }

    /// Deletes the rule with this handle.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) -> &mut Batch {
        let fine = check_name("chain", chain);
        self.push(table, fine, Task("delete rule of", Some(chain), number::DELETE_RULE, 0), |body| {
            body.string(1, &table.name);
            body.string(2, chain);
            body.number64(3, handle);
        })
    }

    /// Adds a set or map. One of the same kind that is there already is left.
    pub fn add_set(&mut self, table: &Table, set: &Set) -> &mut Batch {
        self.sets += 1;
        let id = self.sets;
        self.push(table, set.check(), Task("add set", Some(&set.name), number::NEW_SET, CREATE), |body| {
            body.string(1, &table.name);
            body.string(2, &set.name);
            write_set(body, set, id);
        })
    }

    /// Deletes a set or map. It must not be used by rules any more.
    pub fn delete_set(&mut self, table: &Table, set: &str) -> &mut Batch {
        let fine = check_name("set", set);
        self.push(table, fine, Task("delete set", Some(set), number::DELETE_SET, 0), |body| {
            body.string(1, &table.name);
            body.string(2, set);
        })
    }

    /// Deletes all elements of a set or map. Of one with intervals of several fields this is slow: see the crate's
    /// limitations.
    pub fn flush_set(&mut self, table: &Table, set: &str) -> &mut Batch {
        let fine = check_name("set", set);
        self.push(table, fine, Task("flush set", Some(set), number::DELETE_ELEMENT, 0), |body| {
            body.string(1, &table.name);
            body.string(2, set);
        })
    }

    /// Adds elements to a set or map. Those that are there already are left; with other data they are an error.
    pub fn add_elements(&mut self, table: &Table, set: &Set, elements: &[Element]) -> &mut Batch {
        self.elements(table, set, elements, "add element to", number::NEW_ELEMENT, CREATE)
    }

    /// Adds elements to a set or map; one that is there already is an error (`EEXIST`).
    pub fn add_new_elements(&mut self, table: &Table, set: &Set, elements: &[Element]) -> &mut Batch {
        self.elements(table, set, elements, "add element to", number::NEW_ELEMENT, CREATE | EXCLUSIVE)
    }

    /// Deletes elements of a set or map; one that is not there is an error (`ENOENT`). Data need not be given.
    pub fn delete_elements(&mut self, table: &Table, set: &Set, elements: &[Element]) -> &mut Batch {
        self.elements(table, set, elements, "delete element of", number::DELETE_ELEMENT, 0)
    }

    fn elements(
        &mut self,
        table: &Table,
        set: &Set,
        elements: &[Element],
        what: &str,
        number: u8,
        flags: u16,
    ) -> &mut Batch {
        let delete = number == number::DELETE_ELEMENT;
        let mut rest = elements;
        while !rest.is_empty() {
            let mut fine = Ok(());
            let mut starts = Vec::new();
            let task = Task(what, Some(&set.name), number, flags);
            let message = self.bytes.len();
            self.push(table, check_name("set", &set.name), task, |body| {
                body.string(1, &table.name);
                body.string(2, &set.name);
                body.nest(3, |list| {
                    let start = list.written();
                    for element in rest {
                        if fine.is_err() || list.written() - start > ELEMENTS_BYTES {
                            return;
                        }
                        starts.push(list.written() - message);
                        match element.encode(set, delete) {
                            Ok(bytes) => bytes.write(list),
                            Err(fault) => fine = Err(fault),
                        }
                    }
                });
            });
            self.keep(fine);
            if self.fault.is_some() {
                break;
            }
            let before = elements.len() - rest.len();
            rest = rest.get(starts.len()..).unwrap_or(&[]);
            if let Some(operation) = self.operations.last_mut() {
                operation.elements = Some(Elements { starts, before, all: elements.len() });
            }
        }
        self
    }

    fn keep(&mut self, result: Result<()>) {
        if let Err(fault) = result {
            self.fault.get_or_insert(fault);
        }
    }

    fn push(
        &mut self,
        table: &Table,
        fine: Result<()>,
        Task(what, name, number, flags): Task<'_>,
        body: impl FnOnce(&mut Writer<'_>),
    ) -> &mut Batch {
        let fine = check_name("table", &table.name).and(fine);
        if fine.is_err() || self.fault.is_some() {
            self.keep(fine);
            return self;
        }
        let name = match name {
            Some(name) => format!("{what} {name} in {table}"),
            None => format!("{what} {table}"),
        };
        self.operations.push(Operation { name, at: self.bytes.len(), elements: None });
        let header = Header {
            kind: message_type(number),
            flags: REQUEST | flags,
            family: table.family.number(),
            resource: 0,
        };
        message(&mut self.bytes, header, body);
        self
    }
}

/// `enum nft_set_flags`.
mod flag {
    pub(super) const INTERVAL: u32 = 4;
    pub(super) const MAP: u32 = 8;
    pub(super) const CONCAT: u32 = 0x80;
}

/// Writes `NFTA_SET_*` but for the table's and the set's name.
fn write_set(body: &mut Writer<'_>, set: &Set, id: u32) {
    /// `NFT_DATA_VERDICT`.
    const VERDICTS: u32 = 0xffff_ff00;
    let bytes = |fields: &[crate::Field]| u32::try_from(length(fields)).unwrap_or(u32::MAX);
    // Ranges of several fields are kept by another kind of set, which is told the fields' lengths.
    let ranges = set.intervals && set.is_concat();
    let flags =
        [(set.intervals, flag::INTERVAL), (set.data != Data::None, flag::MAP), (ranges, flag::CONCAT)];
    let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
    body.number32(3, flags);
    body.number32(4, type_number(&set.key));
    body.number32(5, bytes(&set.key));
    match &set.data {
        Data::None => {}
        Data::Fields(fields) => {
            body.number32(6, type_number(fields));
            body.number32(7, bytes(fields));
        }
        Data::Verdict => body.number32(6, VERDICTS),
    }
    if ranges || set.room.is_some() {
        body.nest(9, |description| {
            if let Some(room) = set.room {
                description.number32(1, u32::try_from(room).unwrap_or(u32::MAX));
            }
            if ranges {
                description.nest(2, |fields| set.key.iter().for_each(|field| field_length(fields, *field)));
            }
        });
    }
    body.number32(10, id);
    body.bytes(13, &set.userdata());
}

fn field_length(fields: &mut Writer<'_>, field: crate::Field) {
    fields.nest(1, |item| item.number32(1, u32::try_from(field.length()).unwrap_or(u32::MAX)));
}
