//! The compressed stream: measured on both sides of the decompressor.

use std::cell::{Cell, RefCell};
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use crate::digest::Hasher;
use crate::error::LimitReached;
use crate::{Digest, Error, Limits, Result};

/// Read size on both sides of the decompressor: large enough that hashing and system calls come in long runs.
const BUFFER: usize = 128 * 1024;

/// The largest zstd window accepted, as a power of two: 128 MiB, the format's own recommendation for decoders.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Digest and length of what went through a stream so far.
#[derive(Default)]
struct Meter {
    hasher: RefCell<Hasher>,
    bytes: Cell<u64>,
}

impl Meter {
    fn add(&self, bytes: &[u8]) {
        self.hasher.borrow_mut().update(bytes);
        self.bytes.set(self.bytes.get() + bytes.len() as u64);
    }

    fn finish(&self) -> (Digest, u64) {
        (self.hasher.take().finish(), self.bytes.get())
    }
}

/// Reads a layer, whatever it is compressed with.
pub(crate) struct LayerReader<'a> {
    decoder: BufReader<Bounded<'a>>,
    compressed: Rc<Meter>,
    uncompressed: Rc<Meter>,
}

/// Digests and lengths of a layer that was read to its end.
pub(crate) struct Measured {
    pub(crate) digest: Digest,
    pub(crate) compressed_bytes: u64,
    pub(crate) diff_id: Digest,
    pub(crate) bytes: u64,
}

impl<'a> LayerReader<'a> {
    pub(crate) fn new(source: impl Read + 'a, limits: &Limits) -> Result<Self> {
        let compressed = Rc::new(Meter::default());
        let uncompressed = Rc::new(Meter::default());
        let metered = Metered { source, meter: Rc::clone(&compressed) };
        let decoder = decompress(metered)?;
        let bounded = Bounded {
            source: decoder,
            compressed: Rc::clone(&compressed),
            meter: Rc::clone(&uncompressed),
            bytes: limits.bytes,
            ratio: limits.ratio,
        };
        Ok(LayerReader { decoder: BufReader::with_capacity(BUFFER, bounded), compressed, uncompressed })
    }

    /// The digests; meaningful only when the stream was read to its end.
    pub(crate) fn measured(&self) -> Measured {
        let (digest, compressed_bytes) = self.compressed.finish();
        let (diff_id, bytes) = self.uncompressed.finish();
        Measured { digest, compressed_bytes, diff_id, bytes }
    }
}

impl Read for LayerReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}

/// Chooses the decompressor by the stream's first bytes. A stream of none of them is taken as plain tar.
fn decompress<'a>(source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let failed = |source| Error::read(String::new(), source);
    let mut source = BufReader::with_capacity(BUFFER, source);
    let mut start = Vec::with_capacity(6);
    source.by_ref().take(6).read_to_end(&mut start).map_err(failed)?;
    let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(start.clone()).chain(source));
    match start.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(whole).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
            Ok(Box::new(decoder))
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(unsupported("xz compression is")),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err(unsupported("bzip2 compression is")),
        _ => Ok(Box::new(whole)),
    }
}

fn unsupported(what: &'static str) -> Error {
    Error::Unsupported { entry: String::new(), what }
}

/// Measures what is read.
struct Metered<R> {
    source: R,
    meter: Rc<Meter>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.meter.add(&buffer[..read]);
        Ok(read)
    }
}

/// Measures what is decompressed, and stops at the limits.
struct Bounded<'a> {
    source: Box<dyn Read + 'a>,
    compressed: Rc<Meter>,
    meter: Rc<Meter>,
    bytes: u64,
    ratio: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.meter.add(&buffer[..read]);
        let total = self.meter.bytes.get();
        if total > self.bytes {
            return Err(io::Error::other(LimitReached { what: "uncompressed bytes", limit: self.bytes }));
        }
        if total > Limits::RATIO_FROM && total / self.ratio.max(1) > self.compressed.bytes.get() {
            return Err(io::Error::other(LimitReached {
                what: "times its compressed size",
                limit: self.ratio,
            }));
        }
        Ok(read)
    }
}
