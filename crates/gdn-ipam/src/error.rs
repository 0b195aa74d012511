//! What a pool refuses, and why.

use std::net::Ipv4Addr;

use crate::{Prefix, Subnet};

/// The result of a pool's call.
pub type Result<T> = std::result::Result<T, Error>;

/// What a pool refuses. The texts of the reference engine are kept where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Every dynamic subnet is taken.
    #[error("insufficient subnets remaining in the pool")]
    NoSubnet,
    /// Every address of a shared subnet is taken.
    #[error("insufficient IPs remaining in the pool")]
    NoAddress,
    /// Every prefix of the IPv6 pool is taken.
    #[error("insufficient IPv6 prefixes remaining in the pool")]
    NoPrefix,
    /// Every port of the pool is taken.
    #[error("port pool is exhausted")]
    NoPort,
    /// Somebody has the address.
    #[error("the requested IP is already allocated: {0}")]
    AddressTaken(Ipv4Addr),
    /// The gateway's, the broadcast's, or none of the subnet's.
    #[error("the requested IP cannot be used: {address} is {reason} of {subnet}")]
    AddressReserved {
        /// The address asked for.
        address: Ipv4Addr,
        /// Which special address it is.
        reason: &'static str,
        /// The subnet it was asked for in.
        subnet: Subnet,
    },
    /// A subnet that is asked for by name must lie outside the range from which subnets are handed out.
    #[error("the requested subnet ({requested}) overlaps the dynamic allocation range ({range})")]
    OverlapsRange {
        /// The subnet asked for.
        requested: Subnet,
        /// The dynamic range.
        range: Subnet,
    },
    /// A subnet that is asked for by name overlaps a different one that is in use.
    #[error("the requested subnet ({requested}) overlaps an existing subnet ({existing})")]
    OverlapsSubnet {
        /// The subnet asked for.
        requested: Subnet,
        /// The one in use.
        existing: Subnet,
    },
    /// Somebody has the prefix.
    #[error("the IPv6 prefix {0} is already allocated")]
    PrefixTaken(Prefix),
    /// Somebody has the port.
    #[error("host port {0} is already mapped")]
    PortTaken(u16),
    /// A text that is no network.
    #[error("invalid network {text:?}: {reason}")]
    InvalidNetwork {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A range from which nothing could be handed out.
    #[error("{pool} cannot serve as a pool: {reason}")]
    InvalidPool {
        /// What was given.
        pool: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    /// Whether the pool is empty, so that the same call can succeed later.
    pub fn is_exhaustion(&self) -> bool {
        matches!(self, Error::NoSubnet | Error::NoAddress | Error::NoPrefix | Error::NoPort)
    }

    /// Whether somebody else holds what was asked for.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Error::AddressTaken(_)
                | Error::PortTaken(_)
                | Error::PrefixTaken(_)
                | Error::OverlapsSubnet { .. }
        )
    }
}
