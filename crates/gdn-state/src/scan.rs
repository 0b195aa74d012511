//! Reading the records of a segment that may be damaged.

use std::ops::RangeInclusive;

use crate::header::DATA_START;
use crate::record::{self, ALIGN, Record};

/// What a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Every record that can be trusted, in order.
    pub(crate) records: Vec<Record>,
    /// Bytes that are neither records nor unused space.
    pub(crate) regions: Vec<Region>,
    /// Where the next record would go.
    pub(crate) end: usize,
}

/// A run of bytes that could not be read as records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether it belongs to the last group, which a loss of power may have torn and which then nobody was told of.
    pub(crate) tail: bool,
    /// Sequence numbers of the records that were there, when a later record tells.
    pub(crate) lost: Option<RangeInclusive<u64>>,
    /// Keys that the bytes seem to be about.
    pub(crate) keys: Vec<Vec<u8>>,
}

/// Reads a whole segment; `first_seq` is the sequence number its first record should have.
pub(crate) fn scan(bytes: &[u8], salt: u64, first_seq: u64) -> Scan {
    let mut scan = Scan { end: DATA_START.min(bytes.len()), ..Scan::default() };
    // One past the last byte that was ever written.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1).max(scan.end);
    let mut next_seq = first_seq;
    while scan.end < used {
        if let Some((record, space)) = later_record(&bytes[scan.end..], salt, next_seq) {
            next_seq = record.seq + 1;
            scan.records.push(record);
            scan.end += space;
            continue;
        }
        let start = scan.end;
        let found = (start + ALIGN..used)
            .step_by(ALIGN)
            .find_map(|at| later_record(&bytes[at..], salt, next_seq).map(|(record, _)| (at, record)));
        let (end, tail, lost) = match found {
            // A record of the same group came through: the group was torn, or it was damaged later.
            Some((at, record)) => {
                (at, record.group <= next_seq, (record.seq > next_seq).then(|| next_seq..=record.seq - 1))
            }
            None => (used, true, None),
        };
        scan.regions.push(Region { start, end, tail, lost, keys: suspected_keys(&bytes[start..end]) });
        scan.end = end.next_multiple_of(ALIGN);
    }
    // A group begins when the one before it is durable: where a later one follows, nothing was torn.
    let last_group = scan.records.last().map_or(0, |record| record.group);
    for region in &mut scan.regions {
        region.tail &= region.lost.as_ref().is_none_or(|lost| last_group <= *lost.end());
    }
    cut_torn_group(&mut scan, &bytes[..used]);
    scan
}

/// A loss of power may keep any part of the last group. What comes after a gap does not count: no batch outlives one that
/// was handed over before it.
fn cut_torn_group(scan: &mut Scan, bytes: &[u8]) {
    for (position, region) in scan.regions.iter_mut().enumerate() {
        if !region.tail {
            continue;
        }
        let Some(lost) = region.lost.take() else { continue };
        scan.records.retain(|record| record.seq < *lost.start());
        region.end = bytes.len();
        region.keys = suspected_keys(&bytes[region.start..]);
        scan.regions.truncate(position + 1);
        return;
    }
}

/// The record at the beginning of `bytes`, unless it is older than what came before it (a duplicated page).
fn later_record(bytes: &[u8], salt: u64, next_seq: u64) -> Option<(Record, usize)> {
    record::decode(bytes, salt).filter(|(record, _)| record.seq >= next_seq)
}

fn suspected_keys(region: &[u8]) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = (0..region.len())
        .step_by(ALIGN)
        .filter_map(|at| record::suspected_keys(&region[at..]))
        .flatten()
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;

    const SALT: u64 = 99;

    /// A segment with one-record groups 1 to 4 and its record boundaries.
    fn segment() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![0; DATA_START];
        let mut starts = Vec::new();
        for seq in 1..=4 {
            starts.push(bytes.len());
            let mut batch = Batch::new();
            batch.put(format!("key {seq}"), "v".repeat(100)).unwrap();
            record::encode(&mut bytes, SALT, seq, seq, &batch);
        }
        starts.push(bytes.len());
        bytes.resize(bytes.len() + 4096, 0);
        (bytes, starts)
    }

    fn seqs(scan: &Scan) -> Vec<u64> {
        scan.records.iter().map(|record| record.seq).collect()
    }

    #[test]
    fn a_sound_segment_is_read_whole() {
        let (bytes, starts) = segment();
        let scan = scan(&bytes, SALT, 1);
        assert_eq!((seqs(&scan), scan.end), (vec![1, 2, 3, 4], starts[4]));
        assert!(scan.regions.is_empty());
    }

    #[test]
    fn damage_in_the_middle_costs_one_record_and_names_its_key() {
        let (mut bytes, starts) = segment();
        bytes[starts[1] + 90] ^= 1;
        let scan = scan(&bytes, SALT, 1);
        assert_eq!(seqs(&scan), [1, 3, 4]);
        let keys = vec![b"key 2".to_vec()];
        let expected = Region { start: starts[1], end: starts[2], tail: false, lost: Some(2..=2), keys };
        assert_eq!(scan.regions, [expected]);
    }

    #[test]
    fn a_torn_last_write_is_a_tail() {
        let (mut bytes, starts) = segment();
        bytes[starts[3] + 40..].fill(0);
        let scan = scan(&bytes, SALT, 1);
        assert_eq!(seqs(&scan), [1, 2, 3]);
        assert!(scan.regions.len() == 1 && scan.regions[0].tail, "{:?}", scan.regions);
    }

    /// Groups 1 and 2 to 3, and a fourth record in the group of the third or in its own; the second is zeros.
    fn gap(fourth_group: u64) -> Scan {
        let (mut bytes, mut starts) = (vec![0; DATA_START], Vec::new());
        for (seq, group) in [(1, 1), (2, 2), (3, 2), (4, fourth_group)] {
            starts.push(bytes.len());
            let mut batch = Batch::new();
            batch.put(format!("key {seq}"), "v".repeat(100)).unwrap();
            record::encode(&mut bytes, SALT, seq, group, &batch);
        }
        bytes[starts[1]..starts[2]].fill(0);
        let scan = scan(&bytes, SALT, 1);
        assert_eq!(scan.regions.len(), 1);
        scan
    }

    #[test]
    fn of_a_torn_last_group_nothing_counts_behind_the_gap() {
        let scan = gap(2);
        assert_eq!(seqs(&scan), [1]);
        let region = &scan.regions[0];
        assert!(region.tail && region.lost.is_none(), "{region:?}");
        assert_eq!(region.keys, [b"key 3".to_vec(), b"key 4".to_vec()]);
    }

    #[test]
    fn a_gap_before_a_later_group_was_not_torn() {
        let scan = gap(4);
        assert_eq!(seqs(&scan), [1, 3, 4]);
        assert!(!scan.regions[0].tail && scan.regions[0].lost == Some(2..=2), "{:?}", scan.regions);
    }

    #[test]
    fn a_duplicated_record_counts_once() {
        let (mut bytes, starts) = segment();
        let copy = bytes[starts[0]..starts[1]].to_vec();
        bytes[starts[4]..][..copy.len()].copy_from_slice(&copy);
        assert_eq!(seqs(&scan(&bytes, SALT, 1)), [1, 2, 3, 4]);
    }

    #[test]
    fn no_bytes_make_a_scan_panic_or_hang() {
        for len in [0, 1, DATA_START - 1, DATA_START, DATA_START + 1, DATA_START + 5000] {
            let junk: Vec<u8> = (0..len).map(|n| (n * 31 % 251) as u8).collect();
            let scan = scan(&junk, SALT, 1);
            assert!(scan.records.is_empty());
        }
    }
}
