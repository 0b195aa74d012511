//! Making a tar.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tar::{Builder, EntryType, Header};

/// Writes a tar of `source` and all below it, whose entries begin with `name`.
///
/// Links stay links. Everything belongs to root and carries its own mode and time. Sockets are left out: they mean nothing
/// elsewhere.
pub(crate) fn pack(source: &Path, name: &OsStr, target: impl Write) -> anyhow::Result<()> {
    let mut tar = Builder::new(target);
    // Depth first, without recursion: a deep tree must not end the program.
    let mut waiting = vec![(source.to_owned(), PathBuf::from(name))];
    while let Some((path, entry)) = waiting.pop() {
        let metadata =
            fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        append(&mut tar, &path, &entry, &metadata)
            .with_context(|| format!("cannot pack {}", path.display()))?;
        if metadata.is_dir() {
            let children = fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for child in children {
                let child = child.with_context(|| format!("cannot read {}", path.display()))?;
                waiting.push((child.path(), entry.join(child.file_name())));
            }
        }
    }
    tar.into_inner().and_then(|mut target| target.flush()).context("cannot finish the tar")
}

fn append(
    tar: &mut Builder<impl Write>,
    path: &Path,
    entry: &Path,
    metadata: &Metadata,
) -> anyhow::Result<()> {
    let kind = metadata.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    let mut header = Header::new_gnu();
    header.set_metadata(metadata);
    header.set_uid(0);
    header.set_gid(0);
    if kind.is_file() {
        // The size may change while it is read: the header's counts, and a file that shrank is an error.
        let file = File::open(path)?;
        let size = metadata.len();
        header.set_size(size);
        let mut counted = Exactly { file, left: size };
        tar.append_data(&mut header, entry, &mut counted)?;
        anyhow::ensure!(counted.left == 0, "it shrank by {} bytes while it was read", counted.left);
    } else if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, entry, fs::read_link(path)?)?;
    } else {
        anyhow::ensure!(kind.is_dir() || kind.is_fifo(), "it is a device");
        header.set_size(0);
        tar.append_data(&mut header, entry, std::io::empty())?;
    }
    Ok(())
}

/// As many bytes of a file as its header says, of a file that grows; `left` are those that a shrinking one lacks.
struct Exactly {
    file: File,
    left: u64,
}

impl std::io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}
