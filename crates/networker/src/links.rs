//! The link between a container and the host.
//!
//! Point to point: the container has its address alone (`/32`, `/128`) with a route to the gateway that leads through its
//! one link, and the host has a route to the container that leads through the other end. Neighbours are permanent on both
//! ends, so that nobody asks for them and nobody can answer for another.

mod rates;

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use gdn_links::{
    Address, Batch, Connection, Counters, Error as LinkError, Family, LinkChange, LinkIndex, LinkName, Mac,
    Prefix, Route, VethPair,
};
use gdn_types::{ContainerId, EngineId, Error, ErrorKind, NetworkStat, Result};

use crate::record::Reservation;

/// The container's link as the container sees it.
const INSIDE: &str = "eth0";
/// The host's end of every link: a locally administered address, the same for all, since each link has one.
const HOST_MAC: Mac = Mac([0x0a, 0x67, 0x64, 0x6e, 0x00, 0x01]);
/// More links than one engine can have.
const MOST_LINKS: usize = 1 << 17;

/// The largest packet of a container's link, unless the operator names another.
const ETHERNET_MTU: u32 = 1500;

/// Makes and finds an engine's links.
#[derive(Debug)]
pub(crate) struct Links {
    engine: EngineId,
    /// Connections to the host's tables that nobody uses at the moment.
    idle: Mutex<Vec<Connection>>,
    /// The link that was found to have the host's external address.
    external: Mutex<Option<LinkIndex>>,
}

/// The host's end of a container's link, as it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) id: ContainerId,
    pub(crate) index: LinkIndex,
}

impl Links {
    pub(crate) fn new(engine: EngineId) -> Self {
        Links { engine, idle: Mutex::default(), external: Mutex::default() }
    }

    /// With what the names of all host ends begin. Other engines' may begin so too: the mark tells.
    pub(crate) fn prefix(&self) -> String {
        format!("g{}", &self.engine.as_str()[..3])
    }

    /// The name of the host's end.
    pub(crate) fn name(&self, id: &ContainerId) -> String {
        format!("{}{id}", self.prefix())
    }

    /// What every link of this engine carries as its alias.
    fn mark(&self) -> String {
        format!("gdn-{}", self.engine)
    }

    /// Links a sandbox's namespace to the host. Packets flow a moment later, when a thread of the kernel's has opened the queues
    /// of both ends; that is asked for here no sooner, because it costs half a millisecond beside a thousand links.
    pub(crate) fn attach(
        &self,
        id: &ContainerId,
        netns: BorrowedFd<'_>,
        reservation: &Reservation,
        mtu: u32,
    ) -> Result<LinkIndex> {
        let doing = |error| failed(&format!("link container {id} to the host"), error);
        let mut inside = Connection::open_in(netns).map_err(doing)?;
        let container_mac = mac_of(reservation);
        let ends = self.with(|host| {
            let (name, peer_name) = (LinkName::new(self.name(id))?, LinkName::new(INSIDE)?);
            host.add_veth_pair(&VethPair {
                name: &name,
                mac: HOST_MAC,
                peer_name: &peer_name,
                peer_mac: container_mac,
                peer_netns: netns,
                mtu,
            })
        });
        let ends = ends.map_err(doing)?;
        // Before the link is up. Also where it has no IPv6, which somebody may switch on for all links of the host.
        crate::host::ignore_routers(&self.name(id))?;
        if reservation.address6().is_none() {
            crate::host::refuse_ipv6(&self.name(id))?;
        }
        self.with(|host| {
            // First, so that the host's end finds its other end up: for one that does not, the kernel looks at all routes.
            inside.commit(rising(ends.peer))?;
            host.commit(host_side(ends.index, reservation, container_mac, &self.mark()))?;
            // Last: what the host answered to a packet before it had its route would leave by another link.
            inside.commit(container_side(ends.peer, reservation))?;
            Ok(ends.index)
        })
        .map_err(doing)
    }

    /// The links of this engine.
    ///
    /// # Errors
    /// `FailedPrecondition` when another's link has a name that would be taken for one of ours.
    pub(crate) fn all(&self) -> Result<Vec<Found>> {
        let (prefix, mark) = (self.prefix(), self.mark());
        let links = self
            .with(|host| host.links_with_prefix(&prefix, MOST_LINKS))
            .map_err(|error| failed("list the links of containers", error))?;
        let found = links.into_iter().map(|link| {
            let id = link.name.strip_prefix(&prefix).and_then(|id| ContainerId::parse(id).ok());
            // A link without a mark was begun by a life that was killed in the middle.
            match id.filter(|_| link.alias.as_ref().is_none_or(|alias| *alias == mark)) {
                Some(id) => Ok(Found { id, index: link.index }),
                None => Err(Error::new(
                    ErrorKind::FailedPrecondition,
                    format!(
                        "the name of link {} begins like those of this engine's containers ({prefix})",
                        link.name
                    ),
                )),
            }
        });
        found.collect()
    }

    /// Refuses addresses that the host has or reaches otherwise: they would be taken from it.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the address or the route that is in the way.
    pub(crate) fn refuse_taken(&self, base: IpAddr, length: u8) -> Result<()> {
        let doing = |error| failed("look for addresses and routes of the host", error);
        let ours: Vec<LinkIndex> = self.all()?.into_iter().map(|found| found.index).collect();
        let wanted = Prefix::new(base, length).map_err(doing)?;
        let taken = |what: String| {
            Error::new(
                ErrorKind::FailedPrecondition,
                format!("{wanted} cannot be containers' addresses: the host has {what}"),
            )
        };
        self.with(|host| {
            let addresses = host.addresses(None, MOST_LINKS)?;
            let routes = host.routes_overlapping(wanted, MOST_LINKS)?;
            let address = addresses.into_iter().find(|found| {
                !ours.contains(&found.link) && Prefix::host(found.prefix.address()).overlaps(wanted)
            });
            // A wider route that leads to a gateway is none of the host's neighbours: what is more exact goes before it.
            let in_the_way = |found: &gdn_links::RouteEntry| {
                found.link.is_none_or(|link| !ours.contains(&link))
                    && (found.via.is_none() || found.destination.length() >= length)
            };
            let route = routes.into_iter().find(in_the_way);
            Ok(match (address, route) {
                (Some(address), _) => Err(taken(format!("the address {}", address.prefix.address()))),
                (None, Some(route)) => Err(taken(format!("a route to {}", route.destination))),
                (None, None) => Ok(()),
            })
        })
        .map_err(doing)?
    }

    /// A container's link.
    pub(crate) fn find(&self, id: &ContainerId) -> Result<Option<LinkIndex>> {
        let name =
            LinkName::new(self.name(id)).map_err(|error| failed("name the link of a container", error))?;
        let link = self.with(|host| host.link_named(&name));
        let link = link.map_err(|error| failed("look for the link of a container", error))?;
        Ok(link.map(|link| link.index))
    }

    /// Whether a link is there still. It goes with the container's namespace, a moment after the last process.
    pub(crate) fn exists(&self, index: LinkIndex) -> Result<bool> {
        let link = self.with(|host| host.link(index));
        Ok(link.map_err(|error| failed("look for the link of a container", error))?.is_some())
    }

    /// Deletes a link whose namespace does not end. Slow: never on a request's path.
    pub(crate) fn remove(&self, index: LinkIndex) -> Result<()> {
        self.with(|host| {
            let mut batch = Batch::new();
            batch.remove_link(index);
            host.commit(batch)
        })
        .map_err(|error| failed("delete the link of a container", error))
    }

    /// What went through a link, as the container sees it; absent when the link is gone.
    pub(crate) fn counters(&self, index: LinkIndex) -> Result<Option<NetworkStat>> {
        let counters = self
            .with(|host| host.counters(index))
            .map_err(|error| failed("read the counters of a container's link", error))?;
        // What the host's end sends is what the container receives.
        Ok(counters.map(|Counters { rx_bytes, tx_bytes, .. }| NetworkStat {
            rx_bytes: tx_bytes,
            tx_bytes: rx_bytes,
        }))
    }

    /// The way out of the host: its largest packet, and the address by which others know the host.
    pub(crate) fn outbound(&self) -> Result<(Option<u32>, Option<IpAddr>)> {
        self.with(|host| {
            let Some(out) = host.outbound(Family::V4)? else { return Ok((None, None)) };
            let link = host.link(out.link)?;
            Ok((link.map(|link| link.mtu.min(ETHERNET_MTU)), out.source))
        })
        .map_err(|error| failed("look for the way out of the host", error))
    }

    /// The largest packet of the link that has an address of the host; of the way out where none has it.
    pub(crate) fn mtu_at(&self, address: IpAddr) -> Result<Option<u32>> {
        let mut external = self.external.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = *external;
        let found = self.with(|host| {
            // A host has as many addresses as containers and more: one link is asked, unless the address moved.
            let places = [known].into_iter().flatten().map(Some).chain([None]);
            for place in places {
                let addresses = host.addresses(place, MOST_LINKS)?;
                if let Some(found) = addresses.iter().find(|found| found.prefix.address() == address) {
                    return host.link(found.link);
                }
            }
            Ok(None)
        });
        let found = found.map_err(|error| failed(&format!("look for the link that has {address}"), error))?;
        *external = found.as_ref().map(|link| link.index);
        match found {
            Some(link) => Ok(Some(link.mtu.min(ETHERNET_MTU))),
            None => Ok(self.outbound()?.0),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Connection) -> gdn_links::Result<T>) -> gdn_links::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::open()?,
        };
        let outcome = work(&mut connection);
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(connection);
        outcome
    }
}

/// A locally administered address that says whose it is.
pub(crate) fn mac_of(reservation: &Reservation) -> Mac {
    let [a, b, c, d] = reservation.lease.address.octets();
    Mac([0x0a, 0x58, a, b, c, d])
}

fn host_side(link: LinkIndex, reservation: &Reservation, container_mac: Mac, mark: &str) -> Batch {
    let mut batch = Batch::new();
    batch.set_link(
        link,
        &LinkChange::new().alias(mark).without_link_local().without_neighbour_discovery().up(),
    );
    for (gateway, address) in reservation.ends() {
        batch.replace_address(link, Address::host(gateway));
        batch.replace_neighbour(link, address, container_mac);
        batch.replace_route(Route::on_link(Prefix::host(address), link));
    }
    batch
}

/// Raises the container's links, which have no address yet.
fn rising(link: LinkIndex) -> Batch {
    let mut batch = Batch::new();
    batch.set_link(LinkIndex::LOOPBACK, &LinkChange::new().up());
    batch.set_link(link, &LinkChange::new().without_link_local().up());
    batch
}

fn container_side(link: LinkIndex, reservation: &Reservation) -> Batch {
    let mut batch = Batch::new();
    for (gateway, address) in reservation.ends() {
        batch.replace_address(link, Address::host(address));
        batch.replace_neighbour(link, gateway, HOST_MAC);
        batch.replace_route(Route::on_link(Prefix::host(gateway), link));
        batch.replace_route(Route::via(Prefix::all(Family::of(gateway)), gateway, link));
    }
    batch
}

fn failed(doing: &str, error: LinkError) -> Error {
    Error::caused(ErrorKind::Internal, doing, error)
}
