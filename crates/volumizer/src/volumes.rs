//! The volumes' directories: made, found again, thrown away.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gdn_image_store::{Digest, Image};
use gdn_layers::remove_tree;
use gdn_traits::VolumeId;
use gdn_types::{ContainerId, Error, ErrorKind, ProcessId, Result};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::errors::file_error;

/// The link in a volume's directory that says what the volume is made of: `sha256:...` for an image.
///
/// A link is made by one call and is there wholly or not at all, also after a crash, without waiting for the disk.
const MADE_OF: &str = "image";

/// The directory in a container's volume that holds those of its sidecars, so that they go together.
const SIDECARS: &str = "sidecars";

/// The directories of all volumes.
#[derive(Debug)]
pub(crate) struct Volumes {
    directory: OwnedFd,
    trash: OwnedFd,
    /// Numbers what is thrown away, from the time of the start on, so that names of two runs differ.
    thrown: AtomicU64,
}

/// The writable directories of one volume.
pub(crate) struct Writable {
    pub(crate) upper: OwnedFd,
    pub(crate) work: OwnedFd,
}

impl Volumes {
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let open = |path: &Path| {
            std::fs::create_dir_all(path)
                .and_then(|()| {
                    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                })
                .and_then(|()| std::fs::File::open(path))
                .map(OwnedFd::from)
                .map_err(|error| {
                    Error::caused(ErrorKind::Internal, format!("open {}", path.display()), error)
                })
        };
        Ok(Volumes {
            directory: open(&root.join("volumes"))?,
            trash: open(&root.join("trash"))?,
            thrown: AtomicU64::new(nanoseconds()),
        })
    }

    /// Makes a volume's directories, or what is missing of them.
    pub(crate) fn make(&self, id: &VolumeId, image: &Image, owner: (u32, u32)) -> Result<Writable> {
        let failed = |op| move |errno| file_error(op, &format!("volume {id}"), errno);
        let volume = self.volume(id, &image.id.to_string())?;
        let made = make_directory(&volume, "upper").map_err(failed("make the upper directory of"))?;
        make_directory(&volume, "work").map_err(failed("make the work directory of"))?;
        let upper = open_directory(&volume, "upper").map_err(failed("open the upper directory of"))?;
        let work = open_directory(&volume, "work").map_err(failed("open the work directory of"))?;
        if made {
            // The merged root shows the owner and mode of the upper directory.
            rustix::fs::fchown(&upper, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
                .map_err(failed("set the owner of"))?;
            rustix::fs::fchmod(&upper, Mode::from_raw_mode(image.root.mode))
                .map_err(failed("set the mode of"))?;
        }
        Ok(Writable { upper, work })
    }

    /// Makes the directory of a volume that has nothing of its own on the disk.
    pub(crate) fn make_raw(&self, id: &VolumeId) -> Result<()> {
        self.volume(id, "raw").map(drop)
    }

    fn volume(&self, id: &VolumeId, made_of: &str) -> Result<OwnedFd> {
        let failed = |op| move |errno| file_error(op, &format!("volume {id}"), errno);
        if id.sidecar.is_some() {
            match make_directory(&self.directory, &format!("{}/{SIDECARS}", id.container)) {
                Err(Errno::NOENT) => {
                    let message = format!("volume {id}: the container has no volume");
                    return Err(Error::new(ErrorKind::FailedPrecondition, message));
                }
                made => made.map_err(failed("make"))?,
            };
        }
        make_directory(&self.directory, &place(id)).map_err(failed("make"))?;
        let volume = open_directory(&self.directory, &place(id)).map_err(failed("open"))?;
        match rustix::fs::symlinkat(made_of, &volume, MADE_OF) {
            Ok(()) | Err(Errno::EXIST) => Ok(volume),
            Err(errno) => Err(failed("note the image of")(errno)),
        }
    }

    pub(crate) fn exists(&self, id: &VolumeId) -> Result<bool> {
        match open_directory(&self.directory, &place(id)) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(file_error("open", &format!("volume {id}"), errno)),
        }
    }

    /// The image a volume is made of; `None` when there is no such volume, or when it is not made of an image.
    pub(crate) fn image(&self, id: &VolumeId) -> Option<Digest> {
        let link =
            rustix::fs::readlinkat(&self.directory, format!("{}/{MADE_OF}", place(id)), Vec::new()).ok()?;
        link.to_str().ok()?.parse().ok()
    }

    /// The directory that a volume's container writes to; `None` when the volume has none.
    pub(crate) fn upper(&self, id: &VolumeId) -> Result<Option<OwnedFd>> {
        match open_directory(&self.directory, &format!("{}/upper", place(id))) {
            Ok(upper) => Ok(Some(upper)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(file_error("open", &format!("volume {id}"), errno)),
        }
    }

    /// Takes a volume out of use at once; [`Volumes::empty_trash`] deletes it. `false` when there is none.
    pub(crate) fn throw_away(&self, id: &VolumeId) -> Result<bool> {
        self.throw_away_at(&place(id), id.container.as_str())
    }

    /// As [`Volumes::throw_away`], of whatever lies among the volumes under that name.
    pub(crate) fn throw_away_named(&self, name: &str) -> Result<bool> {
        self.throw_away_at(name, name)
    }

    fn throw_away_at(&self, place: &str, name: &str) -> Result<bool> {
        let number = self.thrown.fetch_add(1, Ordering::Relaxed);
        let target = format!("{name}-{number}");
        match rustix::fs::renameat(&self.directory, place, &self.trash, target.as_str()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(file_error("remove", &format!("volume {place}"), errno)),
        }
    }

    /// The sidecars of a container that have a volume, and when it was made.
    pub(crate) fn sidecars(&self, id: &ContainerId) -> Result<Vec<(ProcessId, SystemTime)>> {
        let failed = |errno| file_error("list", &format!("sidecars of volume {id}"), errno);
        let sidecars = match open_directory(&self.directory, &format!("{id}/{SIDECARS}")) {
            Ok(sidecars) => sidecars,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(errno) => return Err(failed(errno)),
        };
        let names = names(&sidecars).map_err(failed)?;
        let made = |name: &String| {
            // The link is never changed. One that is missing stands for a volume that was never complete.
            let link = format!("{name}/{MADE_OF}");
            let stat = rustix::fs::statat(&sidecars, link, AtFlags::SYMLINK_NOFOLLOW).ok();
            let since = stat.map_or(0, |stat| u64::try_from(stat.st_mtime).unwrap_or(0));
            UNIX_EPOCH + Duration::from_secs(since)
        };
        Ok(names.iter().filter_map(|name| Some((ProcessId::parse(name).ok()?, made(name)))).collect())
    }

    /// Deletes what was thrown away, and tries everything even if something cannot be deleted.
    pub(crate) fn empty_trash(&self) -> Result<(), gdn_layers::Error> {
        let mut failure = None;
        let names = names(&self.trash).map_err(|errno| gdn_layers::Error::Remove {
            path: "trash".to_owned(),
            op: "list",
            errno,
        })?;
        for name in names {
            if let Err(error) = remove_tree(self.trash.as_fd(), &name) {
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// The names of all volumes.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        names(&self.directory).map_err(|errno| file_error("list", "volumes", errno))
    }

    /// Size of the file system that holds the volumes, in bytes.
    pub(crate) fn capacity(&self) -> Result<u64> {
        let stat =
            rustix::fs::fstatvfs(&self.directory).map_err(|errno| file_error("measure", "volumes", errno))?;
        Ok(stat.f_blocks * stat.f_frsize)
    }
}

/// Where a volume lies below the volumes' directory. Ids are single file names that cannot lead elsewhere.
fn place(id: &VolumeId) -> String {
    match &id.sidecar {
        None => id.container.to_string(),
        Some(process) => format!("{}/{SIDECARS}/{process}", id.container),
    }
}

fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(0)
}

/// Makes a directory; `false` when it is there already.
fn make_directory(parent: &OwnedFd, name: &str) -> rustix::io::Result<bool> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn open_directory(parent: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Whether a path is a directory, for messages about `raw://`.
pub(crate) fn open_raw(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => {
            Error::new(ErrorKind::ImageNotFound, format!("raw directory {} does not exist", path.display()))
        }
        errno => file_error("open", &path.display().to_string(), errno),
    })?;
    let stat = rustix::fs::statat(&fd, "", AtFlags::EMPTY_PATH)
        .map_err(|errno| file_error("look at", &path.display().to_string(), errno))?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        let message = format!("raw root file system {} is not a directory", path.display());
        return Err(Error::new(ErrorKind::ImageInvalid, message));
    }
    Ok(fd)
}
