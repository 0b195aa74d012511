//! The directory of one call of the runtime: what it reads and what it writes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gdn_types::{Error, Result};
use serde_json::Value;

use crate::failures;

/// Most bytes of a configuration that are read back: arguments and environment have their own, smaller bounds.
const MAX_CONFIG: u64 = 16 * 1024 * 1024;

/// A directory that only root can enter.
pub(super) struct Bundle {
    path: PathBuf,
}

impl Bundle {
    /// Makes it, with its parents.
    pub(super) fn make(path: PathBuf) -> Result<Self> {
        let text = path.to_str().map(str::to_owned);
        let bundle = Bundle { path };
        text.ok_or_else(|| Error::internal(format!("{} is no UTF-8", bundle.path.display())))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&bundle.path)
            .map_err(failures::os(format!("make directory {}", bundle.path.display())))?;
        Ok(bundle)
    }

    /// One that exists.
    pub(super) fn at(path: PathBuf) -> Self {
        Bundle { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> String {
        self.path.display().to_string()
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Where the runtime writes its log.
    pub(super) fn log(&self) -> String {
        self.file("log")
    }

    /// Writes a document that nobody else can read.
    pub(super) fn write(&self, name: &str, document: &Value) -> Result<()> {
        let mut file = self.create(name)?;
        file.write_all(document.to_string().as_bytes())
            .map_err(failures::os(format!("write {}", self.file(name))))
    }

    fn create(&self, name: &str) -> Result<fs::File> {
        fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))
            .map_err(failures::os(format!("make {}", self.file(name))))
    }

    /// Reads a document back.
    pub(super) fn read(&self, name: &str) -> Result<Value> {
        let during = || format!("read {}", self.file(name));
        let mut text = String::new();
        fs::File::open(self.path.join(name))
            .and_then(|file| file.take(MAX_CONFIG).read_to_string(&mut text))
            .map_err(failures::os(during()))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::caused(gdn_types::ErrorKind::Internal, during(), error))
    }

    /// Removes it with all that is in it; what stays goes with the container's directory.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(directory = %self.path.display(), %error, "a runtime's files stay for now");
        }
    }
}
