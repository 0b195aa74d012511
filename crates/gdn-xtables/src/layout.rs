//! Where things are in the kernel's structures, for a 64-bit process.
//!
//! Source: `linux/netfilter/x_tables.h`, `linux/netfilter_ipv4/ip_tables.h`, `linux/netfilter_ipv6/ip6_tables.h`.

use std::fmt;

const _: () = assert!(size_of::<usize>() == 8, "the kernel's structures are other ones for 32-bit processes");

/// Hooks of a table (`NF_INET_NUMHOOKS`).
pub(crate) const HOOKS: usize = 5;
/// `NF_INET_FORWARD`.
pub(crate) const FORWARD: usize = 2;
/// `XT_TABLE_MAXNAMELEN`: a table's name begins all structures.
pub(crate) const NAME: usize = 32;
/// The table.
pub(crate) const TABLE: &[u8] = b"filter";
/// `struct ipt_getinfo`.
pub(crate) const INFO: usize = NAME + 4 + 2 * HOOKS * 4 + 8;
/// `struct ipt_get_entries` up to the entries.
pub(crate) const ENTRIES_HEAD: usize = 40;
/// `struct ipt_replace` up to the entries.
pub(crate) const REPLACE_HEAD: usize = 96;
/// `struct xt_counters_info` up to the counters.
pub(crate) const COUNTERS_HEAD: usize = 40;
/// `struct xt_counters`.
pub(crate) const COUNTER: usize = 16;
/// `struct xt_entry_match` and `struct xt_entry_target` up to their data: size, name, revision.
pub(crate) const EXTENSION_HEAD: usize = 32;
/// `struct xt_standard_target`: the target with a verdict, padded.
pub(crate) const STANDARD_TARGET: usize = EXTENSION_HEAD + 8;
/// `XT_MAX_COMMENT_LEN`.
pub(crate) const COMMENT: usize = 256;
/// `IFNAMSIZ`.
pub(crate) const INTERFACE: usize = 16;

/// `IPT_SO_GET_INFO` and `IPT_SO_SET_REPLACE`.
pub(crate) const INFO_OR_REPLACE: i32 = 64;
/// `IPT_SO_GET_ENTRIES` and `IPT_SO_SET_ADD_COUNTERS`.
pub(crate) const ENTRIES_OR_COUNTERS: i32 = 65;

/// `-NF_ACCEPT - 1` and `-NF_DROP - 1`.
pub(crate) const ACCEPT: i32 = -2;
pub(crate) const DROP: i32 = -1;

/// A family of addresses, each with tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: what `iptables-legacy` shows.
    Ip,
    /// IPv6: what `ip6tables-legacy` shows.
    Ip6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
        })
    }
}

/// `struct ipt_entry` or `struct ip6t_entry`: offsets in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Name of the incoming interface; the outgoing one's is behind it, then the masks of both.
    pub(crate) interfaces: usize,
    /// `target_offset`; `next_offset` is behind it.
    pub(crate) target_offset: usize,
    /// Its length, before matches and target.
    pub(crate) head: usize,
}

impl Family {
    pub(crate) fn layout(self) -> Layout {
        match self {
            Family::Ip => Layout { interfaces: 16, target_offset: 88, head: 112 },
            Family::Ip6 => Layout { interfaces: 64, target_offset: 140, head: 168 },
        }
    }

    /// The level of socket options: `IPPROTO_IP` or `IPPROTO_IPV6`.
    pub(crate) fn level(self) -> i32 {
        match self {
            Family::Ip => libc::IPPROTO_IP,
            Family::Ip6 => libc::IPPROTO_IPV6,
        }
    }

    /// Lists the tables that the kernel has of the family in the network namespace of the calling thread.
    pub(crate) fn names(self) -> &'static str {
        match self {
            Family::Ip => "/proc/thread-self/net/ip_tables_names",
            Family::Ip6 => "/proc/thread-self/net/ip6_tables_names",
        }
    }
}

/// The two bytes at an offset as a number of the host.
pub(crate) fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

/// The four bytes at an offset as a number of the host.
pub(crate) fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

/// Writes bytes at an offset; what would be beyond the end is not written.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}
