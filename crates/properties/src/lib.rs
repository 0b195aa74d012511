//! The property store component: what the engine must never forget of its containers.
//!
//! What it is: [`gdn_traits::PropertyManager`] over a [`gdn_state::Store`]. Each container is one record under its handle;
//! every change is durable before it is visible, and visible before it is acknowledged. The one exception is the mark
//! that a destroy has begun: it survives a kill of the engine when it is acknowledged, and a loss of power together with
//! the next change of any record.
//!
//! What it is not: it decides nothing about containers. Which states follow each other, and what a property means, is the
//! orchestrator's business.
//!
//! Start with [`PropertyStore`].
//!
//! # Invariants
//!
//! * Of any number of claims of one handle exactly one succeeds, and a claim that fails changes nothing.
//! * A change is carried out even if its caller goes away; memory and disk never differ for longer than it takes.
//! * Changes of one record follow each other; those of different records share disk writes and never wait for each other.
//! * The password of an image never reaches the disk.
//! * A record that cannot be read is kept, told by `quarantined`, and its handle stays taken until it is forgotten.
//!
//! # Limitations
//!
//! * A record is written whole at each change: a container with a megabyte of properties costs a megabyte per change.
//!
//! ```
//! # fn main() -> gdn_types::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! use gdn_traits::PropertyManager;
//! let store = properties::PropertyStore::open(&dir.path().join("state"))?;
//! assert!(store.records().is_empty());
//! println!("engine {}", store.engine_id());
//! # Ok(())
//! # }
//! ```

mod decode;
mod encode;
mod entry;
mod errors;
mod schema;
mod store;

pub use store::PropertyStore;
