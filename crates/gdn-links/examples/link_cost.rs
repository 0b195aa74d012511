//! What a container's network costs on this host: medians of each step. Works in namespaces of its own; needs root.
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
const STEPS: [&str; 8] = [
    "open a connection",
    "open a connection elsewhere",
    "make the pair",
    "host batch",
    "container batch",
    "close both connections",
    "all together",
    "read counters",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _host = new_namespace()?;
    let (peer_name, mut all) = (LinkName::new("eth0")?, Vec::new());
    let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
    for round in 0..ROUNDS {
        let netns =
            std::thread::scope(|scope| scope.spawn(new_namespace).join()).map_err(|_| "panicked")??;
        let name = LinkName::new(format!("cost-{round}"))?;
        let mut points = vec![Instant::now()];
        let mut host = Connection::open()?;
        points.push(Instant::now());
        let mut inside = Connection::open_in(netns.as_fd())?;
        points.push(Instant::now());
        let ends = host.add_veth_pair(&VethPair {
            name: &name,
            mac: HOST_MAC,
            peer_name: &peer_name,
            peer_mac: PEER_MAC,
            peer_netns: netns.as_fd(),
            mtu: 1500,
        })?;
        points.push(Instant::now());
        let addresses = [format!("10.0.{round}.1").parse()?, format!("fd00::{round}:1").parse()?];
        let containers = [format!("10.0.{round}.2").parse()?, format!("fd00::{round}:2").parse()?];
        host.commit(host_batch(ends.index, addresses, containers))?;
        points.push(Instant::now());
        inside.commit(container_batch(ends.peer, addresses, containers))?;
        points.push(Instant::now());
        drop(inside);
        points.push(Instant::now());
        let whole = points[6] - points[0];
        let start = Instant::now();
        host.counters(ends.index)?;
        let counters = start.elapsed();
        let steps = points.windows(2).map(|pair| pair[1] - pair[0]).chain([whole, counters]);
        times.iter_mut().zip(steps).for_each(|(times, step)| times.push(step));
        all.push(netns);
    }
    for (what, times) in STEPS.iter().zip(&mut times) {
        times.sort_unstable();
        println!(
            "{what}: median {:?}, least {:?}, 95% within {:?}",
            times[ROUNDS / 2],
            times[0],
            times[ROUNDS * 95 / 100]
        );
    }
    Ok(())
}

fn host_batch(index: LinkIndex, gateways: [IpAddr; 2], containers: [IpAddr; 2]) -> Batch {
    let mut batch = Batch::new();
    batch.set_link(index, &LinkChange::new().alias("cost").without_link_local().up());
    for (gateway, container) in gateways.into_iter().zip(containers) {
        batch
            .replace_address(index, Address::host(gateway))
            .replace_neighbour(index, container, PEER_MAC)
            .replace_route(Route::on_link(Prefix::host(container), index));
    }
    batch
}

fn container_batch(index: LinkIndex, gateways: [IpAddr; 2], containers: [IpAddr; 2]) -> Batch {
    let mut batch = Batch::new();
    batch
        .set_link(LinkIndex::LOOPBACK, &LinkChange::new().up())
        .set_link(index, &LinkChange::new().without_link_local().up());
    for (gateway, container) in gateways.into_iter().zip(containers) {
        batch
            .replace_address(index, Address::host(container))
            .replace_neighbour(index, gateway, HOST_MAC)
            .replace_route(Route::on_link(Prefix::host(gateway), index))
            .replace_route(Route::via(Prefix::all(Family::of(gateway)), gateway, index));
    }
    batch
}

/// Puts the calling thread into a network namespace of its own.
fn new_namespace() -> std::io::Result<OwnedFd> {
    // SAFETY: CLONE_FILES is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(openat(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}
