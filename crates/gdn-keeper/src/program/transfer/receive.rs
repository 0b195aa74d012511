//! The way in: a tar is extracted below a directory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, Timespec, Timestamps};
use tar::EntryType;

use super::archive::{Archive, Member};
use super::attributes::{self, Attribute};
use super::named_by_errno;
use crate::program::exec::make_missing;
use crate::program::failure::{During, Result, failure};
use crate::protocol::FailureKind;

/// The most that is written into a file at once. More gains nothing.
const MAX_WRITE: usize = 256 * 1024;

/// Below this a buffer gains nothing.
const MIN_WRITE: usize = 8 * 1024;

pub(super) fn stream_in(target: &Path, uid: u32, gid: u32, stream: impl Read) -> Result<()> {
    let during = || format!("extract into {}", target.display());
    make_target(target, uid, gid)?;
    rustix::process::chdir(target).during(FailureKind::Internal, during).map_err(named_by_errno)?;
    let mut archive = Archive::new(stream);
    let mut directories = Vec::new();
    while let Some(mut member) = archive.next().during(FailureKind::BadArchive, during)? {
        let attributes = std::mem::take(&mut member.attributes);
        archive
            .content(&member, |content, size| extract(&member, attributes, content, size, &mut directories))
            .during(FailureKind::BadArchive, during)??;
    }
    // Modes and times of directories last: extracting into them needs them writable, and changes their times.
    for (path, mode, time) in directories.into_iter().rev() {
        finish_directory(&path, mode, time)?;
    }
    archive.finish().during(FailureKind::BadArchive, during)
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

fn extract(
    member: &Member,
    attributes: Vec<Attribute>,
    content: &mut dyn Read,
    size: u64,
    directories: &mut Vec<Directory>,
) -> Result<()> {
    let name = path_of(&member.path);
    let during = || format!("extract {}", name.display());
    let path = relative(name)?;
    let mode = member.header.mode().during(FailureKind::BadArchive, during)? & 0o7777;
    let time = member.header.mtime().during(FailureKind::BadArchive, during)?.cast_signed();
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).during(FailureKind::Internal, during).map_err(named_by_errno)?;
    }
    let kind = member.header.entry_type();
    let mut written = None;
    let made = match kind {
        EntryType::Directory => {
            directories.push((path.clone(), mode, time));
            make_directory(&path).and_then(|()| {
                if attributes.is_empty() {
                    return Ok(());
                }
                attributes::set_of_directory(open_directory(&path)?, attributes)
            })
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            write_file(content, size, &path, &attributes).map(|file| written = Some(file))
        }
        EntryType::Symlink | EntryType::Link => {
            let link = member.link.as_deref().map(path_of).ok_or_else(|| {
                failure(FailureKind::BadArchive, format!("{}: the link has no target", during()))
            })?;
            remove_existing(&path).and_then(|()| match kind {
                EntryType::Symlink => std::os::unix::fs::symlink(link, &path),
                _ => match relative(link) {
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

fn path_of(name: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(name))
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

fn write_file(content: &mut dyn Read, size: u64, path: &Path, attributes: &[Attribute]) -> io::Result<File> {
    remove_existing(path)?;
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let file = File::options().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
    // Its buffer is where the content is read to.
    let piece = usize::try_from(size).unwrap_or(MAX_WRITE).clamp(MIN_WRITE, MAX_WRITE);
    let mut writer = io::BufWriter::with_capacity(piece, file);
    io::copy(content, &mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    attributes::set(&file, attributes)?;
    Ok(file)
}

/// Opens a directory that was made here, unless somebody has put something else into its place meanwhile.
fn open_directory(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    File::options().read(true).custom_flags(flags).open(path)
}

/// As [`finish`], for a directory.
fn finish_directory(path: &Path, mode: u32, time: i64) -> Result<()> {
    let directory = open_directory(path)
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
