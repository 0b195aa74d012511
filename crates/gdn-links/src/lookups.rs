//! Questions to the kernel.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, ParseableParametrized};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::stats::{StatsAttribute, StatsFilterMask, StatsMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::connection::Readable;
use crate::operations::link_message;
use crate::{
    Connection, Counters, Error, Family, InterfaceAddress, Link, LinkIndex, LinkName, Outbound, Prefix,
    Result, RouteEntry, Scope,
};

impl Connection {
    /// The link of a name, if there is one.
    ///
    /// # Errors
    /// As of every question: [`Error::Refused`], [`Error::Call`], [`Error::NoAnswer`] or [`Error::Unreadable`].
    pub fn link_named(&mut self, name: &LinkName) -> Result<Option<Link>> {
        let attributes = vec![LinkAttribute::IfName(name.to_string()), without_counters()];
        self.one_link(LinkIndex::new(0), attributes, &|| format!("look up link {name}"))
    }

    /// The link of a number, if there is one.
    ///
    /// # Errors
    /// As of every question, see [`link_named`](Self::link_named).
    pub fn link(&mut self, index: LinkIndex) -> Result<Option<Link>> {
        self.one_link(index, vec![without_counters()], &|| format!("look up link {index}"))
    }

    fn one_link(
        &mut self,
        index: LinkIndex,
        attributes: Vec<LinkAttribute>,
        operation: &dyn Fn() -> String,
    ) -> Result<Option<Link>> {
        let message = RouteNetlinkMessage::GetLink(link_message(index, attributes));
        self.ask(message, operation)
    }

    /// All links whose names begin with a prefix, at most `limit` of them.
    ///
    /// # Errors
    /// [`Error::TooMany`] when there are more, [`Error::Unsteady`] when links come and go all the time, else as of every
    /// question.
    pub fn links_with_prefix(&mut self, prefix: &str, limit: usize) -> Result<Vec<Link>> {
        let message = RouteNetlinkMessage::GetLink(link_message(LinkIndex::new(0), vec![without_counters()]));
        let operation = || format!("list links named {prefix}*");
        self.list(&message, limit, &operation, |link: &Link| link.name.starts_with(prefix))
    }

    /// What went through a link; none when there is no such link.
    ///
    /// # Errors
    /// As of every question, see [`link_named`](Self::link_named).
    pub fn counters(&mut self, index: LinkIndex) -> Result<Option<Counters>> {
        let mut message = StatsMessage::default();
        message.header.ifindex = index.get();
        message.header.filter_mask = StatsFilterMask::Link64;
        let operation = || format!("read counters of link {index}");
        self.ask(RouteNetlinkMessage::GetStats(message), &operation)
    }

    /// The addresses of one link, or of all links of the namespace; at most `limit`.
    ///
    /// # Errors
    /// As [`links_with_prefix`](Self::links_with_prefix).
    pub fn addresses(&mut self, link: Option<LinkIndex>, limit: usize) -> Result<Vec<InterfaceAddress>> {
        let mut message = AddressMessage::default();
        message.header.index = link.map_or(0, LinkIndex::get);
        let operation = || match link {
            Some(index) => format!("list addresses of link {index}"),
            None => "list addresses".to_owned(),
        };
        let found = self.list(&RouteNetlinkMessage::GetAddress(message), limit, &operation, |_| true);
        match found {
            // A listing for a link that is not there.
            Err(Error::Refused { errno: Errno::NODEV, .. }) => Ok(Vec::new()),
            found => found,
        }
    }

    /// The routes of one family in the main table whose destinations overlap a prefix; at most `limit`. Routes for all
    /// destinations overlap everything and are left out.
    ///
    /// # Errors
    /// As [`links_with_prefix`](Self::links_with_prefix).
    pub fn routes_overlapping(&mut self, prefix: Prefix, limit: usize) -> Result<Vec<RouteEntry>> {
        let mut message = RouteMessage::default();
        message.header.address_family = prefix.family().number();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unspec;
        let operation = || format!("list routes that overlap {prefix}");
        self.list(&RouteNetlinkMessage::GetRoute(message), limit, &operation, |route: &RouteEntry| {
            route.destination.length() > 0 && route.destination.overlaps(prefix)
        })
    }

    /// The way that packets to far away take; none when the host knows of none. One look-up, however many routes there are.
    ///
    /// # Errors
    /// As of every question, see [`link_named`](Self::link_named).
    pub fn outbound(&mut self, family: Family) -> Result<Option<Outbound>> {
        let far = family.far_away();
        let mut message = RouteMessage::default();
        message.header.address_family = family.number();
        message.header.destination_prefix_length = family.bits();
        message.attributes.push(RouteAttribute::Destination(match far {
            IpAddr::V4(address) => RouteAddress::Inet(address),
            IpAddr::V6(address) => RouteAddress::Inet6(address),
        }));
        match self.ask(RouteNetlinkMessage::GetRoute(message), &|| format!("look up the way to {far}")) {
            Err(Error::Refused { errno: Errno::NETUNREACH | Errno::HOSTUNREACH, .. }) => Ok(None),
            found => found,
        }
    }
}

/// Counters make up most of a link's description.
fn without_counters() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

impl Readable for Counters {
    fn read(kind: u16, content: &[u8]) -> std::result::Result<Option<Self>, DecodeError> {
        let RouteNetlinkMessage::NewStats(message) = RouteNetlinkMessage::parse_with_param(content, kind)?
        else {
            return Ok(None);
        };
        Ok(message.attributes.into_iter().find_map(|attribute| match attribute {
            StatsAttribute::Link64(stats) => Some(Counters {
                rx_bytes: stats.rx_bytes,
                rx_packets: stats.rx_packets,
                tx_bytes: stats.tx_bytes,
                tx_packets: stats.tx_packets,
            }),
            _ => None,
        }))
    }
}

impl Readable for InterfaceAddress {
    fn read(kind: u16, content: &[u8]) -> std::result::Result<Option<Self>, DecodeError> {
        Ok(match RouteNetlinkMessage::parse_with_param(content, kind)? {
            RouteNetlinkMessage::NewAddress(message) => address_of(&message),
            _ => None,
        })
    }
}

impl Readable for RouteEntry {
    fn read(kind: u16, content: &[u8]) -> std::result::Result<Option<Self>, DecodeError> {
        Ok(match RouteNetlinkMessage::parse_with_param(content, kind)? {
            RouteNetlinkMessage::NewRoute(message) => route_of(&message),
            _ => None,
        })
    }
}

impl Readable for Outbound {
    fn read(kind: u16, content: &[u8]) -> std::result::Result<Option<Self>, DecodeError> {
        let RouteNetlinkMessage::NewRoute(message) = RouteNetlinkMessage::parse_with_param(content, kind)?
        else {
            return Ok(None);
        };
        let (mut link, mut via, mut source) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(index) => link = Some(LinkIndex::new(*index)),
                RouteAttribute::Gateway(gateway) => via = ip_of(gateway),
                RouteAttribute::PrefSource(address) => source = ip_of(address),
                _ => {}
            }
        }
        Ok(link.map(|link| Outbound { link, via, source }))
    }
}

fn address_of(message: &AddressMessage) -> Option<InterfaceAddress> {
    let mut local = None;
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(found) => local = Some(*found),
            AddressAttribute::Address(found) => address = Some(*found),
            _ => {}
        }
    }
    // With a peer, the plain address is the peer's.
    let prefix = Prefix::new(local.or(address)?, message.header.prefix_len).ok()?;
    let scope = match message.header.scope {
        AddressScope::Host | AddressScope::Nowhere => Scope::Host,
        AddressScope::Link => Scope::Link,
        _ => Scope::Global,
    };
    Some(InterfaceAddress { link: LinkIndex::new(message.header.index), prefix, scope })
}

fn route_of(message: &RouteMessage) -> Option<RouteEntry> {
    let family = if message.header.address_family == AddressFamily::Inet { Family::V4 } else { Family::V6 };
    let mut destination = family.unspecified();
    let (mut link, mut via, mut table) = (None, None, u32::from(message.header.table));
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => destination = ip_of(found)?,
            RouteAttribute::Gateway(gateway) => via = ip_of(gateway),
            RouteAttribute::Oif(index) => link = Some(LinkIndex::new(*index)),
            RouteAttribute::MultiPath(hops) => {
                link = hops.first().map(|hop| LinkIndex::new(hop.interface_index));
            }
            RouteAttribute::Table(found) => table = *found,
            _ => {}
        }
    }
    // A kernel that does not filter sends all tables.
    (table == u32::from(RouteHeader::RT_TABLE_MAIN)).then_some(())?;
    let destination = Prefix::new(destination, message.header.destination_prefix_length).ok()?;
    Some(RouteEntry { destination, link, via })
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
