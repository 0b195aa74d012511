//! A content-addressed store of images and their unpacked layers, below one directory.
//!
//! What it is: [`ImageStore::ensure`] turns an [`ImageSource`] (an OCI layout, an archive of one, what `docker save` writes,
//! a tar of a root file system, an image built into the program) into an [`Image`]: verified, unpacked, its layers ready to
//! be stacked by overlayfs. Each layer is unpacked once, whoever asks and in how many images it is.
//!
//! What it is not: it mounts nothing, pulls from no registry and keeps no archives.
//!
//! # Invariants
//! * A layer or an image is visible only when it is complete, verified and on the disk. What a crash leaves behind is
//!   removed by the next [`ImageStore::open`].
//! * Everything below the store's directory is unreachable for others (mode 0700).
//! * An image that somebody holds (`Arc<Image>`) is never collected.
//! * Documents are bounded in size, and blobs are regular files reached without any link.
//!
//! # Limitations
//! One process at a time. Archives of images are unpacked once before their layers are, which takes their size twice for
//! that time. Variants of an architecture (`arm/v7`) are not told apart. A layer is named by its uncompressed digest alone,
//! which the image's configuration promises: a blob of a layer that is there already is not read again.
//!
//! ```no_run
//! use gdn_image_store::{ImageSource, ImageStore, Limits};
//! # fn main() -> gdn_image_store::Result<()> {
//! let store = ImageStore::open("/var/lib/example/images".as_ref(), Vec::new(), Limits::default())?;
//! let image = store.ensure(&ImageSource::Layout("/srv/layout".into(), Some("latest".into())))?;
//! println!("{} layers, runs {:?}", image.layers.len(), image.config.command);
//! # Ok(()) }
//! ```

mod directory;
mod document;
mod error;
mod image;
mod import;
mod layout;
mod locks;
mod source;
mod staging;
mod store;

pub use error::{Error, Result};
pub use gdn_layers::{Digest, Limits, RootAttributes};
pub use image::{BuiltinImage, Collected, Image, Layer, RunConfig};
pub use source::ImageSource;
pub use store::ImageStore;
