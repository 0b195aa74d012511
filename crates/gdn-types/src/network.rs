//! Networks and firewall rules, as clients state them.

use std::net::IpAddr;

use crate::{Error, Result};

/// The network a container is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// A network namespace of its own with the loopback interface and nothing else.
    None,
    /// The engine's network: the Garden `network` string, empty for an address out of the pool.
    Pool(String),
    /// What the server is configured to do when a client says nothing.
    #[default]
    Default,
}

/// A host port mapped into the container. Garden: `NetIn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetIn {
    /// Port on the host; 0 = the next of the pool.
    pub host_port: u16,
    /// Port in the container; 0 = the same as on the host.
    pub container_port: u16,
    /// Of which protocol the port is. Garden knows TCP only.
    pub transport: Transport,
}

/// Protocols that have ports. A number stands for a port of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its name in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}

/// What a container may reach that no rule of its own allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Everything, except what the operator denies.
    #[default]
    Allow,
    /// Nothing.
    Deny,
}

impl Egress {
    /// Its name, as the property `garden.network.egress` has it.
    pub fn name(self) -> &'static str {
        match self {
            Egress::Allow => "allow",
            Egress::Deny => "deny",
        }
    }
}

impl std::str::FromStr for Egress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "allow" => Ok(Egress::Allow),
            "deny" => Ok(Egress::Deny),
            _ => Err(Error::invalid(format!("egress {text:?} is neither allow nor deny"))),
        }
    }
}

/// One allowed set of destinations. Garden: `NetOutRule`; the zero value allows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetOutRule {
    /// Protocol.
    pub protocol: Protocol,
    /// Address ranges; empty = all.
    pub networks: Vec<IpRange>,
    /// Port ranges, for TCP and UDP; empty = all.
    pub ports: Vec<PortRange>,
    /// ICMP type and code, for ICMP and ICMPv6; absent = all.
    pub icmp: Option<IcmpRule>,
    /// Whether the kernel logs the first packet of each connection.
    pub log: bool,
}

/// The rules of a container as they are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetRules {
    /// Grows with every change of them: when they are replaced as a whole, and when some are added.
    pub generation: u64,
    /// What the client has added, oldest first.
    pub rules: Vec<NetOutRule>,
}

/// Protocols of a [`NetOutRule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members are their own names")]
pub enum Protocol {
    #[default]
    All,
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
}

/// Addresses from `start` to `end`, both included, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    /// First address.
    pub start: IpAddr,
    /// Last address.
    pub end: IpAddr,
}

/// Ports from `start` to `end`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

/// An ICMP type, with one code or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpRule {
    /// ICMP type.
    pub kind: u8,
    /// ICMP code; absent = any.
    pub code: Option<u8>,
}

/// Appends an address as text, as [`Display`](std::fmt::Display) has it: one of IPv4 in a quarter of the time, since lists
/// of rules have thousands.
pub fn push_address(text: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else { return text.push_str(&address.to_string()) };
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        for (at_least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= at_least {
                text.push(char::from(b'0' + octet / unit % 10));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn addresses_are_written_as_others_write_them(address: IpAddr, before in "[a-z]{0,3}") {
            let mut text = before.clone();
            push_address(&mut text, address);
            proptest::prop_assert_eq!(text, format!("{before}{address}"));
        }
    }
}
