//! The way out: a tar is made of a file, or of a directory and all below it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::attributes::{self, Attribute};
use super::{named_by_errno, pax};
use crate::program::failure::{During, Result};
use crate::protocol::FailureKind;

/// `dir` gives entries `dir/...`, `dir/` and `dir/.` give entries `./...`, a file gives its name.
pub(super) fn stream_out(path: &Path, given: &[u8], stream: File) -> Result<()> {
    let during = || format!("read {}", path.display());
    let stat = std::fs::symlink_metadata(path).during(FailureKind::NoPath, during).map_err(named_by_errno)?;
    let contents_only = given.ends_with(b"/") || given.ends_with(b"/.") || path.file_name().is_none();
    let stat = if stat.is_symlink() && contents_only {
        std::fs::metadata(path).during(FailureKind::NoPath, during).map_err(named_by_errno)?
    } else {
        stat
    };
    let mut builder = Builder::new(io::BufWriter::with_capacity(64 * 1024, stream));
    builder.sparse(false);
    if stat.is_dir() && contents_only {
        rustix::process::chdir(path).during(FailureKind::NoPath, during).map_err(named_by_errno)?;
        append_tree(&mut builder, Path::new("."), Path::new("./"))?;
    } else {
        let name = path.file_name().map_or_else(|| PathBuf::from("."), PathBuf::from);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        rustix::process::chdir(parent).during(FailureKind::NoPath, during).map_err(named_by_errno)?;
        append_tree(&mut builder, &name, &name)?;
    }
    let mut writer = builder.into_inner().during(FailureKind::Internal, during)?;
    writer.flush().during(FailureKind::Internal, during)
}

/// The name of a directory, as archives have it.
fn with_slash(name: &Path) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    if !name.as_encoded_bytes().ends_with(b"/") {
        name.push("/");
    }
    name.into()
}

/// Appends a file, or a directory with everything below it; without recursion, so that depth costs no stack.
pub(super) fn append_tree<W: Write>(builder: &mut Builder<W>, from: &Path, as_name: &Path) -> Result<()> {
    let mut waiting = vec![(from.to_path_buf(), as_name.to_path_buf())];
    while let Some((path, name)) = waiting.pop() {
        let during = || format!("read {}", path.display());
        let stat =
            std::fs::symlink_metadata(&path).during(FailureKind::Internal, during).map_err(named_by_errno)?;
        if stat.is_dir() {
            let opened = open(&path, libc::O_DIRECTORY);
            // One that the user may not read is told of before that is an error.
            let attributes = opened
                .as_ref()
                .map_or_else(|_| Ok(Vec::new()), |directory| attributes_of(directory, during))?;
            append(builder, &stat, &attributes, &with_slash(&name), io::empty(), during)?;
            let children =
                opened.and_then(children).during(FailureKind::Internal, during).map_err(named_by_errno)?;
            waiting.extend(children.iter().rev().map(|child| (path.join(child), name.join(child))));
        } else if stat.is_symlink() {
            append_link(builder, &stat, &path, &name)?;
        } else if stat.is_file() {
            append_file(builder, &path, &name)?;
        } else if std::os::unix::fs::FileTypeExt::is_fifo(&stat.file_type()) {
            append(builder, &stat, &[], &name, io::empty(), during)?;
        }
        // Sockets and devices are left out: no archive of a user's files has a use for them.
    }
    Ok(())
}

/// Opens what is no link, and waits for nobody.
fn open(path: &Path, flags: i32) -> io::Result<File> {
    let flags = flags | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    File::options().read(true).custom_flags(flags).open(path)
}

/// Names in a directory, in order.
fn children(directory: File) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn append<W: Write>(
    builder: &mut Builder<W>,
    stat: &Metadata,
    attributes: &[Attribute],
    name: &Path,
    content: impl Read,
    during: impl Fn() -> String,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_metadata(stat);
    if !stat.is_file() {
        header.set_size(0);
    }
    append_attributes(builder, attributes).during(FailureKind::Internal, &during)?;
    name_entry(builder, &mut header, name).during(FailureKind::Internal, &during)?;
    builder.append(&header, content).during(FailureKind::Internal, during)
}

fn attributes_of(file: &File, during: impl Fn() -> String) -> Result<Vec<Attribute>> {
    let read = attributes::read(file);
    // An error that is not the kernel's is that of their number.
    let own = read.as_ref().is_err_and(|error| error.raw_os_error().is_none());
    read.during(if own { FailureKind::Exhausted } else { FailureKind::Internal }, during)
}

/// The extended attributes of the entry that follows. Links and FIFOs have none: the kernel gives `user.*` to files and
/// directories alone, and capabilities mean nothing elsewhere.
fn append_attributes<W: Write>(builder: &mut Builder<W>, attributes: &[Attribute]) -> io::Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    let records = pax::records(attributes);
    let mut header = Header::new_ustar();
    fill(&mut header.as_old_mut().name, b"././@PaxHeader");
    describe(&mut header, EntryType::XHeader, records.len());
    builder.append(&header, &records[..])
}

fn append_link<W: Write>(builder: &mut Builder<W>, stat: &Metadata, path: &Path, name: &Path) -> Result<()> {
    let during = || format!("read {}", path.display());
    let target = std::fs::read_link(path).during(FailureKind::Internal, during)?;
    let mut header = Header::new_gnu();
    header.set_metadata(stat);
    header.set_size(0);
    let target = target.as_os_str().as_encoded_bytes();
    if target.len() > NAME_FIELD {
        append_long(builder, EntryType::GNULongLink, target).during(FailureKind::Internal, during)?;
    }
    fill(&mut header.as_old_mut().linkname, target);
    name_entry(builder, &mut header, name).during(FailureKind::Internal, during)?;
    builder.append(&header, io::empty()).during(FailureKind::Internal, during)
}

/// Room for a name in a header; a longer one has an entry of its own before it.
const NAME_FIELD: usize = 100;

/// Names an entry exactly as given: the library would drop a leading `./`, which readers look for.
fn name_entry<W: Write>(builder: &mut Builder<W>, header: &mut Header, name: &Path) -> io::Result<()> {
    let name = name.as_os_str().as_encoded_bytes();
    if name.len() > NAME_FIELD {
        append_long(builder, EntryType::GNULongName, name)?;
    }
    fill(&mut header.as_old_mut().name, name);
    header.set_cksum();
    Ok(())
}

/// The whole of a name, or of a link's target, that does not fit the header of the entry that follows.
fn append_long<W: Write>(builder: &mut Builder<W>, kind: EntryType, text: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    fill(&mut header.as_old_mut().name, b"././@LongLink");
    describe(&mut header, kind, text.len() + 1);
    builder.append(&header, text.chain(&[0][..]))
}

/// Fills in the header of what belongs to the entry that follows.
fn describe(header: &mut Header, kind: EntryType, size: usize) {
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header.set_entry_type(kind);
    header.set_cksum();
}

/// As much as fits.
fn fill(field: &mut [u8; NAME_FIELD], text: &[u8]) {
    let length = text.len().min(NAME_FIELD);
    field[..length].copy_from_slice(&text[..length]);
    field[length..].fill(0);
}

/// Reads as many bytes as the header promised: a file that grows meanwhile gives no more, one that shrinks is an error.
fn append_file<W: Write>(builder: &mut Builder<W>, path: &Path, name: &Path) -> Result<()> {
    let during = || format!("read {}", path.display());
    let file = open(path, 0).during(FailureKind::Internal, during).map_err(named_by_errno)?;
    let stat = file.metadata().during(FailureKind::Internal, during)?;
    let attributes = attributes_of(&file, during)?;
    let mut exact = ExactReader { inner: file, left: stat.len() };
    append(builder, &stat, &attributes, name, &mut exact, during)
}

/// Gives exactly as many bytes as promised, or an error.
struct ExactReader {
    inner: File,
    left: u64,
}

impl Read for ExactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        match self.inner.read(&mut buffer[..wanted])? {
            0 => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"))
            }
            length => {
                self.left -= length as u64;
                Ok(length)
            }
        }
    }
}
