//! nftables over netlink: typed rules, sets and maps, committed as one atomic batch.
//!
//! What it is: the kernel's packet filter spoken to directly. Operations on tables, chains, rules, sets, maps and elements
//! are written to a [`Batch`], and a [`Socket`] commits it as one datagram: all of it is done, or nothing. What is there is
//! read back, a [`Watch`] tells what others change, and [`Conntrack`] deletes the tracked connections of an address.
//!
//! What it is not: no parser or printer of `nft`'s language, and no model of a ruleset: rules are written and are not read
//! back but for handle and comment. It runs no program, links no C library, starts no thread and keeps no state but the
//! socket.
//!
//! Start with [`Batch`] and [`Rule`].
//!
//! # Invariants
//! * Nothing is sent of a batch with an operation that could not be written: a name that cannot be, an element that does
//!   not fit its set.
//! * A rule has the conditions that its others need, so that an IPv4 address is never compared with bytes of IPv6.
//! * Whatever the kernel sends is read within its bounds; a listing that changed while it was read is read anew.
//! * A socket stays usable after an error. Answers are told apart by their numbers.
//!
//! # Limitations
//! * Objects (quotas, named counters), flow tables, element timeouts, `queue`, `set mark` and anonymous sets are missing.
//! * Deleting an element from a set of intervals of several fields costs the kernel time that grows with the set (some
//!   milliseconds of 10,000), and flushing the set costs it for each element (a second of 3,000). Deleting the set costs
//!   microseconds: what changes as a whole is better another set than other elements.
//! * A commit waits for the one that runs in the same network namespace, without bound: the kernel does the waiting.
//! * nftables needs Linux 4.18 here (`inet` with NAT 5.2, intervals of several fields 5.6, ownership 5.12 and 6.9).
//!
//! # Example
//! ```no_run
//! use gdn_nft::{
//!     Batch, Chain, ChainType, CtState, Element, Family, Field, Hook, Load, Rule, Set, Socket, Table, Value, Verdict,
//!     ct_state, iifname_begins,
//! };
//!
//! # fn main() -> gdn_nft::Result<()> {
//! let table = Table::new(Family::Inet, "engine").owned().persistent();
//! let sources = Set::new("sources4", [Field::IfName, Field::Ipv4]).map_to_verdicts();
//! let known = Element::new([Value::IfName("gab1".to_owned()), Value::Ipv4([10, 0, 0, 2].into())]);
//!
//! let mut batch = Batch::new();
//! batch
//!     .add_table(&table)
//!     .add_chain(&table, &Chain::base("forward", ChainType::Filter, Hook::Forward, -10))
//!     .add_chain(&table, &Chain::new("from_container"))
//!     .add_set(&table, &sources)
//!     .add_rule(&table, &Rule::new("forward").matches(iifname_begins("gab")).jump("from_container"))
//!     .add_rule(&table, &Rule::new("from_container").matches(ct_state(CtState::ESTABLISHED)).accept())
//!     .add_rule(&table, &Rule::new("from_container").verdict_from("sources4", [Load::IifName, Load::IpSource]))
//!     .add_rule(&table, &Rule::new("from_container").drop().comment("not its own address"))
//!     .add_elements(&table, &sources, &[known.verdict(Verdict::Accept)]);
//! Socket::open()?.commit(&batch)?;
//! # Ok(())
//! # }
//! ```

mod attribute;
mod batch;
mod chain;
mod channel;
mod conntrack;
mod error;
mod expression;
mod list;
mod name;
mod rule;
mod set;
mod socket;
mod table;
mod userdata;
mod verdict;
mod watch;

pub use batch::Batch;
pub use chain::{Chain, ChainType, Hook, Policy};
pub use conntrack::Conntrack;
pub use error::{Error, Result};
pub use expression::{
    CtState, CtStatus, Load, Match, PayloadBase, Per, Protocol, Reject, ct_state, ct_status, destination,
    destination_in, destination_is_local, destination_port, ether_source, icmp_code, icmp_type, icmp6_type,
    iif_type, iifname, iifname_begins, l4proto, mark, nfproto, oifname, oifname_begins, payload, source,
    source_in, source_port,
};
pub use list::{BaseInfo, ChainInfo, DataInfo, ElementInfo, RuleInfo, TableInfo};
pub use rule::Rule;
pub use set::{Element, Field, Set, Value};
pub use socket::{Features, Socket};
pub use table::{Family, Table};
pub use verdict::Verdict;
pub use watch::{Change, Event, Subject, Watch};
