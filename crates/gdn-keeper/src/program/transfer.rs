//! Copies files into and out of a container, as a user, from inside.
//!
//! The work is done by a child that has joined the container's namespaces and become the user: no link, no mount and no
//! race inside can make it touch anything that the user could not touch himself. Nothing of the image is executed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, Timespec, Timestamps};
use rustix::io::Errno;
use tar::{Archive, Builder, EntryType, Header};

use super::exec::make_missing;
use super::failure::{During, Result, failure};
use crate::protocol::{FailureKind, Transfer};

/// The most that is written into a file at once. More gains nothing.
const MAX_WRITE: usize = 256 * 1024;

/// Below this a buffer gains nothing.
const MIN_WRITE: usize = 8 * 1024;

/// Two blocks of zeros end a complete archive.
const BLOCK: usize = 512;

/// Does the copy; the caller has already become the user and gone to his home.
pub(crate) fn run(transfer: &Transfer, stream: OwnedFd) -> Result<()> {
    let path = Path::new(std::ffi::OsStr::from_bytes(&transfer.path));
    if transfer.out {
        stream_out(path, &transfer.path, File::from(stream))
    } else {
        stream_in(path, transfer.uid, transfer.gid, File::from(stream))
    }
}

/// Tells a complete archive from one that was cut between two entries: that one ends where a header was looked for.
struct EndWatcher<R> {
    inner: R,
    /// Zero bytes at the end of what was read.
    trailing_zeros: usize,
    /// The stream has ended.
    ended: bool,
}

impl<R: Read> Read for EndWatcher<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.ended |= length == 0 && !buffer.is_empty();
        let zeros = buffer[..length].iter().rev().take_while(|byte| **byte == 0).count();
        self.trailing_zeros = if zeros == length { self.trailing_zeros + zeros } else { zeros };
        Ok(length)
    }
}

fn stream_in(target: &Path, uid: u32, gid: u32, stream: File) -> Result<()> {
    let during = || format!("extract into {}", target.display());
    make_target(target, uid, gid)?;
    rustix::process::chdir(target).during(kind_of_current(), during).map_err(named_by_errno)?;
    let mut watched = EndWatcher { inner: stream, trailing_zeros: 0, ended: false };
    let mut archive = Archive::new(&mut watched);
    let mut directories = Vec::new();
    for entry in archive.entries().during(FailureKind::BadArchive, during)? {
        let mut entry =
            entry.during(FailureKind::BadArchive, || format!("read the tar for {}", target.display()))?;
        extract(&mut entry, &mut directories)?;
    }
    // A file of zeros before the cut looks like the end mark. But the mark's first block was looked for as a header, and its
    // second one comes after that.
    let cut = watched.ended;
    watched.trailing_zeros = 0;
    // Modes and times of directories last: extracting into them needs them writable, and changes their times.
    for (path, mode, time) in directories.into_iter().rev() {
        finish_directory(&path, mode, time)?;
    }
    // The sender may pad; whatever follows must be zeros, and the end mark must be there.
    io::copy(&mut watched, &mut io::sink()).during(FailureKind::BadArchive, during)?;
    if cut || watched.trailing_zeros < BLOCK {
        return Err(failure(
            FailureKind::BadArchive,
            format!("extract into {}: the tar is cut off", target.display()),
        ));
    }
    Ok(())
}

/// The destination is made as the user's, below whatever parent there is.
fn make_target(target: &Path, uid: u32, gid: u32) -> Result<()> {
    if target.is_dir() {
        return Ok(());
    }
    make_missing(target.as_os_str().as_bytes(), uid, gid)
        .during(FailureKind::Internal, || format!("make directory {}", target.display()))
        .map_err(named_by_errno)
}

fn kind_of_current() -> FailureKind {
    FailureKind::Internal
}

/// The errors that clients tell apart.
fn named_by_errno(mut failure: crate::protocol::Failure) -> crate::protocol::Failure {
    let kind = match failure.errno {
        libc::EACCES | libc::EPERM | libc::EROFS => FailureKind::Permission,
        libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG => FailureKind::NoPath,
        libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE => FailureKind::Exhausted,
        _ => return failure,
    };
    failure.kind = kind.into();
    failure
}

/// A path of the archive, relative, without `..`: what it names is made below the current directory.
fn relative(path: &Path) -> Result<PathBuf> {
    let mut clean = PathBuf::from(".");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                return Err(failure(
                    FailureKind::BadArchive,
                    format!("entry {} of the tar contains ..", path.display()),
                ));
            }
        }
    }
    Ok(clean)
}

type Directory = (PathBuf, u32, i64);

fn extract<R: Read>(entry: &mut tar::Entry<'_, R>, directories: &mut Vec<Directory>) -> Result<()> {
    let name = entry.path().during(FailureKind::BadArchive, || "read an entry's name".into())?.into_owned();
    let during = || format!("extract {}", name.display());
    let path = relative(&name)?;
    let mode = entry.header().mode().during(FailureKind::BadArchive, during)? & 0o7777;
    let time = entry.header().mtime().during(FailureKind::BadArchive, during)?.cast_signed();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).during(FailureKind::Internal, during).map_err(named_by_errno)?;
    }
    let kind = entry.header().entry_type();
    let mut written = None;
    let made = match kind {
        EntryType::Directory => {
            directories.push((path.clone(), mode, time));
            make_directory(&path)
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let xattrs = entry.pax_extensions().ok().flatten().map(collect_xattrs).unwrap_or_default();
            let size = entry.size();
            write_file(entry, size, &path, &xattrs).map(|file| written = Some(file))
        }
        EntryType::Symlink | EntryType::Link => {
            let link = entry.link_name().during(FailureKind::BadArchive, during)?;
            let link = link.ok_or_else(|| {
                failure(FailureKind::BadArchive, format!("{}: the link has no target", during()))
            })?;
            remove_existing(&path).and_then(|()| match kind {
                EntryType::Symlink => std::os::unix::fs::symlink(&link, &path),
                _ => match relative(&link) {
                    Ok(existing) => std::fs::hard_link(existing, &path),
                    Err(failure) => Err(io::Error::other(failure.what)),
                },
            })
        }
        EntryType::Fifo => remove_existing(&path).and_then(|()| {
            Ok(rustix::fs::mknodat(
                rustix::fs::CWD,
                &path,
                rustix::fs::FileType::Fifo,
                Mode::from_raw_mode(mode),
                0,
            )?)
        }),
        // Device nodes cannot be made in a user namespace, and nobody who copies files means them.
        EntryType::Block | EntryType::Char => {
            return Err(failure(FailureKind::BadArchive, format!("{}: it is a device", during())));
        }
        _ => return Ok(()),
    };
    made.during(FailureKind::Internal, during).map_err(named_by_errno)?;
    match written {
        Some(file) => finish(&file, &path, mode, time),
        None => Ok(()),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            std::fs::create_dir(path)
        }
        other => other,
    }
}

fn remove_existing(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

type Xattrs = Vec<(String, Vec<u8>)>;

fn collect_xattrs(extensions: tar::PaxExtensions<'_>) -> Xattrs {
    extensions
        .flatten()
        .filter_map(|extension| {
            let name = extension.key().ok()?.strip_prefix("SCHILY.xattr.")?.to_owned();
            Some((name, extension.value_bytes().to_vec()))
        })
        .collect()
}

fn write_file(content: &mut impl Read, size: u64, path: &Path, xattrs: &Xattrs) -> io::Result<File> {
    remove_existing(path)?;
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let file = File::options().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
    // Its buffer is where the content is read to.
    let piece = usize::try_from(size).unwrap_or(MAX_WRITE).clamp(MIN_WRITE, MAX_WRITE);
    let mut writer = io::BufWriter::with_capacity(piece, file);
    io::copy(content, &mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    for (name, value) in xattrs {
        match rustix::fs::fsetxattr(&file, name.as_str(), value, rustix::fs::XattrFlags::empty()) {
            // As GNU tar does for names that the file system or the user may not have.
            Err(Errno::OPNOTSUPP | Errno::PERM) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(file)
}

/// As [`finish`], for a directory, unless somebody has put something else into its place meanwhile.
fn finish_directory(path: &Path, mode: u32, time: i64) -> Result<()> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let directory = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .during(FailureKind::Internal, || format!("finish {}", path.display()))
        .map_err(named_by_errno)?;
    finish(&directory, path, mode, time)
}

/// Sets what the umask leaves of the mode (as `tar --no-same-permissions`), and the time.
fn finish(file: &File, path: &Path, mode: u32, time: i64) -> Result<()> {
    let during = || format!("finish {}", path.display());
    let umask = rustix::process::umask(Mode::from_raw_mode(0o022)).bits();
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777 & !umask))
        .during(FailureKind::Internal, during)
        .map_err(named_by_errno)?;
    let time = Timespec { tv_sec: time, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::futimens(file, &times).during(FailureKind::Internal, during)
}

/// `dir` gives entries `dir/...`, `dir/` and `dir/.` give entries `./...`, a file gives its name.
fn stream_out(path: &Path, given: &[u8], stream: File) -> Result<()> {
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
fn append_tree<W: Write>(builder: &mut Builder<W>, from: &Path, as_name: &Path) -> Result<()> {
    let mut waiting = vec![(from.to_path_buf(), as_name.to_path_buf())];
    while let Some((path, name)) = waiting.pop() {
        let during = || format!("read {}", path.display());
        let stat =
            std::fs::symlink_metadata(&path).during(FailureKind::Internal, during).map_err(named_by_errno)?;
        if stat.is_dir() {
            append(builder, &stat, &with_slash(&name), |_, header| header.set_size(0), io::empty(), during)?;
            let mut children = std::fs::read_dir(&path)
                .and_then(|entries| entries.collect::<io::Result<Vec<_>>>())
                .during(FailureKind::Internal, during)
                .map_err(named_by_errno)?;
            children.sort_by_key(std::fs::DirEntry::file_name);
            waiting.extend(
                children
                    .iter()
                    .rev()
                    .map(|child| (path.join(child.file_name()), name.join(child.file_name()))),
            );
        } else if stat.is_symlink() {
            append_link(builder, &stat, &path, &name)?;
        } else if stat.is_file() {
            append_file(builder, &path, &name)?;
        } else if std::os::unix::fs::FileTypeExt::is_fifo(&stat.file_type()) {
            append(builder, &stat, &name, |_, header| header.set_size(0), io::empty(), during)?;
        }
        // Sockets and devices are left out: no archive of a user's files has a use for them.
    }
    Ok(())
}

fn append<W: Write>(
    builder: &mut Builder<W>,
    stat: &std::fs::Metadata,
    name: &Path,
    adjust: impl FnOnce(&std::fs::Metadata, &mut Header),
    content: impl Read,
    during: impl Fn() -> String,
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_metadata(stat);
    adjust(stat, &mut header);
    name_entry(builder, &mut header, name).during(FailureKind::Internal, &during)?;
    builder.append(&header, content).during(FailureKind::Internal, during)
}

fn append_link<W: Write>(
    builder: &mut Builder<W>,
    stat: &std::fs::Metadata,
    path: &Path,
    name: &Path,
) -> Result<()> {
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
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(text.len() as u64 + 1);
    header.set_entry_type(kind);
    header.set_cksum();
    builder.append(&header, text.chain(&[0][..]))
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
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .during(FailureKind::Internal, during)
        .map_err(named_by_errno)?;
    let stat = file.metadata().during(FailureKind::Internal, during)?;
    let size = stat.len();
    let mut exact = ExactReader { inner: file, left: size };
    append(builder, &stat, name, |_, header| header.set_size(size), &mut exact, during)
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
