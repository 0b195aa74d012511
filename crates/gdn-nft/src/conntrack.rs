//! Deleting tracked connections of an address.
//!
//! Rules are asked for the first packets of a connection only where they accept what is established, and a translation
//! is kept for as long as its connection: when an address or a port is withdrawn, its connections have to go too.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::Result;
use crate::attribute::{Attributes, Header, Message, message};
use crate::batch::REQUEST;
use crate::channel::{ACKNOWLEDGE, Channel, DUMP};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u8 = 1;
const GET: u8 = 1;
const DELETE: u8 = 2;
const GET_STATS: u8 = 5;
/// The most connections of one address.
const MOST: usize = 1 << 20;

/// `enum ctattr_type`.
mod attribute {
    pub(super) const ORIGINAL: u16 = 1;
    pub(super) const REPLY: u16 = 2;
    pub(super) const ID: u16 = 12;
    pub(super) const ZONE: u16 = 18;
    pub(super) const FILTER: u16 = 25;
}

/// A socket to the connection tracking of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Conntrack {
    channel: Channel,
}

/// Which connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Selector {
    /// Absent: those whose destination is not translated.
    address: Option<IpAddr>,
    /// Transport protocol, and destination port as its first packet had it.
    service: Option<(u8, u16)>,
    /// Only those whose first packet came from the address.
    only_begun: bool,
}

/// Where an address is in any of its connections: the source of the first packet, or of the answer. Whatever else its
/// connections say of it follows from one of these; each place costs a walk through the kernel's whole table.
const PLACES: [Option<u16>; 2] = [Some(attribute::ORIGINAL), Some(attribute::REPLY)];

/// A walk through the kernel's table, most of whose places are empty, takes as long as telling of so many connections: found
/// with a table of 262,144 places, which is what hosts have by default.
const WALK: usize = 7_000;

/// What the kernel wants to know of the connection to be deleted.
#[derive(Debug)]
struct Entry {
    original: Vec<u8>,
    id: Option<Vec<u8>>,
    zone: Option<Vec<u8>>,
}

impl Entry {
    fn of(message: Message<'_>) -> Self {
        let attributes = message.attributes();
        Entry {
            original: attributes.inside(attribute::ORIGINAL).0.to_vec(),
            id: attributes.find(attribute::ID).map(<[u8]>::to_vec),
            zone: attributes.find(attribute::ZONE).map(<[u8]>::to_vec),
        }
    }
}

impl Conntrack {
    /// Opens a socket.
    ///
    /// # Errors
    /// As for [`Socket::open`](crate::Socket::open).
    pub fn open() -> Result<Conntrack> {
        Ok(Conntrack { channel: Channel::open()? })
    }

    /// Deletes all connections from or to an address, before or after translation, and gives their number.
    ///
    /// Those that begin while it runs may stay: take the rule away first. It walks through the kernel's table, which takes
    /// milliseconds however few connections there are: for several addresses see [`delete_of_any`](Conntrack::delete_of_any).
    ///
    /// # Errors
    /// What the kernel refused; [`Error::TooLong`](crate::Error::TooLong) beyond a million.
    pub fn delete_of(&mut self, address: IpAddr) -> Result<usize> {
        self.delete(Selector { address: Some(address), service: None, only_begun: false })
    }

    /// Like [`delete_of`](Conntrack::delete_of) for each of some addresses, of both families.
    ///
    /// # Errors
    /// As for [`delete_of`](Conntrack::delete_of).
    pub fn delete_of_any(&mut self, addresses: &[IpAddr]) -> Result<usize> {
        self.delete_any(addresses, false)
    }

    /// Like [`delete_of`](Conntrack::delete_of), but only connections of a transport protocol (6 is TCP) whose first
    /// packet went to this port: those of one mapped port.
    ///
    /// # Errors
    /// As for [`delete_of`](Conntrack::delete_of).
    pub fn delete_of_port(&mut self, address: IpAddr, protocol: u8, port: u16) -> Result<usize> {
        self.delete(Selector { address: Some(address), service: Some((protocol, port)), only_begun: false })
    }

    /// Deletes the connections whose first packet came from one of some addresses, and gives their number. What is still
    /// allowed goes on as a new connection.
    ///
    /// # Errors
    /// As for [`delete_of`](Conntrack::delete_of).
    pub fn delete_begun_by_any(&mut self, addresses: &[IpAddr]) -> Result<usize> {
        self.delete_any(addresses, true)
    }

    /// By one walk that lists all connections, or by one or two for each address of IPv4, in which the kernel picks: what
    /// costs less.
    fn delete_any(&mut self, addresses: &[IpAddr], only_begun: bool) -> Result<usize> {
        let (six, four): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv6());
        let walks = four.len().saturating_mul(if only_begun { 1 } else { PLACES.len() });
        if four.is_empty() || self.count()? <= walks.saturating_mul(WALK) {
            return self.delete_listed(addresses, only_begun);
        }
        let mut deleted = self.delete_listed(&six, only_begun)?;
        for address in four {
            deleted += self.delete(Selector { address: Some(address), service: None, only_begun })?;
        }
        Ok(deleted)
    }

    fn delete_listed(&mut self, addresses: &[IpAddr], only_begun: bool) -> Result<usize> {
        let Some(first) = addresses.first() else { return Ok(0) };
        let all_alike = addresses.iter().all(|address| address.is_ipv6() == first.is_ipv6());
        let family = if all_alike { family_of(*first) } else { 0 };
        let wanted: HashSet<IpAddr> = addresses.iter().copied().collect();
        let mut request = Vec::new();
        message(&mut request, Header { kind: kind(GET), flags: REQUEST | DUMP, family, resource: 0 }, |_| {});
        let entries = self.channel.dump("list connections", &request, MOST, |message, found| {
            let tuple = |direction| ends(message.attributes().inside(direction));
            let (original, reply) = (tuple(attribute::ORIGINAL), tuple(attribute::REPLY));
            let involved: &[Option<IpAddr>] = match only_begun {
                true => &original[..1],
                false => &[original[0], original[1], reply[0], reply[1]],
            };
            if message.kind == kind(0) && involved.iter().flatten().any(|address| wanted.contains(address)) {
                found.push((message.family(), Entry::of(message)));
            }
        })?;
        let mut deleted = 0;
        for (family, entry) in entries {
            deleted += usize::from(self.delete_entry(family, &entry)?);
        }
        Ok(deleted)
    }

    /// How many connections are tracked.
    fn count(&mut self) -> Result<usize> {
        let mut request = Vec::new();
        let header = Header { kind: kind(GET_STATS), flags: REQUEST | ACKNOWLEDGE, family: 0, resource: 0 };
        message(&mut request, header, |_| {});
        let found = self.channel.dump("count connections", &request, 1, |message, found| {
            found.extend(message.attributes().number32(1));
        })?;
        Ok(found.first().and_then(|count| usize::try_from(*count).ok()).unwrap_or(0))
    }

    /// Deletes the connections of a transport protocol (17 is UDP) that went to this port and are not translated, and gives
    /// their number: where the port leads elsewhere from now on, they would not notice.
    ///
    /// # Errors
    /// As for [`delete_of`](Conntrack::delete_of).
    pub fn delete_untranslated(&mut self, protocol: u8, port: u16) -> Result<usize> {
        let selector = Selector { address: None, service: Some((protocol, port)), only_begun: false };
        let mut deleted = 0;
        for family in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()].map(family_of) {
            for entry in self.list(family, selector, None)? {
                deleted += usize::from(self.delete_entry(family, &entry)?);
            }
        }
        Ok(deleted)
    }

    fn delete(&mut self, selector: Selector) -> Result<usize> {
        let family = selector.address.map_or(0, family_of);
        let mut deleted = 0;
        let places: &[Option<u16>] = match (selector.address, selector.only_begun) {
            // Told to pick an address of IPv6, the kernel gives the connections of all others (5.8 to 6.18 at least).
            (None | Some(IpAddr::V6(_)), _) => &[None],
            (Some(IpAddr::V4(_)), true) => &PLACES[..1],
            (Some(IpAddr::V4(_)), false) => &PLACES,
        };
        for place in places.iter().copied() {
            let entries = match self.list(family, selector, place) {
                // A kernel that knows the filter but not this one: all are read, and looked at here.
                Err(error) if error.errno() == Some(Errno::INVAL) => self.list(family, selector, None)?,
                other => other?,
            };
            for entry in entries {
                deleted += usize::from(self.delete_entry(family, &entry)?);
            }
        }
        Ok(deleted)
    }

    /// The connections selected. The kernel picks those that have the address at the place (Linux 5.8; older ones give
    /// all); in any case they are looked at here.
    fn list(&mut self, family: u8, selector: Selector, place: Option<u16>) -> Result<Vec<Entry>> {
        let mut request = Vec::new();
        let header = Header { kind: kind(GET), flags: REQUEST | DUMP, family, resource: 0 };
        message(&mut request, header, |body| {
            let (Some(place), Some(address)) = (place, selector.address) else { return };
            body.nest(place, |tuple| {
                tuple.nest(1, |ip| match address {
                    IpAddr::V4(address) => ip.bytes(1, &address.octets()),
                    IpAddr::V6(address) => ip.bytes(3, &address.octets()),
                });
            });
            body.nest(attribute::FILTER, |filter| {
                // Bit 0 compares the source.
                filter.bytes(place, &1_u32.to_ne_bytes());
            });
        });
        let operation = match selector.address {
            Some(address) => format!("list connections of {address}"),
            None => "list connections".to_owned(),
        };
        self.channel.dump(&operation, &request, MOST, |message, found| found.extend(entry(message, selector)))
    }

    /// Whether it was there still.
    fn delete_entry(&mut self, family: u8, entry: &Entry) -> Result<bool> {
        let mut request = Vec::new();
        let header = Header { kind: kind(DELETE), flags: REQUEST | ACKNOWLEDGE, family, resource: 0 };
        message(&mut request, header, |body| {
            body.nest(attribute::ORIGINAL, |tuple| tuple.raw(&entry.original));
            if let Some(id) = &entry.id {
                body.bytes(attribute::ID, id);
            }
            if let Some(zone) = &entry.zone {
                body.bytes(attribute::ZONE, zone);
            }
        });
        match self.channel.request("delete connection", request) {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn family_of(address: IpAddr) -> u8 {
    let family =
        if address.is_ipv6() { rustix::net::AddressFamily::INET6 } else { rustix::net::AddressFamily::INET };
    u8::try_from(family.as_raw()).unwrap_or(0)
}

fn kind(number: u8) -> u16 {
    u16::from_be_bytes([SUBSYSTEM, number])
}

/// The connection a message tells of, if it is one of those selected.
fn entry(message: Message<'_>, selector: Selector) -> Option<Entry> {
    if message.kind != kind(0) {
        return None;
    }
    let attributes = message.attributes();
    let original = attributes.inside(attribute::ORIGINAL);
    let reply = attributes.inside(attribute::REPLY);
    let involved = match selector.address {
        None => answers_from_where_it_went(original, reply),
        Some(address) if selector.only_begun => comes_from(original, address),
        Some(address) => has(original, address) || has(reply, address),
    };
    let wanted = selector.service.is_none_or(|service| goes_to(original, service));
    (involved && wanted).then(|| Entry::of(message))
}

/// Source and destination of a tuple.
fn ends(tuple: Attributes<'_>) -> [Option<IpAddr>; 2] {
    let ip = tuple.inside(1);
    let four = |kind| ip.find(kind).and_then(|value| <[u8; 4]>::try_from(value).ok()).map(IpAddr::from);
    let six = |kind| ip.find(kind).and_then(|value| <[u8; 16]>::try_from(value).ok()).map(IpAddr::from);
    [four(1).or_else(|| six(3)), four(2).or_else(|| six(4))]
}

/// Whether source or destination of a tuple is an address.
fn has(tuple: Attributes<'_>, address: IpAddr) -> bool {
    let mut ip = tuple.inside(1);
    match address {
        IpAddr::V4(address) => ip.any(|(kind, value)| matches!(kind, 1 | 2) && value == address.octets()),
        IpAddr::V6(address) => ip.any(|(kind, value)| matches!(kind, 3 | 4) && value == address.octets()),
    }
}

/// Whether the answers come from the address that the first packet went to.
fn answers_from_where_it_went(original: Attributes<'_>, reply: Attributes<'_>) -> bool {
    let (went, answers) = (original.inside(1), reply.inside(1));
    went.find(2).or(went.find(4)) == answers.find(1).or(answers.find(3))
}

fn comes_from(tuple: Attributes<'_>, address: IpAddr) -> bool {
    let ip = tuple.inside(1);
    match address {
        IpAddr::V4(address) => ip.find(1) == Some(&address.octets()[..]),
        IpAddr::V6(address) => ip.find(3) == Some(&address.octets()[..]),
    }
}

fn goes_to(tuple: Attributes<'_>, (protocol, port): (u8, u16)) -> bool {
    let transport = tuple.inside(2);
    transport.find(1) == Some(&[protocol]) && transport.find(3) == Some(&port.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Selector, attribute, entry, kind};
    use crate::attribute::{Header, Messages, message};

    /// 10.0.0.1:4000 to 10.0.0.9:8080, which is 10.0.0.2:80 in truth.
    fn connection() -> Vec<u8> {
        let mut out = Vec::new();
        message(&mut out, Header { kind: kind(0), flags: 0, family: 2, resource: 0 }, |body| {
            let tuples = [
                (attribute::ORIGINAL, [10, 0, 0, 1], [10, 0, 0, 9], 8080),
                (attribute::REPLY, [10, 0, 0, 2], [10, 0, 0, 1], 4000),
            ];
            for (direction, source, destination, port) in tuples {
                body.nest(direction, |tuple| {
                    tuple.nest(1, |ip| {
                        ip.bytes(1, &source);
                        ip.bytes(2, &destination);
                    });
                    tuple.nest(2, |transport| {
                        transport.number8(1, 6);
                        transport.number16(3, port);
                    });
                });
            }
            body.number32(attribute::ID, 7);
        });
        out
    }

    fn selected(bytes: &[u8], address: &str, service: Option<(u8, u16)>) -> bool {
        picked(bytes, address, service, false)
    }

    fn picked(bytes: &[u8], address: &str, service: Option<(u8, u16)>, only_begun: bool) -> bool {
        let address = (!address.is_empty()).then(|| address.parse::<IpAddr>().unwrap());
        let selector = Selector { address, service, only_begun };
        Messages(bytes).take(100).any(|message| entry(message, selector).is_some())
    }

    #[test]
    fn a_connection_is_selected_by_any_of_its_addresses_and_the_port_of_its_first_packet() {
        let bytes = connection();
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.9"] {
            assert!(selected(&bytes, address, None), "{address}");
        }
        assert!(picked(&bytes, "10.0.0.1", None, true) && !picked(&bytes, "10.0.0.2", None, true));
        assert!(!selected(&bytes, "10.0.0.3", None));
        assert!(!selected(&bytes, "a00:1::", None));
        assert!(selected(&bytes, "10.0.0.2", Some((6, 8080))));
        assert!(!selected(&bytes, "10.0.0.2", Some((17, 8080))));
        assert!(!selected(&bytes, "10.0.0.2", Some((6, 80))));
        assert!(!selected(&bytes, "10.0.0.3", Some((6, 8080))));
        assert!(!selected(&bytes, "", Some((6, 8080))), "it is translated");
    }

    #[test]
    fn no_lying_connection_makes_the_reader_panic() {
        let bytes = connection();
        for at in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut lie = bytes.clone();
                lie[at] = value;
                selected(&lie, "10.0.0.2", Some((6, 8080)));
                selected(&lie[..at], "10.0.0.2", None);
            }
        }
    }
}
