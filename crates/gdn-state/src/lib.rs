//! A durable key-value store for the state of a daemon: small, kept in memory, written to a checksummed journal.
//!
//! What it is: a map from byte keys to byte values. A [`Batch`] is atomic. A commit answers only after `fdatasync`, and all
//! batches that wait at one moment share one; [`Store::commit_written`] answers before it, for what has to survive a kill
//! but not a loss of power. The truth is an append-only journal; sled holds a second, verified copy that lags behind the
//! acknowledgements and fills gaps when the journal is damaged.
//!
//! What it is not: a database. Everything live is in memory, there are no transactions over reads, and one process owns a
//! store.
//!
//! Start with [`Store`].
//!
//! ```
//! # fn main() -> gdn_state::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let store = gdn_state::Store::open(&dir.path().join("state"))?;
//! let mut batch = gdn_state::Batch::new();
//! batch.put("color", "green")?;
//! store.commit(batch).wait()?; // or .await
//! assert_eq!(store.get("color").as_deref(), Some(&b"green"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//!
//! * What [`Store::commit`] acknowledged survives the end of the process and a loss of power; what
//!   [`Store::commit_written`] acknowledged survives the end of the process.
//! * No batch outlives one that was handed over before it: after a loss of power a beginning of what was handed over is
//!   there, and it includes everything that was acknowledged as durable.
//! * A batch is there as a whole or not at all. A batch whose commit failed is not visible.
//! * A change becomes visible only when what its commit promises is so.
//! * The index is given only what is durable in the journal, and nothing waits for it. It knows up to which sequence number
//!   it goes; opening applies what the journal has beyond.
//! * A store that nobody writes to does nothing: the index catches up once, some seconds after the last commit.
//! * No content of any file makes [`Store::open`] panic: what can be read is served, what cannot is kept in `quarantine/`
//!   and told by [`Store::damages`].
//!
//! # Limitations
//!
//! * A disk that lies about `fdatasync`, or that tears a 512-byte sector, can cost the last acknowledged group.
//! * Damage within what the very last `fdatasync` made durable looks like a torn write and costs what follows it in that
//!   group; only the index can tell the difference, and only after an orderly close it is sure to know the journal's end.
//! * After a kill the index may lack thousands of batches: of those a damaged journal record is not repaired but told as
//!   lost, with the keys it seems to be about.
//! * sled keeps a few threads for the life of the process that wake up once a second.
//! * A batch whose disk write failed may reappear when the process is killed before the next commit succeeds.

mod batch;
mod commit;
mod damage;
mod error;
mod files;
mod header;
mod identity;
mod index;
mod journal;
mod lock;
mod record;
mod recovery;
mod repair;
mod scan;
mod segment;
mod store;
mod writer;

pub use batch::{Batch, MAX_BATCH, MAX_KEY, MAX_VALUE};
pub use commit::Commit;
pub use damage::{Damage, DamageKind};
pub use error::{Error, Result};
pub use store::{Options, Pair, Stats, Store};
