//! What the store gives out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use gdn_layers::{Digest, RootAttributes};
use serde::{Deserialize, Serialize};

/// An image whose layers are unpacked. While a clone of its `Arc` is alive it is not collected.
#[derive(Debug)]
pub struct Image {
    /// Names the image: its manifest's digest, or a digest made of its layers and configuration where it has none.
    pub id: Digest,
    /// Its layers, topmost first, each once: ready to be given to overlayfs.
    pub layers: Vec<Arc<Layer>>,
    /// What it says about running it.
    pub config: RunConfig,
    /// Owner and mode of its root directory.
    pub root: RootAttributes,
}

impl Image {
    /// Bytes of all layers' files.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Files, directories and links of all layers.
    pub fn inodes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.inodes).sum()
    }
}

/// An unpacked layer. It is shared by all images that have it.
#[derive(Debug)]
pub struct Layer {
    /// Digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Bytes of its files.
    pub bytes: u64,
    /// Number of its files, directories and links.
    pub inodes: u64,
    pub(crate) root: Option<RootAttributes>,
    pub(crate) opaque_root: bool,
    pub(crate) directory: OwnedFd,
}

impl AsFd for Layer {
    /// The layer's root directory.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// What an image says about running it: plain text, without any effect of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunConfig {
    /// `NAME=value` entries.
    pub env: Vec<String>,
    /// The user to run as, unparsed.
    pub user: String,
    /// The working directory.
    pub working_dir: String,
    /// Entry point and its default arguments.
    pub command: Vec<String>,
}

/// An image that comes with the program.
#[derive(Clone, Debug)]
pub struct BuiltinImage {
    /// Its name, for [`ImageSource::Builtin`](crate::ImageSource::Builtin).
    pub name: String,
    /// Its files: path, mode, content. Directories above them are made.
    pub files: Vec<(String, u32, Vec<u8>)>,
    /// What it says about running it.
    pub config: RunConfig,
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Number of images.
    pub images: usize,
    /// Number of layers.
    pub layers: usize,
}
