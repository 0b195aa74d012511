//! What links are and what can be changed about them.

use netlink_packet_core::{DecodeError, NlasIterator, parse_string, parse_u32};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkHeader,
};

use crate::connection::Readable;
use crate::{LinkIndex, Mac};

/// The length of `struct ifinfomsg`.
const HEADER: usize = 16;

/// A link as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: LinkIndex,
    /// Its name. Names of others may hold what [`LinkName`](crate::LinkName) refuses.
    pub name: String,
    /// Its hardware address; none for links without one and for such of another length than ethernet's.
    pub mac: Option<Mac>,
    /// The longest packet in bytes.
    pub mtu: u32,
    /// Whether it was raised.
    pub is_up: bool,
    /// Whether it can carry packets now: it is up, and so is the other end.
    pub is_running: bool,
    /// The note somebody left on it (`ip link set ... alias`).
    pub alias: Option<String>,
    /// The number of the other end of a pair, in the namespace that one is in.
    pub peer: Option<LinkIndex>,
}

/// What went through a link since it was made, as seen from this end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

impl Readable for Link {
    /// Reads these few attributes only: links of others have dozens, some of them newer than any library.
    fn read(kind: u16, content: &[u8]) -> Result<Option<Self>, DecodeError> {
        if kind != libc::RTM_NEWLINK {
            return Ok(None);
        }
        let header = LinkHeader::parse(content)?;
        let mut link = Link {
            index: LinkIndex::new(header.index),
            name: String::new(),
            mac: None,
            mtu: 0,
            is_up: header.flags.contains(LinkFlags::Up),
            is_running: header.flags.contains(LinkFlags::LowerUp),
            alias: None,
            peer: None,
        };
        for attribute in NlasIterator::new(&content[HEADER..]) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                libc::IFLA_IFNAME => link.name = parse_string(value)?,
                libc::IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
                libc::IFLA_MTU => link.mtu = parse_u32(value)?,
                libc::IFLA_IFALIAS => link.alias = Some(parse_string(value)?),
                libc::IFLA_LINK => link.peer = Some(LinkIndex::new(parse_u32(value)?)),
                _ => {}
            }
        }
        Ok(Some(link))
    }
}

/// Changes to one link.
///
/// ```
/// use gdn_links::LinkChange;
/// let change = LinkChange::new().alias("engine 1").without_link_local().up();
/// # drop(change);
/// ```
#[derive(Debug, Clone, Default)]
pub struct LinkChange {
    up: Option<bool>,
    silent: bool,
    attributes: Vec<LinkAttribute>,
}

/// What one message can change.
pub(crate) struct Part {
    pub(crate) up: Option<bool>,
    pub(crate) silent: bool,
    pub(crate) attributes: Vec<LinkAttribute>,
}

impl LinkChange {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        LinkChange::default()
    }

    /// Raises the link.
    #[must_use]
    pub fn up(mut self) -> Self {
        self.up = Some(true);
        self
    }

    /// Lowers the link.
    #[must_use]
    pub fn down(mut self) -> Self {
        self.up = Some(false);
        self
    }

    /// Sets the length of the longest packet in bytes.
    #[must_use]
    pub fn mtu(mut self, bytes: u32) -> Self {
        self.attributes.push(LinkAttribute::Mtu(bytes));
        self
    }

    /// Leaves a note of at most 255 bytes on the link.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Self {
        self.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        self
    }

    /// Keeps the kernel from giving the link a link-local IPv6 address when it rises.
    #[must_use]
    pub fn without_link_local(mut self) -> Self {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        self.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
        self
    }

    /// Takes no part in the search for neighbours: nobody on the link is asked, answered or learnt from, so that the
    /// neighbours have to be given. Whoever sends on the link cannot fill the host's table of neighbours.
    #[must_use]
    pub fn without_neighbour_discovery(mut self) -> Self {
        self.silent = true;
        self
    }

    /// The messages it takes. The kernel raises a link before it heeds all attributes of the same message.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        let attributes = (!self.attributes.is_empty()).then(|| Part {
            up: None,
            silent: false,
            attributes: self.attributes.clone(),
        });
        let has_flags = self.up.is_some() || self.silent;
        let flags = has_flags.then(|| Part { up: self.up, silent: self.silent, attributes: Vec::new() });
        attributes.into_iter().chain(flags)
    }
}
