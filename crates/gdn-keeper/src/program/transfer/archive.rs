//! Walks a tar that nobody vouches for.
//!
//! Headers and sparse files are decoded by the `tar` crate. Extended headers are not: it looks for the end of a record by its
//! newline, which values may hold, so that what a file has as an attribute could pass for another record.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::BLOCK;
use super::attributes::Attribute;
use super::pax::Extended;

/// Most bytes of a long name or an extended header: twice what attributes come out.
const MAX_EXTENSION: u64 = 2 * super::attributes::MAX_BYTES as u64;

/// One entry of an archive, whose content follows.
pub(super) struct Member {
    pub(super) header: Header,
    pub(super) path: Vec<u8>,
    /// The target of a link.
    pub(super) link: Option<Vec<u8>>,
    pub(super) attributes: Vec<Attribute>,
}

/// An archive that is read from its beginning to its end mark.
pub(super) struct Archive<R> {
    stream: Watched<R>,
}

/// Tells a stream that ends from one that has given all that was asked of it.
struct Watched<R> {
    inner: R,
    /// Zero bytes at the end of what was read.
    trailing_zeros: usize,
    /// The stream has ended.
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.ended |= length == 0 && !buffer.is_empty();
        let zeros = buffer[..length].iter().rev().take_while(|byte| **byte == 0).count();
        self.trailing_zeros = if zeros == length { self.trailing_zeros + zeros } else { zeros };
        Ok(length)
    }
}

/// Extension headers seen before the entry they belong to.
#[derive(Default)]
struct Extensions {
    pax: Option<Extended>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(stream: R) -> Self {
        Archive { stream: Watched { inner: stream, trailing_zeros: 0, ended: false } }
    }

    /// The next entry; `None` at the end mark.
    pub(super) fn next(&mut self) -> io::Result<Option<Member>> {
        let mut extensions = Extensions::default();
        let mut extended = false;
        while let Some(header) = self.header()? {
            match header.entry_type() {
                EntryType::XHeader => {
                    let pax = Extended::parse(&self.extension(&header)?).map_err(malformed)?;
                    once(&mut extensions.pax, pax)?;
                }
                EntryType::GNULongName => once(&mut extensions.long_path, self.extension(&header)?)?,
                EntryType::GNULongLink => once(&mut extensions.long_link, self.extension(&header)?)?,
                _ => return Self::member(header, extensions).map(Some),
            }
            extended = true;
        }
        if extended { Err(malformed("an extended header describes nothing")) } else { Ok(None) }
    }

    /// Lets `take` read the content of the entry that came last, and its size; leaves out what it does not read.
    pub(super) fn content<T>(
        &mut self,
        member: &Member,
        take: impl FnOnce(&mut dyn Read, u64) -> T,
    ) -> io::Result<T> {
        // An archive of one entry: its header once more, now with the size that counts.
        let mut alone = tar::Archive::new(member.header.as_bytes().chain(&mut self.stream));
        let mut entry = alone.entries()?.next().unwrap_or_else(|| Err(cut()))?;
        let size = entry.size();
        let taken = take(&mut entry, size);
        io::copy(&mut entry, &mut io::sink())?;
        if self.stream.ended {
            return Err(cut());
        }
        self.skip_padding(member.header.entry_size()?)?;
        Ok(taken)
    }

    /// Reads what follows the end mark's first block: its second one, and zeros that the sender may pad with.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.stream.trailing_zeros = 0;
        io::copy(&mut self.stream, &mut io::sink())?;
        if self.stream.trailing_zeros < BLOCK { Err(cut()) } else { Ok(()) }
    }

    /// The next header block, its checksum verified; `None` for a block of zeros, which begins the end mark.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        self.fill(header.as_mut_bytes())?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The checksum counts its own field as blanks.
        let summed = bytes[..148].iter().chain(&[b' '; 8]).chain(&bytes[156..]);
        if header.cksum()? != summed.map(|byte| u32::from(*byte)).sum::<u32>() {
            return Err(malformed("a header has a wrong checksum"));
        }
        Ok(Some(header))
    }

    fn extension(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let size = header.entry_size()?;
        if size > MAX_EXTENSION {
            return Err(malformed("an extended header is too long"));
        }
        let mut data = Vec::new();
        (&mut self.stream).take(size).read_to_end(&mut data)?;
        if (data.len() as u64) < size {
            return Err(cut());
        }
        self.skip_padding(size)?;
        Ok(data)
    }

    fn member(mut header: Header, extensions: Extensions) -> io::Result<Member> {
        let pax = extensions.pax.unwrap_or_default();
        let named = |long: Option<Vec<u8>>| {
            long.map(|mut name| {
                name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                name
            })
        };
        let path =
            named(extensions.long_path).or(pax.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = named(extensions.long_link)
            .or(pax.link)
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        if let Some(size) = pax.size {
            header.set_size(size);
            header.set_cksum();
        }
        Ok(Member { header, path, link, attributes: pax.attributes })
    }

    fn skip_padding(&mut self, size: u64) -> io::Result<()> {
        let padding = (size.wrapping_neg() % BLOCK as u64) as usize;
        self.fill(&mut [0; BLOCK][..padding])
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match self.stream.read_exact(buffer) {
            Err(_) if self.stream.ended => Err(cut()),
            filled => filled,
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> io::Result<()> {
    match slot.replace(value) {
        Some(_) => Err(malformed("two extended headers of one kind describe one entry")),
        None => Ok(()),
    }
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut() -> io::Error {
    malformed("the tar is cut off")
}
