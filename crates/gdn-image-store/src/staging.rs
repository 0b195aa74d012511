//! Layers on their way into the store.

use std::os::fd::AsFd;

use gdn_layers::{Digest, RootAttributes, Unpacked};
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::error::file_error;
use crate::{ImageStore, Layer, Result};

/// Name of the unpacked files inside a layer's directory.
const CONTENT: &str = "diff";
/// Name of what is known of the layer.
const RECORD: &str = "layer.json";

/// A directory that vanishes unless it becomes a layer.
pub(crate) struct Staging<'a> {
    store: &'a ImageStore,
    name: String,
    directory: Directory,
    kept: bool,
}

/// What is known of an unpacked layer, on disk.
#[derive(Serialize, Deserialize)]
struct LayerRecord {
    diff_id: String,
    bytes: u64,
    inodes: u64,
    root: Option<(u32, u32, u32)>,
    opaque_root: bool,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(store: &'a ImageStore) -> Result<Self> {
        let name = store.unique_name();
        let directory = store.staging().subdirectory(&name)?;
        Ok(Staging { store, name, directory, kept: false })
    }

    pub(crate) fn content(&self) -> Result<Directory> {
        let content = self.directory.subdirectory(CONTENT)?;
        Ok(content)
    }

    /// Makes the directory a layer: everything is on the disk before its name is.
    pub(crate) fn keep(mut self, unpacked: &Unpacked) -> Result<Layer> {
        let record = LayerRecord {
            diff_id: unpacked.diff_id.to_string(),
            bytes: unpacked.content_bytes,
            inodes: unpacked.inodes,
            root: unpacked.root.map(|root| (root.uid, root.gid, root.mode)),
            opaque_root: unpacked.opaque_root,
        };
        let text = serde_json::to_vec(&record).expect("numbers and strings can be written as JSON");
        self.directory.write(RECORD, &text)?;
        rustix::fs::syncfs(self.directory.as_fd())
            .map_err(file_error("sync", self.directory.path.clone()))?;
        let layers = self.store.layers();
        self.store.staging().rename(&self.name, layers, &unpacked.diff_id.hex())?;
        self.kept = true;
        layers.sync()?;
        load(layers, &unpacked.diff_id)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = gdn_layers::remove_tree(self.store.staging().as_fd(), &self.name)
        {
            tracing::warn!(%error, name = self.name, "remove a half-imported layer; the next start tries again");
        }
    }
}

/// Opens a layer of the store.
pub(crate) fn load(layers: &Directory, diff_id: &Digest) -> Result<Layer> {
    let directory = existing(layers, &diff_id.hex())?;
    let record: LayerRecord =
        crate::document::parse(&format!("{}/{RECORD}", directory.path), &directory.document(RECORD)?)?;
    if record.diff_id != diff_id.to_string() {
        return Err(crate::error::document_error(
            directory.path,
            format!("its record is that of {:?}", record.diff_id),
        ));
    }
    let content = existing(&directory, CONTENT)?;
    Ok(Layer {
        diff_id: *diff_id,
        bytes: record.bytes,
        inodes: record.inodes,
        root: record.root.map(|(uid, gid, mode)| RootAttributes { uid, gid, mode }),
        opaque_root: record.opaque_root,
        directory: content.into_fd(),
    })
}

fn existing(parent: &Directory, name: &str) -> Result<Directory> {
    Directory::open(std::path::Path::new(&format!("{}/{name}", parent.path)))
}
