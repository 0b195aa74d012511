//! One file of the journal.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{At, Result};
use crate::files;
use crate::header::Header;
use crate::writer::Promise;

const PREFIX: &str = "journal-";
const SUFFIX: &str = ".seg";
/// Unused space is written in pieces of this many bytes.
const ZEROS: usize = 256 << 10;
/// The most of one segment file that is read: a base of this size holds some 100,000 records, and a larger one can only
/// be junk or a store far beyond what this crate is for.
pub(crate) const MAX_READ: u64 = 1 << 30;

/// The segment that records are appended to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    file: File,
    end: u64,
    capacity: u64,
}

/// The file name of a segment.
pub(crate) fn name(number: u64) -> String {
    format!("{PREFIX}{number:016x}{SUFFIX}")
}

/// The number in a segment's file name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (self::name(number) == name).then_some(number)
}

impl Segment {
    /// Makes a segment with these records and room for more, and publishes it: it is either there and whole, or not there.
    ///
    /// Unused space is written, not just reserved: overwriting blocks that exist needs no journal commit of the file
    /// system, which makes each later `fdatasync` about twice as fast.
    pub(crate) fn publish(dir: &Path, header: Header, records: &[u8], capacity: u64) -> Result<Segment> {
        let path = dir.join(name(header.number));
        let temporary = path.with_extension("tmp");
        files::remove_if_there(&temporary)?;
        let written = Self::write(&temporary, header, records, capacity).and_then(|segment| {
            fs::rename(&temporary, &path).at("rename", &temporary)?;
            Ok(Segment { path: path.clone(), ..segment })
        });
        if written.is_err() {
            // The first error is the one to tell; a left-over file is removed at the next attempt or start.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write(path: &Path, header: Header, records: &[u8], capacity: u64) -> Result<Segment> {
        let file = files::create_new(path)?;
        let mut content = header.encode();
        content.extend_from_slice(records);
        file.write_all_at(&content, 0).at("write", path)?;
        let end = content.len() as u64;
        let capacity = capacity.max(end);
        write_zeros(&file, end, capacity).at("write", path)?;
        file.sync_all().at("fsync", path)?;
        Ok(Segment { path: path.to_owned(), header, file, end, capacity })
    }

    /// Takes up a segment that was found sound, to append after `end`.
    ///
    /// What was read is served from now on, so it has to be durable: a process that was killed may have left it in the page
    /// cache only.
    pub(crate) fn adopt(path: PathBuf, header: Header, file: File, end: u64) -> Result<Segment> {
        let capacity = file.metadata().at("stat", &path)?.len();
        let segment = Segment { path, header, file, end, capacity };
        segment.sync()?;
        Ok(segment)
    }

    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.end + bytes as u64 <= self.capacity
    }

    pub(crate) fn used(&self) -> u64 {
        self.end
    }

    /// Writes, and makes durable when asked to. After an error nothing is known about the bytes at the end.
    pub(crate) fn append(&mut self, bytes: &[u8], promise: Promise) -> Result<()> {
        self.file.write_all_at(bytes, self.end).at("write", &self.path)?;
        if promise == Promise::Synced {
            self.sync()?;
        }
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes everything durable that was written.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().at("fdatasync", &self.path)
    }

    /// After a failed append: tries to make the bytes unreadable, so that a restart does not find what nobody was promised.
    pub(crate) fn cut(&self, bytes: usize) -> Result<()> {
        write_zeros(&self.file, self.end, (self.end + bytes as u64).min(self.capacity))
            .at("cut", &self.path)?;
        self.sync()
    }
}

fn write_zeros(file: &File, mut from: u64, to: u64) -> std::io::Result<()> {
    let zeros = vec![0; ZEROS.min(to.saturating_sub(from) as usize)];
    while from < to {
        let len = zeros.len().min((to - from) as usize);
        file.write_all_at(&zeros[..len], from)?;
        from += len as u64;
    }
    Ok(())
}

/// Reads the beginning of a segment, `limit` bytes at most.
pub(crate) fn read(path: &Path, file: &File, limit: u64) -> Result<Vec<u8>> {
    let len = file.metadata().at("stat", path)?.len().min(limit) as usize;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0).at("read", path)?;
    Ok(bytes)
}
