//! Extracting a tar that nobody vouches for.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

/// Nothing below the target is ever reached through a link, a magic link or `..`.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// What came of an extraction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extracted {
    /// How many entries were made.
    pub(crate) entries: u64,
    /// Entries that were left out, because they are devices or of a kind unknown here.
    pub(crate) skipped: Vec<PathBuf>,
}

/// Extracts below the directory `target`, which exists; with `name`, the first component of each entry becomes that name.
///
/// Files belong to the caller, without set-user-id and set-group-id bits. What is in the way and no directory is replaced.
///
/// # Errors
/// The first entry that leads out of `target` or through a link ends the extraction; so does a damaged tar.
pub(crate) fn extract(source: impl Read, target: &Path, name: Option<&OsStr>) -> anyhow::Result<Extracted> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = fs::open(target, flags, Mode::empty())
        .with_context(|| format!("cannot open directory {}", target.display()))?;
    let mut extraction = Extraction { root, name, directories: Vec::new(), done: Extracted::default() };
    let mut archive = Archive::new(source);
    for entry in archive.entries().context("cannot read the tar")? {
        let mut entry = entry.context("cannot read the tar")?;
        let path = PathBuf::from(OsString::from_vec(entry.path_bytes().into_owned()));
        extraction.entry(&mut entry, &path).with_context(|| format!("cannot extract {path:?}"))?;
    }
    extraction.finish()
}

struct Extraction<'a> {
    root: OwnedFd,
    name: Option<&'a OsStr>,
    /// Modes and times of directories, set at the end: a read-only directory must take its files first.
    directories: Vec<(PathBuf, Mode, Timestamps)>,
    done: Extracted,
}

impl Extraction<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>, path: &Path) -> anyhow::Result<()> {
        let Some(place) = self.place(path)? else {
            return Ok(());
        };
        // Only the permission bits: what set-user-id means was decided inside the container, not here.
        let mode = Mode::from_raw_mode(entry.header().mode()? & 0o777);
        let times = times(entry.header().mtime()?);
        match entry.header().entry_type() {
            EntryType::Directory => {
                drop(self.directory(&place)?);
                self.directories.push((place, mode, times));
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let (parent, name) = self.parent(&place)?;
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = replacing(&parent, &name, || {
                    fs::openat(&parent, &name, flags, Mode::from_raw_mode(0o600))
                })?;
                let mut file = std::fs::File::from(file);
                io::copy(entry, &mut file)?;
                fs::fchmod(&file, mode)?;
                fs::futimens(&file, &times)?;
            }
            EntryType::Symlink => {
                let link = entry.link_name_bytes().context("the link has no target")?.into_owned();
                let (parent, name) = self.parent(&place)?;
                replacing(&parent, &name, || fs::symlinkat(OsStr::from_bytes(&link), &parent, &name))?;
            }
            EntryType::Link => {
                let link = entry.link_name_bytes().context("the link has no target")?.into_owned();
                let existing = self
                    .place(Path::new(OsStr::from_bytes(&link)))?
                    .context("the link's target is the root")?;
                let (from, from_name) = self.parent(&existing)?;
                let (parent, name) = self.parent(&place)?;
                replacing(&parent, &name, || {
                    fs::linkat(&from, &from_name, &parent, &name, AtFlags::empty())
                })?;
            }
            EntryType::XGlobalHeader => return Ok(()),
            _ => {
                self.done.skipped.push(place);
                return Ok(());
            }
        }
        self.done.entries += 1;
        Ok(())
    }

    /// Where an entry goes, relative to the target; `None` for the target itself.
    fn place(&self, path: &Path) -> anyhow::Result<Option<PathBuf>> {
        let mut place = PathBuf::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(part) => match (self.name, place.as_os_str().is_empty()) {
                    (Some(name), true) => place.push(name),
                    _ => place.push(part),
                },
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    anyhow::bail!("{path:?} leads out of the directory it is extracted to")
                }
            }
        }
        Ok((!place.as_os_str().is_empty()).then_some(place))
    }

    /// The directory in which something is to be made, and the name it gets there.
    fn parent(&self, place: &Path) -> anyhow::Result<(OwnedFd, OsString)> {
        let name = place.file_name().context("the entry has no name")?.to_owned();
        Ok((self.directory(place.parent().unwrap_or(Path::new("")))?, name))
    }

    /// Opens a directory, making what is missing of it.
    fn directory(&self, place: &Path) -> anyhow::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut current = self.root.try_clone()?;
        for part in place {
            let open = || fs::openat2(&current, part, flags, Mode::empty(), BENEATH);
            let next = match open() {
                Err(Errno::NOENT) => {
                    fs::mkdirat(&current, part, Mode::from_raw_mode(0o755))?;
                    open()
                }
                opened => opened,
            };
            current = match next {
                Err(Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => anyhow::bail!("{part:?} is no directory"),
                opened => opened?,
            };
        }
        Ok(current)
    }

    /// Gives the directories their modes and times, the deepest first.
    fn finish(mut self) -> anyhow::Result<Extracted> {
        for (place, mode, times) in std::mem::take(&mut self.directories).into_iter().rev() {
            let finish = || -> anyhow::Result<()> {
                let directory = self.directory(&place)?;
                fs::fchmod(&directory, mode)?;
                Ok(fs::futimens(&directory, &times)?)
            };
            finish().with_context(|| format!("cannot finish directory {place:?}"))?;
        }
        Ok(self.done)
    }
}

/// Makes something in the place of a file or link of the same name; a directory stays and is an error.
fn replacing<T>(
    parent: &OwnedFd,
    name: &OsStr,
    make: impl Fn() -> rustix::io::Result<T>,
) -> anyhow::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            match fs::unlinkat(parent, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => anyhow::bail!("a directory is in the way"),
                removed => removed?,
            }
            Ok(make()?)
        }
        made => Ok(made?),
    }
}

/// The time of the last change, for both times that can be set.
fn times(mtime: u64) -> Timestamps {
    let time = Timespec { tv_sec: i64::try_from(mtime).unwrap_or(i64::MAX), tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
