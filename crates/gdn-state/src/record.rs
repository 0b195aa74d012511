//! One record of the journal: a batch with what is needed to trust it.
//!
//! ```text
//! offset  0  magic "GSR1"
//!         4  length of the payload, u32
//!         8  sequence number, u64: one more than that of the record before
//!        16  group, u64: sequence number of the first record that was not durable when this one was written
//!        24  crc32 of the segment's salt, bytes 4..24 and the payload, u32
//!        28  zero, u32
//!        32  payload: the encoded batch, padded with zeros to a multiple of 8
//! ```
//! All numbers are little-endian. The salt is random and never leaves the segment's header, so a value that a client
//! chose cannot pass for a record when a damaged segment is searched.

use crate::batch::{Batch, MAX_BATCH};

const MAGIC: [u8; 4] = *b"GSR1";
const HEADER: usize = 32;
/// Records begin at multiples of this, which makes the search after a damage eight times shorter.
pub(crate) const ALIGN: usize = 8;

/// A record that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) group: u64,
    pub(crate) batch: Batch,
}

/// The space a batch takes in the journal, in bytes.
pub(crate) fn space(batch: &Batch) -> usize {
    (HEADER + batch.encoded().len()).next_multiple_of(ALIGN)
}

/// The space one live pair takes when it is a record of its own, in bytes.
pub(crate) fn pair_space(key: &[u8], value: &[u8]) -> usize {
    (HEADER + 7 + key.len() + value.len()).next_multiple_of(ALIGN)
}

pub(crate) fn encode(into: &mut Vec<u8>, salt: u64, seq: u64, group: u64, batch: &Batch) {
    let start = into.len();
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&(batch.encoded().len() as u32).to_le_bytes());
    into.extend_from_slice(&seq.to_le_bytes());
    into.extend_from_slice(&group.to_le_bytes());
    let crc = checksum(salt, &into[start + 4..start + 24], batch.encoded());
    into.extend_from_slice(&crc.to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(batch.encoded());
    into.resize(start + space(batch), 0);
}

/// Reads the record at the beginning of `bytes`; tells also how much space it takes.
pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<(Record, usize)> {
    let (header, body) = bytes.split_at_checked(HEADER)?;
    let payload = payload(header, body)?;
    let crc = u32::from_le_bytes(header[24..28].try_into().ok()?);
    if crc != checksum(salt, &header[4..24], payload) || header[28..32] != [0; 4] {
        return None;
    }
    let batch = Batch::decode(payload)?;
    let seq = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let group = u64::from_le_bytes(header[16..24].try_into().ok()?);
    let space = space(&batch);
    (space <= bytes.len() && group <= seq).then_some((Record { seq, group, batch }, space))
}

/// The keys that a damaged record seems to be about: its checksum is wrong, but its form may still be readable.
pub(crate) fn suspected_keys(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (header, body) = bytes.split_at_checked(HEADER)?;
    let rest = payload(header, body).unwrap_or(body);
    if header[..4] != MAGIC && header[28..32] != [0; 4] {
        return None;
    }
    Some(crate::batch::Ops { rest }.map(|op| op.key().to_vec()).collect())
}

fn payload<'a>(header: &[u8], body: &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
    if header[..4] != MAGIC || len > MAX_BATCH {
        return None;
    }
    body.get(..len)
}

fn checksum(salt: u64, header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(header);
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_any_flipped_bit_is_noticed() {
        let mut batch = Batch::new();
        batch.put("key", "value").unwrap().delete("other").unwrap();
        let mut bytes = Vec::new();
        encode(&mut bytes, 7, 12, 11, &batch);
        assert_eq!(
            decode(&bytes, 7).unwrap(),
            (Record { seq: 12, group: 11, batch: batch.clone() }, bytes.len())
        );
        assert!(decode(&bytes, 8).is_none(), "another segment's salt");
        for bit in 0..(HEADER + batch.encoded().len()) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged, 7).is_none(), "bit {bit}");
        }
    }
}
