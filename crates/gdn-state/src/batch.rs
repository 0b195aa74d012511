//! Changes that happen together or not at all.

use crate::error::{Error, Result};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The largest value, in bytes.
pub const MAX_VALUE: usize = 16 << 20;
/// The largest encoded batch, in bytes: one value of the largest size and some company.
pub const MAX_BATCH: usize = 17 << 20;

const PUT: u8 = 1;
const DELETE: u8 = 2;
/// Tag, length of the key, length of the value.
const OP_HEADER: usize = 1 + 2 + 4;

/// Puts and deletes that become durable and visible together.
///
/// ```
/// let mut batch = gdn_state::Batch::new();
/// batch.put("color", "green").unwrap();
/// batch.delete("shape").unwrap();
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    encoded: Vec<u8>,
    count: u32,
}

/// One change, borrowed from its encoded form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Put(&'a [u8], &'a [u8]),
    Delete(&'a [u8]),
}

impl<'a> Op<'a> {
    pub(crate) fn key(&self) -> &'a [u8] {
        match self {
            Op::Put(key, _) | Op::Delete(key) => key,
        }
    }
}

impl Batch {
    /// A batch without changes.
    pub fn new() -> Self {
        Batch::default()
    }

    /// Adds: the key has this value.
    ///
    /// # Errors
    /// [`Error::Size`] for an empty or too long key, a too large value, or when the batch becomes too large.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<&mut Self> {
        let (key, value) = (key.as_ref(), value.as_ref());
        check("value", value.len(), 0, MAX_VALUE)?;
        self.push(PUT, key, value)
    }

    /// Adds: the key is gone. A key that does not exist is no error.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.push(DELETE, key.as_ref(), &[])
    }

    fn push(&mut self, tag: u8, key: &[u8], value: &[u8]) -> Result<&mut Self> {
        check("key", key.len(), 1, MAX_KEY)?;
        check("batch", self.encoded.len() + OP_HEADER + key.len() + value.len(), 0, MAX_BATCH)?;
        self.encoded.push(tag);
        self.encoded.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.encoded.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.encoded.extend_from_slice(key);
        self.encoded.extend_from_slice(value);
        self.count += 1;
        Ok(self)
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    pub(crate) fn ops(&self) -> Ops<'_> {
        Ops { rest: &self.encoded }
    }

    /// Takes an encoded form whose checksum was right, if it is well formed as a whole.
    pub(crate) fn decode(encoded: &[u8]) -> Option<Batch> {
        let mut ops = Ops { rest: encoded };
        let count = ops.by_ref().count() as u32;
        ops.rest.is_empty().then(|| Batch { encoded: encoded.to_vec(), count })
    }
}

fn check(what: &'static str, len: usize, min: usize, max: usize) -> Result<()> {
    if (min..=max).contains(&len) { Ok(()) } else { Err(Error::Size { what, len, min, max }) }
}

/// The changes of an encoded batch; ends at the first that is not well formed.
pub(crate) struct Ops<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Iterator for Ops<'a> {
    type Item = Op<'a>;

    fn next(&mut self) -> Option<Op<'a>> {
        let (header, body) = self.rest.split_at_checked(OP_HEADER)?;
        let key_len = usize::from(u16::from_le_bytes([header[1], header[2]]));
        let value_len = u32::from_le_bytes([header[3], header[4], header[5], header[6]]) as usize;
        if key_len == 0 || key_len > MAX_KEY || value_len > MAX_VALUE {
            return None;
        }
        let (key, body) = body.split_at_checked(key_len)?;
        let (value, rest) = body.split_at_checked(value_len)?;
        let op = match (header[0], value_len) {
            (PUT, _) => Op::Put(key, value),
            (DELETE, 0) => Op::Delete(key),
            _ => return None,
        };
        self.rest = rest;
        Some(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_and_values_out_of_bounds_are_refused_and_leave_the_batch_as_it_was() {
        let mut batch = Batch::new();
        assert!(matches!(batch.put("", "x"), Err(Error::Size { what: "key", len: 0, .. })));
        assert!(matches!(batch.delete(vec![b'k'; MAX_KEY + 1]), Err(Error::Size { what: "key", .. })));
        assert!(matches!(batch.put("k", vec![0; MAX_VALUE + 1]), Err(Error::Size { what: "value", .. })));
        batch.put("k", vec![0; MAX_VALUE]).unwrap();
        assert!(matches!(batch.put("l", vec![0; MAX_VALUE]), Err(Error::Size { what: "batch", .. })));
        assert_eq!(batch.len(), 1);
    }

    proptest! {
        #[test]
        fn decoding_foreign_bytes_never_panics(bytes: Vec<u8>) {
            if let Some(batch) = Batch::decode(&bytes) {
                prop_assert_eq!(batch.ops().count(), batch.len());
            }
        }
    }
}
