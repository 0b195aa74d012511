//! Files below the scope's roots.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::objects::unless_gone;

/// Every entry below the roots, by path and type. Sizes and times are left out: a journal grows without a leak.
///
/// Other file systems mounted below a root are not entered: their mounts are looked at as such.
pub(super) fn below(roots: &[PathBuf]) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for root in roots {
        if let Some(metadata) = unless_gone(fs::metadata(root))? {
            walk(root, metadata.dev(), &mut found)?;
        }
    }
    Ok(found)
}

fn walk(directory: &Path, device: u64, found: &mut BTreeMap<String, String>) -> io::Result<()> {
    let Some(entries) = unless_gone(fs::read_dir(directory))? else { return Ok(()) };
    for entry in entries {
        let Some(entry) = unless_gone(entry)? else { break };
        let Some(metadata) = unless_gone(entry.metadata())? else { continue };
        let path = entry.path();
        found.insert(format!("{} {}", type_name(&metadata), path.display()), String::new());
        if metadata.is_dir() && metadata.dev() == device {
            walk(&path, device, found)?;
        }
    }
    Ok(())
}

fn type_name(metadata: &fs::Metadata) -> &'static str {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "link",
        () if kind.is_socket() => "socket",
        () if kind.is_fifo() => "fifo",
        () if kind.is_char_device() || kind.is_block_device() => "device",
        () => "file",
    }
}
