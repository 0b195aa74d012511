//! Reading back what is there.

use crate::attribute::{Attributes, Header, Message, Writer, message};
use crate::batch::{REQUEST, message_type};
use crate::channel::{ACKNOWLEDGE, DUMP};
use crate::{ChainType, Error, Family, Hook, Policy, Result, Socket, Table, Verdict, userdata};

const GET_TABLE: u8 = 1;
const GET_CHAIN: u8 = 4;
const GET_RULE: u8 = 7;
const GET_SET: u8 = 10;
const GET_ELEMENT: u8 = 13;
const GET_GENERATION: u8 = 16;

/// The most items of a listing: beyond it is an error, so that nobody's ruleset fills this process's memory.
const MOST: usize = 1 << 20;

/// A table that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Whether some socket owns it.
    pub owned: bool,
    /// Whether it outlives its owner.
    pub persistent: bool,
    /// The netlink port of its owner.
    pub owner: Option<u32>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A chain that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// Its table's family.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// What makes it a base chain, if it is one.
    pub base: Option<BaseInfo>,
}

/// Where a base chain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseInfo {
    /// Its type; `None` for one that this crate does not add.
    pub kind: Option<ChainType>,
    /// Its hook; `None` for one that this crate does not add.
    pub hook: Option<Hook>,
    /// Its priority: lower ones come first.
    pub priority: i32,
    /// Its policy.
    pub policy: Policy,
}

/// A rule that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its chain.
    pub chain: String,
    /// The number by which it is deleted.
    pub handle: u64,
    /// Its comment.
    pub comment: Option<String>,
}

/// An element that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementInfo {
    /// Its key: each field in its byte order, padded to 4 bytes where there are several.
    pub key: Vec<u8>,
    /// The last key of its range, where there are several fields.
    pub key_end: Option<Vec<u8>>,
    /// Whether the key is the first that is not in a range any more (sets of intervals of one field).
    pub interval_end: bool,
    /// What the map has for it.
    pub data: Option<DataInfo>,
    /// Its comment.
    pub comment: Option<String>,
}

/// What a map has for an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataInfo {
    /// Fields, laid out as keys are.
    Bytes(Vec<u8>),
    /// A verdict.
    Verdict(Verdict),
}

impl Socket {
    /// All tables, or those of this name in any family.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without nftables; [`Error::TooLong`] beyond a million.
    pub fn tables(&mut self, name: Option<&str>) -> Result<Vec<TableInfo>> {
        let request = request(GET_TABLE, 0, |_| {});
        let mut tables = self.channel.dump("list tables", &request, MOST, |message, found| {
            found.extend(table(message));
        })?;
        tables.retain(|table| name.is_none_or(|name| table.name == name));
        Ok(tables)
    }

    /// The chains of all tables, or of one; none where there is no such table.
    ///
    /// # Errors
    /// As for [`tables`](Socket::tables).
    pub fn chains(&mut self, of: Option<&Table>) -> Result<Vec<ChainInfo>> {
        let family = of.map_or(0, |table| table.family.number());
        let request = request(GET_CHAIN, family, |_| {});
        let mut chains = self.channel.dump("list chains", &request, MOST, |message, found| {
            found.extend(chain(message));
        })?;
        chains.retain(|chain| of.is_none_or(|of| chain.table == of.name && chain.family == of.family));
        Ok(chains)
    }

    /// The names of a table's sets and maps.
    ///
    /// # Errors
    /// As for [`tables`](Socket::tables); `ENOENT` where there is no such table.
    pub fn sets(&mut self, table: &Table) -> Result<Vec<String>> {
        let request = request(GET_SET, table.family.number(), |body| body.string(1, &table.name));
        self.channel.dump(&format!("list sets of {table}"), &request, MOST, |message, found| {
            found.extend(message.attributes().string(2));
        })
    }

    /// The elements of a set or map.
    ///
    /// # Errors
    /// As for [`tables`](Socket::tables); `ENOENT` where there is no such set.
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<ElementInfo>> {
        let request = request(GET_ELEMENT, table.family.number(), |body| {
            body.string(1, &table.name);
            body.string(2, set);
        });
        let operation = format!("list elements of {set} in {table}");
        self.channel.dump(&operation, &request, MOST, |message, found| {
            found.extend(message.attributes().inside(3).filter_map(|(_, item)| element(Attributes(item))));
        })
    }

    /// The rules of a chain in their order; none where there is no such chain.
    ///
    /// # Errors
    /// As for [`tables`](Socket::tables).
    pub fn rules(&mut self, table: &Table, chain: &str) -> Result<Vec<RuleInfo>> {
        let request = request(GET_RULE, table.family.number(), |body| {
            body.string(1, &table.name);
            body.string(2, chain);
        });
        let operation = format!("list rules of {chain} in {table}");
        self.channel.dump(&operation, &request, MOST, |message, found| {
            let attributes = message.attributes();
            // An older kernel gives the rules of other chains too.
            if attributes.string(2).as_deref() == Some(chain)
                && attributes.string(1).as_deref() == Some(&table.name)
                && let Some(handle) = attributes.number64(3)
            {
                let comment =
                    attributes.find(7).and_then(|data| userdata::find_text(data, userdata::COMMENT));
                found.push(RuleInfo { chain: chain.to_owned(), handle, comment });
            }
        })
    }

    /// The ruleset's generation: every commit of anybody makes a new one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without nftables.
    pub fn generation(&mut self) -> Result<u32> {
        let mut request = Vec::new();
        let kind = message_type(GET_GENERATION);
        message(&mut request, Header { kind, flags: REQUEST | ACKNOWLEDGE, family: 0, resource: 0 }, |_| {});
        let operation = "read generation";
        let found = self.channel.dump(operation, &request, 1, |message, found| {
            found.extend(message.attributes().number32(1));
        })?;
        let missing = || Error::Malformed { operation: operation.to_owned(), fault: "no generation" };
        found.first().copied().ok_or_else(missing)
    }
}

fn request(number: u8, family: u8, body: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { kind: message_type(number), flags: REQUEST | DUMP, family, resource: 0 };
    message(&mut bytes, header, body);
    bytes
}

fn table(message: Message<'_>) -> Option<TableInfo> {
    let attributes = message.attributes();
    let flags = attributes.number32(2).unwrap_or(0);
    Some(TableInfo {
        family: Family::of_number(message.family())?,
        name: attributes.string(1)?,
        owned: flags & Table::OWNER != 0,
        persistent: flags & Table::PERSIST != 0,
        owner: attributes.number32(7),
        comment: attributes.find(6).and_then(|data| userdata::find_text(data, userdata::COMMENT)),
    })
}

fn chain(message: Message<'_>) -> Option<ChainInfo> {
    let attributes = message.attributes();
    let hook = attributes.inside(4);
    let kind = attributes.string(7);
    let base = hook.number32(1).map(|number| BaseInfo {
        kind: [ChainType::Filter, ChainType::Nat]
            .into_iter()
            .find(|known| kind.as_deref() == Some(known.name())),
        hook: Hook::of_number(number),
        priority: hook.number32(2).unwrap_or(0).cast_signed(),
        policy: attributes.number32(5).and_then(Policy::of_number).unwrap_or(Policy::Accept),
    });
    Some(ChainInfo {
        family: Family::of_number(message.family())?,
        table: attributes.string(1)?,
        name: attributes.string(3)?,
        base,
    })
}

fn element(item: Attributes<'_>) -> Option<ElementInfo> {
    const INTERVAL_END: u32 = 1;
    let data = item.inside(2);
    let verdict = || Verdict::read(data.inside(2)).map(DataInfo::Verdict);
    Some(ElementInfo {
        key: item.inside(1).find(1)?.to_vec(),
        key_end: item.inside(10).find(1).map(<[u8]>::to_vec),
        interval_end: item.number32(3).is_some_and(|flags| flags & INTERVAL_END != 0),
        data: data.find(1).map(|bytes| DataInfo::Bytes(bytes.to_vec())).or_else(verdict),
        comment: item.find(6).and_then(|data| userdata::find_text(data, userdata::COMMENT)),
    })
}
