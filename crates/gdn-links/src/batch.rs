//! Lists of changes that go to the kernel together.

use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;

use crate::operations::{Operation, address_message, link_message, neighbour_message, route_message};
use crate::{Address, LinkChange, LinkIndex, LinkName, Mac, Prefix, Route};

/// Room for the batches of one container's network, so that they grow only once.
const USUAL: usize = 1 << 10;

/// Changes in the order they are to be made, for [`Connection::commit`](crate::Connection::commit).
///
/// What is called `remove` succeeds when there is nothing to remove, what is called `replace` when there was something.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
}

/// One message among the bytes of a batch.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) operation: Operation,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Refusals that mean that all is as it should be.
    pub(crate) tolerated: &'static [Errno],
}

impl Batch {
    /// A batch without changes.
    #[must_use]
    pub fn new() -> Self {
        Batch { bytes: Vec::with_capacity(USUAL), entries: Vec::new() }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Changes properties of a link. Raising it comes after the others, so that it rises with them.
    pub fn set_link(&mut self, index: LinkIndex, change: &LinkChange) -> &mut Self {
        for part in change.parts() {
            let message = RouteNetlinkMessage::SetLink(link_message(index, part));
            self.push(Operation::SetLink(index), message, 0, &[]);
        }
        self
    }

    /// Deletes a link, and the other end of a pair. Takes the kernel some 25 ms, and others wait for it meanwhile.
    pub fn remove_link(&mut self, index: LinkIndex) -> &mut Self {
        let message = RouteNetlinkMessage::DelLink(link_message(index, Vec::new()));
        self.push(Operation::RemoveLink(index), message, 0, &[Errno::NODEV])
    }

    /// Deletes a link by its name; else as [`remove_link`](Self::remove_link).
    pub fn remove_link_named(&mut self, name: &LinkName) -> &mut Self {
        let attributes = vec![netlink_packet_route::link::LinkAttribute::IfName(name.to_string())];
        let message = RouteNetlinkMessage::DelLink(link_message(LinkIndex::new(0), attributes));
        self.push(Operation::RemoveLinkNamed(name.clone()), message, 0, &[Errno::NODEV])
    }

    /// Gives a link an address; one it has already is left in place.
    pub fn replace_address(&mut self, index: LinkIndex, address: Address) -> &mut Self {
        let message = RouteNetlinkMessage::NewAddress(address_message(index, address));
        self.push(
            Operation::ReplaceAddress(index, address.prefix),
            message,
            NLM_F_CREATE | NLM_F_REPLACE,
            &[],
        )
    }

    /// Takes an address from a link.
    pub fn remove_address(&mut self, index: LinkIndex, prefix: Prefix) -> &mut Self {
        let message = RouteNetlinkMessage::DelAddress(address_message(index, Address { prefix, peer: None }));
        self.push(Operation::RemoveAddress(index, prefix), message, 0, &[Errno::ADDRNOTAVAIL, Errno::NODEV])
    }

    /// Adds a route. Fails with `EEXIST` when the destination has one already.
    pub fn add_route(&mut self, route: Route) -> &mut Self {
        let message = RouteNetlinkMessage::NewRoute(route_message(route));
        self.push(Operation::AddRoute(route), message, NLM_F_CREATE | NLM_F_EXCL, &[])
    }

    /// Adds a route in the place of the one its destination has, whichever link that leads through.
    pub fn replace_route(&mut self, route: Route) -> &mut Self {
        let message = RouteNetlinkMessage::NewRoute(route_message(route));
        self.push(Operation::ReplaceRoute(route), message, NLM_F_CREATE | NLM_F_REPLACE, &[])
    }

    /// Removes a route of this destination, link and gateway.
    pub fn remove_route(&mut self, route: Route) -> &mut Self {
        let message = RouteNetlinkMessage::DelRoute(route_message(route));
        self.push(Operation::RemoveRoute(route), message, 0, &[Errno::SRCH, Errno::NODEV])
    }

    /// Makes the hardware address of a neighbour known for good, so that nobody needs to ask for it.
    pub fn replace_neighbour(&mut self, index: LinkIndex, address: IpAddr, mac: Mac) -> &mut Self {
        let message = RouteNetlinkMessage::NewNeighbour(neighbour_message(index, address, Some(mac)));
        self.push(Operation::ReplaceNeighbour(index, address), message, NLM_F_CREATE | NLM_F_REPLACE, &[])
    }

    /// Forgets a neighbour.
    pub fn remove_neighbour(&mut self, index: LinkIndex, address: IpAddr) -> &mut Self {
        let message = RouteNetlinkMessage::DelNeighbour(neighbour_message(index, address, None));
        self.push(Operation::RemoveNeighbour(index, address), message, 0, &[Errno::NOENT, Errno::NODEV])
    }

    pub(crate) fn push(
        &mut self,
        operation: Operation,
        message: RouteNetlinkMessage,
        flags: u16,
        tolerated: &'static [Errno],
    ) -> &mut Self {
        let start = self.bytes.len();
        encode(&mut self.bytes, message, NLM_F_REQUEST | flags);
        self.entries.push(Entry { operation, start, end: self.bytes.len(), tolerated });
        self
    }
}

/// Appends a message with its header.
pub(crate) fn encode(bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let start = bytes.len();
    // Messages start at multiples of four bytes (NLMSG_ALIGNTO); so do all attributes, and with them the end.
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
}
