//! The least that a container's network takes: one pair of links, its addresses, and two elements of the firewall's maps.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use gdn_links::{Address, Connection, Family, LinkChange, LinkIndex, LinkName, Mac, Prefix, Route, VethPair};
use gdn_nft::{Element, Field, Set, Socket, Table, Value, Verdict};

use crate::sys;

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 0, 1));
const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const TCP: u8 = 6;
const PORT: u16 = 8080;

/// The host's side, made once.
pub(crate) struct Network {
    links: Connection,
    firewall: Socket,
    table: Table,
    sources: Set,
    mapped: Set,
}

impl Network {
    /// Puts this program into a network namespace of its own, with the maps.
    pub(crate) fn prepare() -> Result<Self> {
        sys::unshare(libc::CLONE_NEWNET).context("unshare the network namespace")?;
        let network = Network {
            links: Connection::open()?,
            firewall: Socket::open()?,
            table: Table::new(gdn_nft::Family::Inet, "floor"),
            sources: Set::new("sources", [Field::IfName, Field::Ipv4]).map_to_verdicts(),
            mapped: Set::new("mapped", [Field::Protocol, Field::Port]).map_to([Field::Ipv4, Field::Port]),
        };
        let mut batch = gdn_nft::Batch::new();
        batch.add_table(&network.table);
        batch.add_set(&network.table, &network.sources).add_set(&network.table, &network.mapped);
        let Network { mut firewall, .. } = network;
        firewall.commit(&batch).context("make the maps")?;
        Ok(Network { firewall, ..network })
    }

    /// Gives a sandbox its link, its address and its port.
    pub(crate) fn join(&mut self, number: u64, pid: libc::pid_t) -> Result<()> {
        let netns = File::open(format!("/proc/{pid}/ns/net")).context("open the network namespace")?;
        let (name, address) = (link(number), address(number));
        let ends = self.links.add_veth_pair(&VethPair {
            name: &LinkName::new(&name)?,
            mac: HOST_MAC,
            peer_name: &LinkName::new("eth0")?,
            peer_mac: PEER_MAC,
            peer_netns: netns.as_fd(),
            mtu: 1500,
        })?;
        let mut outside = gdn_links::Batch::new();
        outside
            .set_link(ends.index, &LinkChange::new().without_link_local().up())
            .replace_address(ends.index, Address::host(GATEWAY))
            .replace_neighbour(ends.index, address, PEER_MAC)
            .replace_route(Route::on_link(Prefix::host(address), ends.index));
        self.links.commit(outside)?;
        let mut inside = gdn_links::Batch::new();
        inside
            .set_link(LinkIndex::LOOPBACK, &LinkChange::new().up())
            .set_link(ends.peer, &LinkChange::new().without_link_local().up())
            .replace_address(ends.peer, Address::host(address))
            .replace_neighbour(ends.peer, GATEWAY, HOST_MAC)
            .replace_route(Route::on_link(Prefix::host(GATEWAY), ends.peer))
            .replace_route(Route::via(Prefix::all(Family::of(GATEWAY)), GATEWAY, ends.peer));
        Connection::open_in(netns.as_fd())?.commit(inside)?;
        let (source, port) = elements(number);
        let mut batch = gdn_nft::Batch::new();
        batch.add_elements(&self.table, &self.sources, &[source]);
        batch.add_elements(&self.table, &self.mapped, &[port]);
        Ok(self.firewall.commit(&batch)?)
    }

    /// Takes it out of the maps; its link goes with its namespace, which is not waited for.
    pub(crate) fn leave(&mut self, number: u64) -> Result<()> {
        let (source, port) = elements(number);
        let mut batch = gdn_nft::Batch::new();
        batch.delete_elements(&self.table, &self.sources, &[source]);
        batch.delete_elements(&self.table, &self.mapped, &[port]);
        Ok(self.firewall.commit(&batch)?)
    }
}

fn link(number: u64) -> String {
    format!("floor-{number}")
}

fn address(number: u64) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + (number % 0x00ff_ffff) as u32).into()
}

fn elements(number: u64) -> (Element, Element) {
    let address = address(number);
    let source = Element::new([Value::IfName(link(number)), address.into()]).verdict(Verdict::Accept);
    let port = Element::new([Value::Byte(TCP), Value::Port(PORT)]).data([address.into(), Value::Port(PORT)]);
    (source, port)
}
