//! Opening files that nobody else can have put there, and making names durable.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{At, Error, Result};

/// Makes the directory if it is missing, for its owner alone, and checks what is there.
pub(crate) fn ensure_dir(path: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {
            sync_dir(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("create", path, &error)),
    }
    let metadata = fs::symlink_metadata(path).at("stat", path)?;
    if !metadata.is_dir() {
        return Err(wrong_type(path, metadata.file_type(), "a directory"));
    }
    check_owner(path, &metadata)
}

/// Opens a regular file of ours for reading and writing, never through a link; `None` when there is none.
pub(crate) fn open_existing(path: &Path) -> Result<Option<File>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(metadata) => return Err(wrong_type(path, metadata.file_type(), "a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("stat", path, &error)),
    }
    open_checked(path, OpenOptions::new().read(true).write(true)).map(Some)
}

/// Opens a regular file of ours, making it if it is missing.
pub(crate) fn open_or_create(path: &Path) -> Result<File> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(wrong_type(path, metadata.file_type(), "a regular file")),
        _ => open_checked(path, OpenOptions::new().read(true).write(true).create(true).truncate(false)),
    }
}

/// Makes a file that must not exist yet.
pub(crate) fn create_new(path: &Path) -> Result<File> {
    open_checked(path, OpenOptions::new().read(true).write(true).create_new(true))
}

fn open_checked(path: &Path, options: &mut OpenOptions) -> Result<File> {
    // O_NONBLOCK: should a fifo slip in between the check and the open, the open must not hang.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = options.mode(0o600).custom_flags(flags.bits() as i32).open(path).at("open", path)?;
    let metadata = file.metadata().at("stat", path)?;
    if !metadata.is_file() {
        return Err(wrong_type(path, metadata.file_type(), "a regular file"));
    }
    check_owner(path, &metadata)?;
    Ok(file)
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<()> {
    let expected = rustix::process::geteuid().as_raw();
    if metadata.uid() == expected {
        return Ok(());
    }
    Err(Error::WrongOwner { path: path.to_owned(), owner: metadata.uid(), expected })
}

fn wrong_type(path: &Path, found: FileType, expected: &'static str) -> Error {
    let found = match found {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_file() => "a regular file",
        kind if kind.is_fifo() => "a fifo",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Error::WrongType { path: path.to_owned(), found, expected }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).at("fsync", path)
}

/// Replaces a small file durably: after a crash there is the old content or the new, never a mixture.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write;
    let dir = path.parent().expect("every file of a store is in its directory");
    let temporary = path.with_extension("tmp");
    remove_if_there(&temporary)?;
    let mut file = create_new(&temporary)?;
    file.write_all(content).at("write", &temporary)?;
    file.sync_all().at("fsync", &temporary)?;
    fs::rename(&temporary, path).at("rename", path)?;
    sync_dir(dir)
}

/// Removes a file; succeeds when there is none.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, &error)),
        _ => Ok(()),
    }
}
