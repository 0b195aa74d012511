//! Pools of subnets, addresses and ports as pure logic.
//!
//! What it is: [`SubnetPool`] hands out IPv4 subnets and the addresses in them as the Garden API describes it, [`PrefixPool`]
//! IPv6 prefixes, [`PortPool`] host ports in the order in which they became free. [`Network`] is the parsed form of what a
//! client writes. Nothing here knows a clock, a file or the kernel: what was handed out is written down by the caller and put
//! back with `adopt` when it starts again.
//!
//! What it is not: it makes no address and opens no port.
//!
//! ```
//! # fn main() -> Result<(), gdn_ipam::Error> {
//! use gdn_ipam::{Network, Subnet, SubnetPool};
//! let mut pool = SubnetPool::new("10.254.0.0/22".parse()?);
//! let first = pool.acquire(&Network::parse("")?)?;
//! assert_eq!(first.subnet, "10.254.0.0/30".parse::<Subnet>()?);
//! assert_eq!((first.gateway().to_string(), first.address.to_string()), ("10.254.0.1".into(), "10.254.0.2".into()));
//! # Ok(())
//! # }
//! ```
//!
//! # Invariants
//! An address or a port is with at most one holder. What is released is free, what is not is held: `in_use` tells exactly
//! what was acquired or adopted and not released. No sequence of calls panics.
//!
//! # Sources
//! Garden's documented behaviour: the lowest free subnet and the lowest free address first, the texts of its errors.

mod error;
mod network;
mod port;
mod prefix;
mod subnet;
mod subnet_pool;

pub use error::{Error, Result};
pub use network::Network;
pub use port::PortPool;
pub use prefix::{Prefix, PrefixPool};
pub use subnet::Subnet;
pub use subnet_pool::{Lease, SubnetPool};
