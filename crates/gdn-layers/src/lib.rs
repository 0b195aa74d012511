//! Image layers: tar applied safely below a directory descriptor.
//!
//! What it is: [`unpack`] reads one layer of a container image (tar; plain, gzip or zstd, told apart by content) and makes
//! its files below an open directory, in the form in which overlayfs takes it as a lower layer. [`remove_tree`] is the
//! opposite, for trees that somebody else filled. [`Digest`] names layers.
//!
//! What it is not: no writer of tar, no general extractor (nothing is made outside of a new directory), no store.
//!
//! Start with [`unpack`].
//!
//! # Invariants
//! * Every byte of a layer is hostile. Nothing is reached by a path of the host: each call is relative to a descriptor, and
//!   the kernel resolves parents as if the layer's root were `/`, so links of the layer lead nowhere else.
//! * Owners, setuid bits, file capabilities and `user.*` attributes are kept as the image means them. Device nodes are left
//!   out, and so are all other attributes, those of overlayfs above all.
//! * Of two entries of one name the later counts. A whiteout never removes what its own layer has.
//! * An archive that two readers could read differently is refused: wrong lengths, one property given in two ways,
//!   anything but zeros behind the end.
//! * Digests are of every byte of the stream.
//!
//! # Limitations
//! Sparse files (GNU types `S` and `GNU.sparse.*`) are refused. A hard link to a file of another layer is refused, as the
//! image specification has it. Making whiteouts and opaque directories needs root.
//!
//! ```
//! use std::os::fd::AsFd;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let root = std::fs::File::open(directory.path())?;
//! // Two blocks of zeros: the empty archive.
//! let layer = gdn_layers::unpack(&[0_u8; 1024][..], root.as_fd(), &gdn_layers::Limits::default())?;
//! assert_eq!(layer.diff_id, gdn_layers::Digest::of([0_u8; 1024]));
//! # Ok(()) }
//! ```

mod archive;
mod digest;
mod error;
mod limits;
mod pax;
mod remove;
mod stream;
mod unpack;

pub use digest::Digest;
pub use error::{Error, Result};
pub use limits::Limits;
pub use remove::remove_tree;
pub use unpack::{RootAttributes, Unpacked, unpack};
