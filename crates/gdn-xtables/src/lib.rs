//! The filter table of iptables-legacy: rules of one's own at the head of its FORWARD chain, beside everybody else's.
//!
//! What it is: the older interface of the kernel's packet filter (`x_tables`), for one purpose. A program that filters with
//! nftables cannot overrule a FORWARD chain of iptables-legacy that drops by policy; it can only put rules into it. A
//! [`Filter`] is the table of one family: it is read as a [`Snapshot`], and [`Rule`]s that accept packets of interfaces whose
//! names begin alike are put at the head of FORWARD, or taken out by their comment.
//!
//! What it is not: no `iptables`. There are no other tables, chains, matches or targets, rules of others are neither
//! explained nor changed, and no table is made where the kernel has none. It runs no program and loads no module.
//!
//! Start with [`Filter::open`].
//!
//! # Invariants
//! * Entries of others stay byte for byte, in their order, but for the offsets in them that name places of the table; their
//!   counters go on.
//! * What the kernel gives is read within its bounds, and a table that is not understood is an error and is not replaced.
//! * The table is changed under the lock that `iptables` takes (`/run/xtables.lock`), which is waited for no longer than is
//!   said, and only if it has as many entries as were read.
//!
//! # Limitations
//! * The kernel takes a table only as a whole: the time grows with it, and matches that keep a state of their own (`limit`,
//!   `recent`) begin anew, as with every call of `iptables`.
//! * A program that changes the table without taking the lock may lose its change, or these rules.
//! * 64-bit processes only: the layouts of others differ.
//!
//! # Example
//! ```no_run
//! use std::time::Duration;
//!
//! use gdn_xtables::{Family, Filter, Rule};
//!
//! # fn main() -> gdn_xtables::Result<()> {
//! if let Some(filter) = Filter::open(Family::Ip)? && filter.read()?.forward_drops() {
//!     let rules = [Rule::accept_from("gab", "engine 1"), Rule::accept_to("gab", "engine 1")];
//!     filter.put_at_head(&rules, Duration::from_secs(1))?;
//! }
//! # Ok(())
//! # }
//! ```

mod edit;
mod error;
mod filter;
mod layout;
mod lock;
mod rule;
mod snapshot;
mod socket;

pub use error::{Error, Result};
pub use filter::Filter;
pub use layout::Family;
pub use rule::Rule;
pub use snapshot::Snapshot;
