//! Sets and maps: their kinds of keys and data.

mod element;
mod field;

pub use element::Element;
pub use field::{Field, Value};

pub(crate) use field::interface;
use field::{BIG_ENDIAN, HOST_ENDIAN};

use crate::name::{check_name, check_text};
use crate::{Error, Result, userdata};

/// The most 4-byte words a key or data has (16 registers).
pub(crate) const MAX_WORDS: usize = 16;

/// A named set or map.
///
/// A key is one field or several one after the other. With [`intervals`](Set::intervals) each field of an element is a
/// range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub(crate) name: String,
    pub(crate) key: Vec<Field>,
    pub(crate) intervals: bool,
    pub(crate) data: Data,
    pub(crate) comment: Option<String>,
    pub(crate) room: Option<usize>,
}

/// What an element of a map maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    None,
    Fields(Vec<Field>),
    Verdict,
}

impl Set {
    /// A set with keys of these fields, at most 64 bytes with each padded to 4.
    pub fn new(name: &str, key: impl IntoIterator<Item = Field>) -> Set {
        let key = key.into_iter().collect();
        Set { name: name.to_owned(), key, intervals: false, data: Data::None, comment: None, room: None }
    }

    /// Its elements are ranges. Only for fields in network byte order: not interface names and marks.
    pub fn intervals(mut self) -> Set {
        self.intervals = true;
        self
    }

    /// It has room for so many elements and no more. The kernel then keeps a set that has no ranges in a table of that size
    /// from its beginning, where it would grow one step by step: thousands of elements at once take half the time.
    pub fn room(mut self, elements: usize) -> Set {
        self.room = Some(elements);
        self
    }

    /// It maps to data of these fields.
    pub fn map_to(mut self, data: impl IntoIterator<Item = Field>) -> Set {
        self.data = Data::Fields(data.into_iter().collect());
        self
    }

    /// It maps to verdicts.
    pub fn map_to_verdicts(mut self) -> Set {
        self.data = Data::Verdict;
        self
    }

    /// A comment of at most 127 bytes, shown by `nft list`.
    pub fn comment(mut self, comment: &str) -> Set {
        self.comment = Some(comment.to_owned());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_name("set", &self.name)?;
        if let Some(comment) = &self.comment {
            check_text("comment", comment)?;
        }
        let fault = |fault| Err(Error::Set { set: self.name.clone(), fault });
        let no_fields = self.key.is_empty() || matches!(&self.data, Data::Fields(data) if data.is_empty());
        if no_fields {
            return fault("its key or data has no fields");
        }
        let too_long = |fields: &[Field]| words(fields) > MAX_WORDS;
        if too_long(&self.key) || matches!(&self.data, Data::Fields(data) if too_long(data)) {
            return Err(Error::TooLong { what: "set key or data in words of 4 bytes", limit: MAX_WORDS });
        }
        if self.has_ends() && byte_order(&self.key) == HOST_ENDIAN {
            return fault("its field is not in network byte order, so it has no intervals");
        }
        Ok(())
    }

    /// Several fields.
    pub(crate) fn is_concat(&self) -> bool {
        self.key.len() > 1
    }

    /// Whether the kernel has its elements as a start and an end one after the other, instead of as pairs.
    pub(crate) fn has_ends(&self) -> bool {
        self.intervals && !self.is_concat()
    }

    /// `NFTA_SET_USERDATA` as `nft` writes it.
    pub(crate) fn userdata(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        userdata::put(&mut bytes, userdata::SET_KEY_ORDER, &byte_order(&self.key).to_ne_bytes());
        if let Data::Fields(data) = &self.data {
            userdata::put(&mut bytes, userdata::SET_DATA_ORDER, &byte_order(data).to_ne_bytes());
        }
        if let Some(comment) = &self.comment {
            userdata::put_text(&mut bytes, userdata::SET_COMMENT, comment);
        }
        bytes
    }
}

/// Words of 4 bytes that the fields take, each padded.
pub(crate) fn words(fields: &[Field]) -> usize {
    fields.iter().map(|field| field.words()).sum()
}

/// Bytes of a key or data of these fields: one field is not padded, several are.
pub(crate) fn length(fields: &[Field]) -> usize {
    match fields {
        [one] => one.length(),
        many => words(many) * 4,
    }
}

/// The type as `nft` numbers it: 6 bits for each field.
pub(crate) fn type_number(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |number, field| number << 6 | field.type_number())
}

/// How `nft` is to show values: several fields have an order each.
fn byte_order(fields: &[Field]) -> u32 {
    match fields {
        [one] => one.byte_order(),
        _ => BIG_ENDIAN,
    }
}

/// The bytes of a key or data; `None` where a value's field is another one than the set's.
pub(crate) fn encode(fields: &[Field], values: &[Value]) -> Option<Vec<u8>> {
    if fields.len() != values.len() {
        return None;
    }
    let mut bytes = Vec::with_capacity(length(fields));
    for (field, value) in fields.iter().zip(values) {
        value.write(*field, &mut bytes)?;
        if fields.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    Some(bytes)
}
