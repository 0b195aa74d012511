//! What a container's link costs on this host, made in the order in which the engine makes it: medians of each step. Works in
//! namespaces of its own; needs root.
//!
//! `cargo run --release -p gdn-links --example link_cost`

#![allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use gdn_links::{
    Address, Batch, Connection, Family, LinkChange, LinkIndex, LinkName, Mac, Prefix, Route, VethPair,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Enough for a steady median; the links of all rounds are there together.
const ROUNDS: usize = 100;
const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
const STEPS: [&str; 9] = [
    "open a connection inside",
    "make the pair",
    "set what the host's end does with IPv6",
    "raise the container's end",
    "make the host's end whole",
    "give the container its addresses",
    "close the connection inside",
    "all together",
    "read counters",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for six in [false, true] {
        println!("{}", if six { "with both families:" } else { "with IPv4 alone:" });
        measure(six)?;
    }
    Ok(())
}

fn measure(six: bool) -> Result<(), Box<dyn std::error::Error>> {
    let _host = new_namespace()?;
    let (peer_name, mut all) = (LinkName::new("eth0")?, Vec::new());
    let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
    // The engine keeps such connections, too.
    let mut host = Connection::open()?;
    for round in 0..ROUNDS {
        let netns =
            std::thread::scope(|scope| scope.spawn(new_namespace).join()).map_err(|_| "panicked")??;
        let name = LinkName::new(format!("cost-{round}"))?;
        let mut ends: Vec<(IpAddr, IpAddr)> =
            vec![(format!("10.0.{round}.1").parse()?, format!("10.0.{round}.2").parse()?)];
        if six {
            ends.push((format!("fd00::{round}:1").parse()?, format!("fd00::{round}:2").parse()?));
        }
        let mut points = vec![Instant::now()];
        let mut inside = Connection::open_in(netns.as_fd())?;
        points.push(Instant::now());
        let links = host.add_veth_pair(&VethPair {
            name: &name,
            mac: HOST_MAC,
            peer_name: &peer_name,
            peer_mac: PEER_MAC,
            peer_netns: netns.as_fd(),
            mtu: 1500,
        })?;
        points.push(Instant::now());
        let (setting, value) = if six { ("accept_ra", "0") } else { ("disable_ipv6", "1") };
        std::fs::write(format!("/proc/sys/net/ipv6/conf/cost-{round}/{setting}"), value)?;
        points.push(Instant::now());
        inside.commit(rising(links.peer))?;
        points.push(Instant::now());
        host.commit(host_side(links.index, &ends))?;
        points.push(Instant::now());
        inside.commit(container_side(links.peer, &ends))?;
        points.push(Instant::now());
        drop(inside);
        points.push(Instant::now());
        let whole = points[points.len() - 1] - points[0];
        let start = Instant::now();
        host.counters(links.index)?;
        let counters = start.elapsed();
        let steps = points.windows(2).map(|pair| pair[1] - pair[0]).chain([whole, counters]);
        times.iter_mut().zip(steps).for_each(|(times, step)| times.push(step));
        all.push(netns);
    }
    for (what, times) in STEPS.iter().zip(&mut times) {
        times.sort_unstable();
        println!(
            "  {what}: median {:?}, least {:?}, 95% within {:?}",
            times[ROUNDS / 2],
            times[0],
            times[ROUNDS * 95 / 100]
        );
    }
    Ok(())
}

/// Before the host's end: for one that finds its other end down, the kernel looks at all routes.
fn rising(link: LinkIndex) -> Batch {
    let mut batch = Batch::new();
    batch
        .set_link(LinkIndex::LOOPBACK, &LinkChange::new().up())
        .set_link(link, &LinkChange::new().without_link_local().up());
    batch
}

fn host_side(link: LinkIndex, ends: &[(IpAddr, IpAddr)]) -> Batch {
    let mut batch = Batch::new();
    let change = LinkChange::new().alias("cost").without_link_local().without_neighbour_discovery().up();
    batch.set_link(link, &change);
    for &(gateway, container) in ends {
        batch
            .replace_address(link, Address::host(gateway))
            .replace_neighbour(link, container, PEER_MAC)
            .replace_route(Route::on_link(Prefix::host(container), link));
    }
    batch
}

/// After the host's end: what the host answers while it has no route back leaves by another link.
fn container_side(link: LinkIndex, ends: &[(IpAddr, IpAddr)]) -> Batch {
    let mut batch = Batch::new();
    for &(gateway, container) in ends {
        batch
            .replace_address(link, Address::host(container))
            .replace_neighbour(link, gateway, HOST_MAC)
            .replace_route(Route::on_link(Prefix::host(gateway), link))
            .replace_route(Route::via(Prefix::all(Family::of(gateway)), gateway, link));
    }
    batch
}

/// Puts the calling thread into a network namespace of its own.
fn new_namespace() -> std::io::Result<OwnedFd> {
    // SAFETY: CLONE_FILES is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(openat(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}
