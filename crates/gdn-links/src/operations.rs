//! The changes a batch is made of: their names in errors and their messages.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use crate::link::Part;
use crate::{Address, Family, LinkIndex, LinkName, Mac, Prefix, Route};

/// What a message asks for, kept to be named when it fails.
#[derive(Debug)]
pub(crate) enum Operation {
    SetLink(LinkIndex),
    RemoveLink(LinkIndex),
    RemoveLinkNamed(LinkName),
    ReplaceAddress(LinkIndex, Prefix),
    RemoveAddress(LinkIndex, Prefix),
    AddRoute(Route),
    ReplaceRoute(Route),
    RemoveRoute(Route),
    ReplaceNeighbour(LinkIndex, IpAddr),
    RemoveNeighbour(LinkIndex, IpAddr),
    LimitSending(LinkIndex),
    RemoveSendingLimit(LinkIndex),
    Redirect(LinkIndex, LinkIndex),
    RemoveRedirect(LinkIndex),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::SetLink(index) => write!(f, "set link {index}"),
            Operation::RemoveLink(index) => write!(f, "remove link {index}"),
            Operation::RemoveLinkNamed(name) => write!(f, "remove link {name}"),
            Operation::ReplaceAddress(index, prefix) => write!(f, "give address {prefix} to link {index}"),
            Operation::RemoveAddress(index, prefix) => write!(f, "take address {prefix} from link {index}"),
            Operation::AddRoute(route) => write!(f, "add route {route}"),
            Operation::ReplaceRoute(route) => write!(f, "replace route {route}"),
            Operation::RemoveRoute(route) => write!(f, "remove route {route}"),
            Operation::ReplaceNeighbour(index, address) => {
                write!(f, "set neighbour {address} on link {index}")
            }
            Operation::RemoveNeighbour(index, address) => {
                write!(f, "remove neighbour {address} on link {index}")
            }
            Operation::LimitSending(index) => write!(f, "limit what link {index} sends"),
            Operation::RemoveSendingLimit(index) => write!(f, "remove the limit of what link {index} sends"),
            Operation::Redirect(index, to) => write!(f, "lead what link {index} receives through link {to}"),
            Operation::RemoveRedirect(index) => {
                write!(f, "lead what link {index} receives through no other link")
            }
        }
    }
}

pub(crate) fn link_message(index: LinkIndex, part: impl Into<Part>) -> LinkMessage {
    let part = part.into();
    let mut message = LinkMessage::default();
    message.header.index = index.get();
    if let Some(is_up) = part.up {
        message.header.flags = if is_up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
    }
    if part.silent {
        message.header.flags |= LinkFlags::Noarp;
        message.header.change_mask |= LinkFlags::Noarp;
    }
    message.attributes = part.attributes;
    message
}

impl From<Vec<LinkAttribute>> for Part {
    fn from(attributes: Vec<LinkAttribute>) -> Self {
        Part { up: None, silent: false, attributes }
    }
}

pub(crate) fn address_message(index: LinkIndex, address: Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    let family = address.prefix.family();
    message.header.family = family.number();
    message.header.prefix_len = address.prefix.length();
    message.header.index = index.get();
    message.header.scope =
        if address.prefix.address().is_loopback() { AddressScope::Host } else { AddressScope::Universe };
    if family == Family::V6 {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes = vec![
        AddressAttribute::Local(address.prefix.address()),
        AddressAttribute::Address(address.peer.unwrap_or(address.prefix.address())),
    ];
    message
}

pub(crate) fn route_message(route: Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let family = route.destination.family();
    message.header = RouteHeader {
        address_family: family.number(),
        destination_prefix_length: route.destination.length(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: if route.via.is_none() && family == Family::V4 {
            RouteScope::Link
        } else {
            RouteScope::Universe
        },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Oif(route.link.get())];
    if route.destination.length() > 0 {
        message.attributes.push(RouteAttribute::Destination(route.destination.address().into()));
    }
    message.attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    message
}

pub(crate) fn neighbour_message(index: LinkIndex, address: IpAddr, mac: Option<Mac>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = Family::of(address).number();
    message.header.ifindex = index.get();
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    })];
    if let Some(mac) = mac {
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    }
    message
}
