//! Network links, addresses, routes and neighbours of network namespaces over rtnetlink.
//!
//! What it is: a synchronous socket to the kernel's routing tables ([`Connection`]), lists of changes that go to the kernel
//! in one message ([`Batch`]), virtual ethernet pairs whose one end begins its life in another namespace ([`VethPair`]),
//! look-ups, and limits on what links
//! carry ([`shaping`]). Start with [`Connection::open`] for the namespace of the calling thread, or [`Connection::open_in`] for
//! another one.
//!
//! What it is not: no firewall, no sysctls, no namespaces (it takes descriptors of those others made), no asynchronous
//! runtime, and no program is run.
//!
//! # Invariants
//! - A call never waits: the kernel has answered before a request to it returns, and an answer that is not there is an
//!   error.
//! - An answer to an earlier request is never taken for the present one's.
//! - A thread that entered another namespace is back in its own when the call returns; a process in which it could not
//!   return ends.
//!
//! # Limitations
//! A batch is not a transaction: what follows a failed change is tried too. Deleting a pair takes the kernel some 25 ms; the
//! end of the namespace that holds the peer deletes it as well and lets nobody wait. Every change needs `CAP_NET_ADMIN`
//! in the namespace it is made in.
//!
//! ```
//! use gdn_links::{Batch, Connection, LinkIndex, LinkName};
//!
//! # fn main() -> gdn_links::Result<()> {
//! let mut connection = Connection::open()?;
//! connection.commit(Batch::new())?;
//! let loopback = connection.link_named(&LinkName::new("lo")?)?;
//! assert_eq!(loopback.map(|link| link.index), Some(LinkIndex::LOOPBACK));
//! # Ok(())
//! # }
//! ```

mod batch;
mod connection;
mod error;
mod ip;
mod link;
mod lookups;
mod names;
mod namespace;
mod operations;
pub mod shaping;
mod veth;
mod watch;

pub use batch::Batch;
pub use connection::Connection;
pub use error::{Error, Result};
pub use ip::{Address, Family, InterfaceAddress, Outbound, Prefix, Route, RouteEntry, Scope};
pub use link::{Counters, Link, LinkChange};
pub use names::{LinkIndex, LinkName, Mac};
pub use veth::{VethEnds, VethPair};
pub use watch::Watch;
