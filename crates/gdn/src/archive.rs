//! Tars of this side of `gdn cp`: made from files here, extracted to files here.
//!
//! A tar that comes out of a container was made by whoever runs in there. Extracting it follows no link and no `..`, makes
//! no device, and gives nobody a set-user-id program.

mod extract;
mod pack;

use tar::{EntryType, Header};

pub(crate) use extract::extract;
pub(crate) use pack::pack;

/// Size of a tar block, in bytes.
const BLOCK: usize = 512;

/// The kind of a tar's first entry, behind what describes it; `None` while too little of the tar is known.
pub(crate) fn first_kind(tar: &[u8]) -> Option<EntryType> {
    let mut rest = tar;
    loop {
        let header = Header::from_byte_slice(rest.get(..BLOCK)?);
        let kind = header.entry_type();
        if !(kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink()) {
            return Some(kind);
        }
        let size = usize::try_from(header.entry_size().ok()?).ok()?;
        rest = rest.get(size.checked_next_multiple_of(BLOCK)?.checked_add(BLOCK)?..)?;
    }
}

#[cfg(test)]
mod tests;
