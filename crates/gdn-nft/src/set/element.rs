//! Elements of sets and maps.

use super::{Data, Field, Set, Value, encode};
use crate::attribute::Writer;
use crate::name::{check_interface, check_text};
use crate::{Error, Result, Verdict, userdata};

const KEY: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const USERDATA: u16 = 6;
const KEY_END: u16 = 10;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
/// `NFTA_DATA_VALUE` and `NFTA_DATA_VERDICT`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
/// `NFTA_LIST_ELEM`.
const ITEM: u16 = 1;

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    from: Vec<Value>,
    to: Option<Vec<Value>>,
    data: Mapped,
    comment: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mapped {
    None,
    Values(Vec<Value>),
    Verdict(Verdict),
}

impl Element {
    /// The element with this key: one value for each field of the set.
    pub fn new(key: impl IntoIterator<Item = Value>) -> Element {
        Element { from: key.into_iter().collect(), to: None, data: Mapped::None, comment: None }
    }

    /// An element of a set of intervals: first and last value (both included) for each field.
    pub fn range(ranges: impl IntoIterator<Item = (Value, Value)>) -> Element {
        let (from, to) = ranges.into_iter().unzip();
        Element { from, to: Some(to), data: Mapped::None, comment: None }
    }

    /// What a map has for it.
    pub fn data(mut self, data: impl IntoIterator<Item = Value>) -> Element {
        self.data = Mapped::Values(data.into_iter().collect());
        self
    }

    /// What a map of verdicts has for it.
    pub fn verdict(mut self, verdict: Verdict) -> Element {
        self.data = Mapped::Verdict(verdict);
        self
    }

    /// A comment of at most 127 bytes, shown by `nft list`.
    pub fn comment(mut self, comment: &str) -> Element {
        self.comment = Some(comment.to_owned());
        self
    }

    /// The bytes ready for the kernel.
    ///
    /// A key alone is enough `to_delete` an element of a map.
    pub(crate) fn encode(&self, set: &Set, to_delete: bool) -> Result<Encoded> {
        self.check()?;
        let fault =
            |fault| Error::Element { set: set.name.clone(), element: format!("{:?}", self.from), fault };
        let other_fields = || fault("its key has other fields");
        let key = encode(&set.key, &self.from).ok_or_else(other_fields)?;
        let end = match &self.to {
            Some(to) => Some(encode(&set.key, to).ok_or_else(other_fields)?),
            None => None,
        };
        if end.is_some() && !set.intervals {
            return Err(fault("a range needs a set of intervals"));
        }
        let backwards =
            |((from, to), field): ((&Value, &Value), &Field)| to.bytes_of(*field) < from.bytes_of(*field);
        if self.from.iter().zip(self.to.iter().flatten()).zip(&set.key).any(backwards) {
            return Err(fault("its range ends before it starts"));
        }
        let data = match (&self.data, &set.data) {
            (Mapped::None, Data::None) => Encoding::None,
            (Mapped::Values(values), Data::Fields(fields)) => {
                Encoding::Bytes(encode(fields, values).ok_or_else(|| fault("its data has other fields"))?)
            }
            (Mapped::Verdict(verdict), Data::Verdict) => Encoding::Verdict(verdict.clone()),
            (Mapped::None, _) if to_delete => Encoding::None,
            _ => return Err(fault("its data is of another kind")),
        };
        Ok(Encoded { key, end, data, has_ends: set.has_ends(), comment: self.comment.clone() })
    }

    fn check(&self) -> Result<()> {
        if let Some(comment) = &self.comment {
            check_text("comment", comment)?;
        }
        let data: &[Value] = match &self.data {
            Mapped::Values(values) => values,
            Mapped::Verdict(verdict) => {
                verdict.check()?;
                &[]
            }
            Mapped::None => &[],
        };
        for value in self.from.iter().chain(self.to.iter().flatten()).chain(data) {
            if let Value::IfName(name) = value {
                check_interface(name)?;
            }
        }
        Ok(())
    }
}

/// An element as bytes.
#[derive(Debug)]
pub(crate) struct Encoded {
    key: Vec<u8>,
    end: Option<Vec<u8>>,
    data: Encoding,
    has_ends: bool,
    comment: Option<String>,
}

#[derive(Debug)]
enum Encoding {
    None,
    Bytes(Vec<u8>),
    Verdict(Verdict),
}

impl Encoded {
    /// Writes it as one item of `NFTA_SET_ELEM_LIST_ELEMENTS`, or as two where the kernel wants start and end apart.
    pub(crate) fn write(&self, to: &mut Writer<'_>) {
        let end = if self.has_ends { None } else { self.end.as_deref() };
        to.nest(ITEM, |item| {
            item.nest(KEY, |key| key.bytes(VALUE, &self.key));
            if let Some(end) = end {
                item.nest(KEY_END, |key| key.bytes(VALUE, end));
            }
            match &self.data {
                Encoding::None => {}
                Encoding::Bytes(bytes) => item.nest(DATA, |data| data.bytes(VALUE, bytes)),
                Encoding::Verdict(verdict) => {
                    item.nest(DATA, |data| data.nest(VERDICT, |inner| verdict.write(inner)));
                }
            }
            if let Some(comment) = &self.comment {
                let mut bytes = Vec::new();
                userdata::put_text(&mut bytes, userdata::COMMENT, comment);
                item.bytes(USERDATA, &bytes);
            }
        });
        // The end is the first key that is not in the interval; an interval up to the last key has none.
        if self.has_ends
            && let Some(after) = next(self.end.as_deref().unwrap_or(&self.key))
        {
            to.nest(ITEM, |item| {
                item.nest(KEY, |key| key.bytes(VALUE, &after));
                item.number32(FLAGS, INTERVAL_END);
            });
        }
    }
}

/// The big-endian number after this one; `None` after the last.
fn next(key: &[u8]) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let (sum, carried) = byte.overflowing_add(1);
        *byte = sum;
        if !carried {
            return Some(key);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{Element, next};
    use crate::{Error, Field, Set, Value, Verdict};

    fn address(last: u8) -> Value {
        Value::Ipv4(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn each_field_of_a_key_is_padded_to_four_bytes() {
        let set = Set::new("s", [Field::Ipv4, Field::Protocol, Field::Port]);
        let element = Element::new([address(1), Value::Byte(6), Value::Port(0x1234)]);
        let bytes = element.encode(&set, false).unwrap();
        assert_eq!(bytes.key, [10, 0, 0, 1, 6, 0, 0, 0, 0x12, 0x34, 0, 0]);
        let set = Set::new("s", [Field::Port]);
        assert_eq!(Element::new([Value::Port(1)]).encode(&set, false).unwrap().key, [0, 1]);
    }

    #[test]
    fn the_key_after_one_carries_and_the_last_has_none() {
        assert_eq!(next(&[0, 255]), Some(vec![1, 0]));
        assert_eq!(next(&[255, 255]), None);
    }

    #[test]
    fn an_element_that_does_not_fit_its_set_is_refused_before_it_is_sent() {
        let set = Set::new("s", [Field::Ipv4]);
        let intervals = set.clone().intervals();
        let map = set.clone().map_to_verdicts();
        let fault = |element: Element, set: &Set| match element.encode(set, false) {
            Err(Error::Element { fault, .. }) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(fault(Element::new([Value::Port(1)]), &set), "its key has other fields");
        assert_eq!(fault(Element::new([]), &set), "its key has other fields");
        assert_eq!(
            fault(Element::range([(address(1), address(2))]), &set),
            "a range needs a set of intervals"
        );
        assert_eq!(
            fault(Element::range([(address(2), address(1))]), &intervals),
            "its range ends before it starts"
        );
        let fields = Set::new("s", [Field::Ipv4, Field::Port]).intervals();
        let ports = Element::range([(address(1), address(2)), (Value::Port(2), Value::Port(1))]);
        assert_eq!(fault(ports, &fields), "its range ends before it starts");
        assert_eq!(fault(Element::new([address(1)]), &map), "its data is of another kind");
        assert!(Element::new([address(1)]).encode(&map, true).is_ok());
        let bad = Element::new([address(1)]).verdict(Verdict::Jump(String::new()));
        assert!(matches!(bad.encode(&map, false), Err(Error::Name { .. })));
    }
}
