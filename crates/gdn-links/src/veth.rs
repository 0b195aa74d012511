//! Virtual ethernet pairs.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};

use crate::{Connection, Error, Link, LinkIndex, LinkName, Mac, Result};

/// A pair of links: what is sent into one end comes out of the other.
///
/// The peer is made inside its namespace, which is eight times as fast as moving it there.
/// Both ends vanish with the peer's namespace.
#[derive(Debug, Clone, Copy)]
pub struct VethPair<'a> {
    /// The name of this namespace's end.
    pub name: &'a LinkName,
    /// The hardware address of this namespace's end.
    pub mac: Mac,
    /// The name of the peer.
    pub peer_name: &'a LinkName,
    /// The hardware address of the peer.
    pub peer_mac: Mac,
    /// The namespace of the peer.
    pub peer_netns: BorrowedFd<'a>,
    /// The longest packet of both ends, in bytes.
    pub mtu: u32,
}

/// The numbers of the ends of a new pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VethEnds {
    /// This namespace's end.
    pub index: LinkIndex,
    /// The peer, in its own namespace.
    pub peer: LinkIndex,
}

impl Connection {
    /// Makes a pair with one message. Both ends are down and have nothing else; raise them with what they need
    /// ([`Batch::set_link`](crate::Batch::set_link)), the peer first: when an end rises whose other end is down, the kernel
    /// looks at all routes of the namespace.
    ///
    /// An end that is up when the pair is made is shut off again by the kernel's worker, because the other one is still down;
    /// that takes a grace period (RCU), during which nobody can change any link.
    ///
    /// # Errors
    /// [`Error::Refused`] with `EEXIST` when one of the names is taken in its namespace.
    pub fn add_veth_pair(&mut self, pair: &VethPair<'_>) -> Result<VethEnds> {
        let operation = || format!("add link {} with peer {}", pair.name, pair.peer_name);
        let link = self.create_link(pair.message(), pair.name, &operation)?;
        let peer = link.peer.ok_or_else(|| Error::NoAnswer { operation: operation() })?;
        Ok(VethEnds { index: link.index, peer })
    }

    /// Makes a link and returns it as the kernel made it.
    pub(crate) fn create_link(
        &mut self,
        message: LinkMessage,
        name: &LinkName,
        operation: &dyn Fn() -> String,
    ) -> Result<Link> {
        let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO;
        let echo: Option<Link> = self.perform(RouteNetlinkMessage::NewLink(message), flags, operation)?;
        match echo.filter(|link| link.name == name.as_str()) {
            Some(link) => Ok(link),
            // Kernels before 6.2 do not say what they made.
            None => self.link_named(name)?.ok_or_else(|| Error::NoAnswer { operation: operation() }),
        }
    }
}

impl VethPair<'_> {
    fn message(&self) -> LinkMessage {
        let mut peer = LinkMessage::default();
        peer.attributes = self.end(self.peer_name, self.peer_mac);
        peer.attributes.push(LinkAttribute::NetNsFd(self.peer_netns.as_raw_fd()));
        let mut message = LinkMessage::default();
        message.attributes = self.end(self.name, self.mac);
        let data = InfoData::Veth(InfoVeth::Peer(peer));
        message
            .attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]));
        message
    }

    /// One queue is enough: a pair has no hardware that would work on several, and the default is one per processor.
    fn end(&self, name: &LinkName, mac: Mac) -> Vec<LinkAttribute> {
        vec![
            LinkAttribute::IfName(name.to_string()),
            LinkAttribute::Address(mac.0.to_vec()),
            LinkAttribute::Mtu(self.mtu),
            LinkAttribute::NumTxQueues(1),
            LinkAttribute::NumRxQueues(1),
        ]
    }
}
