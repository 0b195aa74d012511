//! nftables over netlink: typed rules, sets and maps, committed as one atomic batch.

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
