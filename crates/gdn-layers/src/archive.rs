//! The tar format: headers with their extensions, one entry after the other.
//!
//! Fields of a header are decoded by the `tar` crate. Walking the archive is done here, because two readers that disagree
//! about an entry's size or name make two different archives: an extension given twice, or in two ways, is refused.

use std::io::Read;

use crate::error::printable;
use crate::pax::Extended;
use crate::{Error, Limits, Result};

/// Size of a tar block, in bytes.
const BLOCK: usize = 512;

/// One entry of an archive; its content follows in the stream.
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    pub(crate) fn name(&self) -> String {
        printable(&self.path)
    }
}

pub(crate) enum Kind {
    File { size: u64 },
    Directory,
    Symlink { target: Vec<u8> },
    HardLink { target: Vec<u8> },
    Fifo,
    Device,
}

/// Walks an archive.
pub(crate) struct Archive<R> {
    reader: R,
    limits: Limits,
    /// Content of the current entry that was not read yet, and the padding behind it.
    remaining: u64,
    padding: u64,
    entries: u64,
    end_mark: bool,
    /// Name of the entry begun last, for messages.
    current: String,
}

/// Extension headers seen before the entry they belong to.
#[derive(Default)]
struct Extensions {
    pax: Option<Extended>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    bytes: u64,
}

impl Extensions {
    fn any(&self) -> bool {
        self.pax.is_some() || self.long_path.is_some() || self.long_link.is_some()
    }
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R, limits: Limits) -> Self {
        Archive {
            reader,
            limits,
            remaining: 0,
            padding: 0,
            entries: 0,
            end_mark: false,
            current: String::new(),
        }
    }

    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    /// Whether the blocks of zeros that end an archive were seen.
    pub(crate) fn has_end_mark(&self) -> bool {
        self.end_mark
    }

    /// The next entry; at the end of the archive, everything behind it was read and found to be padding.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return if extensions.any() {
                    Err(self.malformed("an extended header describes nothing"))
                } else {
                    Ok(None)
                };
            };
            self.count_entry()?;
            if !self.extension(&header, &mut extensions)? {
                return self.entry(&header, extensions).map(Some);
            }
        }
    }

    /// Reads content of the current entry; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self
            .reader
            .read(&mut buffer[..wanted])
            .map_err(|error| Error::read(self.current.clone(), error))?;
        if read == 0 {
            return Err(Error::Truncated { entry: self.current.clone() });
        }
        self.remaining -= read as u64;
        Ok(read)
    }

    fn skip_rest(&mut self) -> Result<()> {
        self.remaining += std::mem::take(&mut self.padding);
        let mut waste = [0; 16 * 1024];
        while self.read(&mut waste)? > 0 {}
        Ok(())
    }

    /// The next header block, its checksum verified; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<tar::Header>> {
        let mut header = tar::Header::new_old();
        let read = self.fill(header.as_mut_bytes())?;
        if read == 0 {
            return Ok(None);
        }
        if read < BLOCK {
            return Err(Error::Truncated { entry: self.current.clone() });
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.only_zeros_follow()?;
            self.end_mark = true;
            return Ok(None);
        }
        let sum: u32 = header
            .as_bytes()
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                // The checksum counts its own field as blanks.
                if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) }
            })
            .sum();
        match header.cksum() {
            Ok(stored) if stored == sum => Ok(Some(header)),
            _ => Err(self.malformed("a header has a wrong checksum")),
        }
    }

    fn only_zeros_follow(&mut self) -> Result<()> {
        let mut block = [0; 16 * 1024];
        loop {
            let read = self.fill(&mut block)?;
            if block[..read].iter().any(|byte| *byte != 0) {
                return Err(Error::TrailingData { entry: self.current.clone() });
            }
            if read < block.len() {
                return Ok(());
            }
        }
    }

    /// Fills a buffer as far as the stream goes.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read(self.current.clone(), error)),
            }
        }
        Ok(filled)
    }

    fn count_entry(&mut self) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.limit("entries", self.limits.entries));
        }
        Ok(())
    }

    /// Reads the header's content when it is an extension of a later entry; `false` when it is an entry itself.
    fn extension(&mut self, header: &tar::Header, extensions: &mut Extensions) -> Result<bool> {
        let twice = "two extended headers of one kind describe it";
        match header.entry_type().as_byte() {
            b'x' => {
                let data = self.metadata(header, extensions)?;
                let pax = Extended::parse(&data).map_err(|reason| self.malformed(reason))?;
                if extensions.pax.replace(pax).is_some() {
                    return Err(self.malformed(twice));
                }
            }
            b'g' => {
                let data = self.metadata(header, extensions)?;
                let global = Extended::parse(&data).map_err(|reason| self.malformed(reason))?;
                if global.is_structural() {
                    return Err(self.malformed("a global header changes names, sizes or attributes"));
                }
            }
            kind @ (b'L' | b'K') => {
                let mut name = self.metadata(header, extensions)?;
                name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                let slot = if kind == b'L' { &mut extensions.long_path } else { &mut extensions.long_link };
                if slot.replace(name).is_some() {
                    return Err(self.malformed(twice));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn metadata(&mut self, header: &tar::Header, extensions: &mut Extensions) -> Result<Vec<u8>> {
        let size =
            header.entry_size().map_err(|_| self.malformed("an extended header has no readable size"))?;
        extensions.bytes = extensions.bytes.saturating_add(size);
        if extensions.bytes > self.limits.metadata {
            return Err(self.limit("bytes of metadata", self.limits.metadata));
        }
        self.begin_content(size);
        let mut data = vec![
            0;
            usize::try_from(size)
                .map_err(|_| self.limit("bytes of metadata", self.limits.metadata))?
        ];
        let mut filled = 0;
        while filled < data.len() {
            filled += self.read(&mut data[filled..])?;
        }
        Ok(data)
    }

    fn begin_content(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn entry(&mut self, header: &tar::Header, extensions: Extensions) -> Result<Entry> {
        let pax = extensions.pax.unwrap_or_default();
        if (pax.path.is_some() && extensions.long_path.is_some())
            || (pax.link.is_some() && extensions.long_link.is_some())
        {
            return Err(self.malformed("it has a long name in two ways"));
        }
        let path = pax.path.or(extensions.long_path).unwrap_or_else(|| header.path_bytes().into_owned());
        self.current = printable(&path);
        if pax.sparse {
            return Err(Error::Unsupported { entry: self.current.clone(), what: "sparse files are" });
        }
        if pax.xattrs.len() > self.limits.xattrs {
            return Err(self.limit("extended attributes", self.limits.xattrs as u64));
        }
        let target = pax
            .link
            .or(extensions.long_link)
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let size = match pax.size {
            Some(size) => size,
            None => header.entry_size().map_err(|_| self.malformed("its size cannot be read"))?,
        };
        let kind = self.kind(header, &path, target, size)?;
        Ok(Entry {
            mode: or_zero(&header.as_old().mode, || header.mode())
                .map_err(|_| self.malformed("its mode cannot be read"))?
                & 0o7777,
            uid: self.id(pax.uid.map_or_else(|| or_zero(&header.as_old().uid, || header.uid()), Ok))?,
            gid: self.id(pax.gid.map_or_else(|| or_zero(&header.as_old().gid, || header.gid()), Ok))?,
            mtime: match pax.mtime {
                Some(time) => time,
                None => (self.seconds(header)?, 0),
            },
            xattrs: pax.xattrs,
            path,
            kind,
        })
    }

    fn kind(
        &mut self,
        header: &tar::Header,
        path: &[u8],
        target: Option<Vec<u8>>,
        size: u64,
    ) -> Result<Kind> {
        let target = target.filter(|target| !target.is_empty());
        let no_target = "it is a link without a target";
        let kind = match header.entry_type().as_byte() {
            // Before ustar a directory was a file with a slash at the end of its name, and GNU tar still reads it so.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File { size },
            // GNU tar and Go agree that a hard link has no content whatever its size says.
            b'1' => return Ok(Kind::HardLink { target: target.ok_or_else(|| self.malformed(no_target))? }),
            b'2' => Kind::Symlink { target: target.ok_or_else(|| self.malformed(no_target))? },
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            b'S' => return Err(Error::Unsupported { entry: self.current.clone(), what: "sparse files are" }),
            _ => return Err(Error::Unsupported { entry: self.current.clone(), what: "its type is" }),
        };
        match kind {
            Kind::File { size } => {
                if size > self.limits.bytes {
                    return Err(self.limit("uncompressed bytes", self.limits.bytes));
                }
                self.begin_content(size);
            }
            _ if size != 0 => return Err(self.malformed("it is no file and yet has content")),
            _ => {}
        }
        Ok(kind)
    }

    fn id(&self, id: std::io::Result<u64>) -> Result<u32> {
        let id = id.map_err(|_| self.malformed("its owner cannot be read"))?;
        // The highest number means "leave as it is" to chown(2).
        u32::try_from(id)
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| self.malformed("its owner is out of range"))
    }

    fn seconds(&self, header: &tar::Header) -> Result<i64> {
        let seconds = or_zero(&header.as_old().mtime, || header.mtime())
            .map_err(|_| self.malformed("its time cannot be read"))?;
        i64::try_from(seconds).map_err(|_| self.malformed("its time is out of range"))
    }

    fn malformed(&self, reason: &'static str) -> Error {
        Error::Malformed { entry: self.current.clone(), reason }
    }

    fn limit(&self, what: &'static str, limit: u64) -> Error {
        Error::Limit { entry: self.current.clone(), what, limit }
    }
}

/// A number of a header. Left blank it is 0, as Go reads it: some writers leave out what is 0.
fn or_zero<T: Default>(field: &[u8], read: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(T::default()) } else { read() }
}
