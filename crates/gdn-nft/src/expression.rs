//! What a rule is made of, as the kernel has it.

mod load;
mod matching;

pub use load::{Load, PayloadBase};
pub use matching::{
    CtState, CtStatus, Match, Protocol, ct_state, ct_status, destination, destination_in,
    destination_is_local, destination_port, ether_source, icmp_code, icmp_type, icmp6_type, iif_type,
    iifname, iifname_begins, l4proto, mark, nfproto, oifname, oifname_begins, payload, source, source_in,
    source_port,
};

pub(crate) use matching::{Requirements, TCP};

use crate::Verdict;
use crate::attribute::Writer;

/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// `NFT_REG32_00`: the first of 16 registers of 4 bytes.
const FIRST_REGISTER: u32 = 8;

/// The number of a register for the kernel; `word` counts from 0.
fn register(word: usize) -> u32 {
    u32::try_from(word).map_or(u32::MAX, |word| word.saturating_add(FIRST_REGISTER))
}

/// Why and how a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// ICMP or ICMPv6: administratively prohibited.
    AdminProhibited,
    /// ICMP or ICMPv6: port unreachable.
    PortUnreachable,
    /// A reset of the TCP connection. Other packets are not matched by such a rule.
    TcpReset,
}

/// A unit of time for a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Per {
    fn seconds(self) -> u64 {
        match self {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3600,
        }
    }
}

/// Where a lookup's data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Into {
    Nothing,
    Verdict,
    Word(usize),
}

/// One expression. Registers are counted in words of 4 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Load { what: Load, word: usize },
    Compare { word: usize, equal: bool, value: Vec<u8> },
    And { word: usize, mask: Vec<u8> },
    Lookup { set: String, word: usize, into: Into, inverted: bool },
    Value { word: usize, value: Vec<u8> },
    Verdict(Verdict),
    Nat { destination: bool, v6: bool, address: usize, port: Option<usize> },
    Masquerade,
    Reject(Reject),
    Log { prefix: Option<String>, group: Option<u16> },
    Limit { rate: u64, per: Per, burst: u32 },
    Counter,
}

/// `NFTA_DATA_VALUE`.
const VALUE: u16 = 1;
/// `NFTA_DATA_VERDICT`.
const VERDICT: u16 = 2;

impl Expression {
    /// Writes it as one item of `NFTA_RULE_EXPRESSIONS`.
    pub(crate) fn write(&self, to: &mut Writer<'_>) {
        let name = match self {
            Expression::Load { what, .. } => what.expression(),
            Expression::Compare { .. } => "cmp",
            Expression::And { .. } => "bitwise",
            Expression::Lookup { .. } => "lookup",
            Expression::Value { .. } | Expression::Verdict(_) => "immediate",
            Expression::Nat { .. } => "nat",
            Expression::Masquerade => "masq",
            Expression::Reject(_) => "reject",
            Expression::Log { .. } => "log",
            Expression::Limit { .. } => "limit",
            Expression::Counter => "counter",
        };
        to.nest(1, |item| {
            item.string(1, name);
            item.nest(2, |data| self.write_data(data));
        });
    }

    /// Writes `NFTA_EXPR_DATA`; the numbers are those of `enum nft_<name>_attributes`.
    fn write_data(&self, to: &mut Writer<'_>) {
        match self {
            Expression::Load { what, word } => what.write(to, register(*word)),
            Expression::Compare { word, equal, value } => {
                to.number32(1, register(*word));
                to.number32(2, u32::from(!equal));
                to.nest(3, |data| data.bytes(VALUE, value));
            }
            Expression::And { word, mask } => {
                to.number32(1, register(*word));
                to.number32(2, register(*word));
                to.number32(3, u32::try_from(mask.len()).unwrap_or(u32::MAX));
                to.nest(4, |data| data.bytes(VALUE, mask));
                to.nest(5, |data| data.bytes(VALUE, &vec![0; mask.len()]));
            }
            Expression::Lookup { set, word, into, inverted } => {
                to.string(1, set);
                to.number32(2, register(*word));
                match into {
                    Into::Nothing => {}
                    Into::Verdict => to.number32(3, VERDICT_REGISTER),
                    Into::Word(word) => to.number32(3, register(*word)),
                }
                if *inverted {
                    to.number32(5, 1);
                }
            }
            Expression::Value { word, value } => {
                to.number32(1, register(*word));
                to.nest(2, |data| data.bytes(VALUE, value));
            }
            Expression::Verdict(verdict) => {
                to.number32(1, VERDICT_REGISTER);
                to.nest(2, |data| data.nest(VERDICT, |inner| verdict.write(inner)));
            }
            Expression::Nat { destination, v6, address, port } => {
                to.number32(1, u32::from(*destination));
                to.number32(2, if *v6 { 10 } else { 2 });
                to.number32(3, register(*address));
                if let Some(port) = port {
                    to.number32(5, register(*port));
                }
            }
            Expression::Masquerade | Expression::Counter => {}
            Expression::Reject(reject) => {
                let (kind, code) = match reject {
                    Reject::TcpReset => (1, None),
                    Reject::PortUnreachable => (2, Some(1)),
                    Reject::AdminProhibited => (2, Some(3)),
                };
                to.number32(1, kind);
                if let Some(code) = code {
                    to.number8(2, code);
                }
            }
            Expression::Log { prefix, group } => {
                if let Some(group) = group {
                    to.number16(1, *group);
                }
                if let Some(prefix) = prefix {
                    to.string(2, prefix);
                }
            }
            Expression::Limit { rate, per, burst } => {
                to.number64(1, *rate);
                to.number64(2, per.seconds());
                to.number32(3, *burst);
                to.number32(4, 0);
                to.number32(5, 0);
            }
        }
    }
}
