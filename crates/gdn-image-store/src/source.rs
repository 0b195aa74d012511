//! Where images come from.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::file_error;
use crate::{Error, Result};

/// Where an image is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ImageSource {
    /// An OCI image layout directory, and the name of an image in it (none: the only one, or `latest`).
    Layout(PathBuf, Option<String>),
    /// A tar of an OCI image layout.
    OciArchive(PathBuf, Option<String>),
    /// What `docker save` writes.
    DockerArchive(PathBuf, Option<String>),
    /// A tar of a root file system.
    Tar(PathBuf),
    /// Any of these; found out by looking.
    Path(PathBuf),
    /// An image that was given to [`ImageStore::open`](crate::ImageStore::open).
    Builtin(String),
}

/// What tells whether a source is still the one that was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity(String);

impl Identity {
    pub(crate) fn of_content(text: String) -> Self {
        Identity(text)
    }

    fn of_file(stat: &Stat) -> Self {
        Identity(format!(
            "{}:{}:{}:{}.{}:{}.{}",
            stat.st_dev,
            stat.st_ino,
            stat.st_size,
            stat.st_mtime,
            stat.st_mtime_nsec,
            stat.st_ctime,
            stat.st_ctime_nsec
        ))
    }
}

impl ImageSource {
    /// The path of a source that has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            ImageSource::Layout(path, _)
            | ImageSource::OciArchive(path, _)
            | ImageSource::DockerArchive(path, _)
            | ImageSource::Tar(path)
            | ImageSource::Path(path) => Some(path),
            ImageSource::Builtin(_) => None,
        }
    }

    /// A text that no other source has.
    pub(crate) fn key(&self) -> String {
        format!("{self:?}")
    }
}

/// What identifies the content behind a path: of a layout its index, of anything else the file itself.
pub(crate) fn identity(path: &Path) -> Result<(Identity, bool)> {
    let stat = stat(path)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Ok((Identity::of_file(&stat), false));
    }
    let index = path.join("index.json");
    match self::stat(&index) {
        Ok(stat) => Ok((Identity::of_file(&stat), true)),
        Err(Error::NotFound { .. }) => Err(Error::Document {
            document: path.display().to_string(),
            reason: "it is a directory without index.json, so no image layout; raw://PATH is a directory that is a root file system".to_owned(),
        }),
        Err(error) => Err(error),
    }
}

fn stat(path: &Path) -> Result<Stat> {
    rustix::fs::statat(CWD, path, AtFlags::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => Error::NotFound { path: path.display().to_string() },
        errno => file_error("look at", path.display().to_string())(errno),
    })
}
