//! Starts keepers, the processes that hold containers, and talks to them.
//!
//! What it is: the engine's side of the [`gdn_keeper`] protocol. A [`Launcher`] is a small single-threaded process, exec'd
//! once from a sealed memfd; it forks a keeper on request, so the multi-threaded engine never forks. A [`Keeper`] is a
//! connection to one of them; any number of connections may exist, one after the other or side by side, also from an engine
//! that did not start it.
//!
//! What it is not: it decides nothing about containers. It must be used inside a tokio runtime.
//!
//! # Invariants
//! Dropping a [`Launcher`] ends its process, never the keepers. Dropping a [`Keeper`] closes a connection, nothing more.

mod connection;
mod error;
mod keeper;
mod launcher;

pub use error::{Error, Result};
pub use gdn_keeper::protocol;
pub use keeper::{Keeper, News};
pub use launcher::Launcher;

/// The static program that launcher, keepers and the built-in `hello` are.
pub static PROGRAM: &[u8] = include_bytes!(env!("GDN_KEEPER_PROGRAM"));
