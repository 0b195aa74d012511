//! The random name that a store gets at its first start and keeps.
//!
//! Every segment's header carries it; the file is a second copy, for people and for the day the segments are gone.

use std::path::Path;

use crate::error::{At, Result};
use crate::files;

/// `engine <16 hex digits> <8 hex digits of crc32>` and a newline.
const LEN: usize = 7 + 16 + 1 + 8 + 1;

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Engine(u64),
    Damaged,
    Missing,
}

pub(crate) fn read(path: &Path) -> Result<Stored> {
    use std::io::Read;
    let Some(file) = files::open_existing(path)? else { return Ok(Stored::Missing) };
    let mut bytes = Vec::new();
    file.take(LEN as u64 + 1).read_to_end(&mut bytes).at("read", path)?;
    Ok(parse(&bytes).map_or(Stored::Damaged, Stored::Engine))
}

pub(crate) fn write(path: &Path, engine: u64) -> Result<()> {
    files::replace(path, text(engine).as_bytes())
}

fn text(engine: u64) -> String {
    let body = format!("engine {engine:016x}");
    format!("{body} {:08x}\n", crc32fast::hash(body.as_bytes()))
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(bytes).ok()?.strip_prefix("engine ")?.split(' ').next()?;
    let engine = u64::from_str_radix(digits, 16).ok()?;
    (text(engine).as_bytes() == bytes).then_some(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_anything_else_is_damaged() {
        let written = text(0xabc);
        assert_eq!(written.len(), LEN);
        assert_eq!(parse(written.as_bytes()), Some(0xabc));
        for at in 0..LEN {
            let mut bytes = written.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), None, "byte {at}");
        }
        assert_eq!(parse(b""), None);
    }
}
