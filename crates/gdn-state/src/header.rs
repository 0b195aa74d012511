//! The header of a segment.
//!
//! ```text
//! offset  0  magic "GDNSTATE"
//!         8  format version, u32
//!        12  flags, u32: bit 0 = base
//!        16  engine id, u64
//!        24  segment number, u64
//!        32  sequence number of the first record, u64
//!        40  salt of the records' checksums, u64
//!        48  zeros
//!        60  crc32 of the bytes before, u32
//! ```
//! It is written twice, in the first two pages, so that one bad page does not cost the records. Offsets 0, 8 and 60 stay
//! in every later version.

/// The format this build writes, and the latest it reads.
pub(crate) const VERSION: u32 = 1;
/// Where records begin: after the two copies of the header, each in a page of its own.
pub(crate) const DATA_START: usize = 2 * COPY_DISTANCE;
/// Pages are the unit in which memory and most disks go bad.
const COPY_DISTANCE: usize = 4096;
const MAGIC: [u8; 8] = *b"GDNSTATE";
const LEN: usize = 64;
const FLAG_BASE: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) engine: u64,
    pub(crate) number: u64,
    /// The sequence number its first record has, or will have.
    pub(crate) first_seq: u64,
    pub(crate) salt: u64,
    /// Whether this segment holds the whole state, so that segments with lower numbers do not count.
    pub(crate) base: bool,
}

/// What the first two pages of a segment say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A header; whether both copies agree.
    Header(Header, bool),
    /// A later format.
    Unknown(u32),
    /// Neither copy is a header.
    Damaged,
}

impl Header {
    /// Both pages.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DATA_START);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(if self.base { FLAG_BASE } else { 0 }).to_le_bytes());
        for number in [self.engine, self.number, self.first_seq, self.salt] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.resize(LEN - 4, 0);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(COPY_DISTANCE, 0);
        bytes.extend_from_within(..);
        bytes
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let copies = [copy(bytes), copy(bytes.get(COPY_DISTANCE..).unwrap_or_default())];
    match copies {
        [Some(Err(version)), _] | [_, Some(Err(version))] => Parsed::Unknown(version),
        [Some(Ok(first)), second] => Parsed::Header(first, second == Some(Ok(first))),
        [None, Some(Ok(second))] => Parsed::Header(second, false),
        [None, None] => Parsed::Damaged,
    }
}

/// One copy: nothing, a header, or the number of a later version.
fn copy(bytes: &[u8]) -> Option<Result<Header, u32>> {
    let bytes: &[u8; LEN] = bytes.first_chunk()?;
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    if bytes[..8] != MAGIC || u32_at(LEN - 4) != crc32fast::hash(&bytes[..LEN - 4]) {
        return None;
    }
    if u32_at(8) != VERSION {
        return Some(Err(u32_at(8)));
    }
    Some(Ok(Header {
        engine: u64_at(16),
        number: u64_at(24),
        first_seq: u64_at(32),
        salt: u64_at(40),
        base: u32_at(12) & FLAG_BASE != 0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { engine: 1, number: 2, first_seq: 3, salt: 4, base: true };

    #[test]
    fn one_bad_page_does_not_cost_the_header() {
        for page in 0..2 {
            let mut bytes = HEADER.encode();
            assert_eq!(parse(&bytes), Parsed::Header(HEADER, true));
            bytes[page * COPY_DISTANCE..][..COPY_DISTANCE].fill(0);
            assert_eq!(parse(&bytes), Parsed::Header(HEADER, false));
        }
        assert_eq!(parse(&[0; DATA_START]), Parsed::Damaged);
        assert_eq!(parse(b"GDN"), Parsed::Damaged);
    }

    #[test]
    fn a_later_format_is_recognised_as_such() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..LEN - 4]);
        bytes[LEN - 4..LEN].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(parse(&bytes), Parsed::Unknown(2));
    }
}
