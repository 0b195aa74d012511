//! Network namespaces for tests.

#![allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use gdn_links::{
    Address, Batch, Connection, Family, LinkChange, LinkIndex, LinkName, Mac, Prefix, Route, VethEnds,
    VethPair,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

pub(crate) const GATEWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 254, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1))];
pub(crate) const CONTAINER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 254, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2))];
pub(crate) const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(crate) const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub(crate) const MTU: u32 = 1400;

/// A network namespace that lasts as long as this.
pub(crate) struct Netns(OwnedFd);

impl Netns {
    pub(crate) fn new() -> Self {
        Netns(
            std::thread::spawn(|| {
                leave();
                current()
            })
            .join()
            .unwrap(),
        )
    }

    /// Does something on a thread of its own in the namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Puts the calling thread, which is a test's own, into a new network namespace.
pub(crate) fn leave() {
    // SAFETY: CLONE_FILES is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a new network namespace (needs root)");
}

pub(crate) fn current() -> OwnedFd {
    openat(CWD, "/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

pub(crate) fn name(name: &str) -> LinkName {
    LinkName::new(name).unwrap()
}

/// A pair between the calling thread's namespace and another one.
pub(crate) fn pair(host: &mut Connection, netns: &Netns, host_name: &LinkName) -> VethEnds {
    host.add_veth_pair(&VethPair {
        name: host_name,
        mac: HOST_MAC,
        peer_name: &name("eth0"),
        peer_mac: PEER_MAC,
        peer_netns: netns.as_fd(),
        mtu: MTU,
    })
    .unwrap()
}

/// What the host's end needs.
pub(crate) fn host_batch(index: LinkIndex) -> Batch {
    let mut batch = Batch::new();
    batch.set_link(index, &LinkChange::new().alias("gdn test").without_link_local().up());
    for (gateway, container) in GATEWAY.into_iter().zip(CONTAINER) {
        batch
            .replace_address(index, Address::host(gateway))
            .replace_neighbour(index, container, PEER_MAC)
            .replace_route(Route::on_link(Prefix::host(container), index));
    }
    batch
}

/// What the container's end needs.
pub(crate) fn container_batch(index: LinkIndex) -> Batch {
    let mut batch = Batch::new();
    batch
        .set_link(LinkIndex::LOOPBACK, &LinkChange::new().up())
        .set_link(index, &LinkChange::new().without_link_local().up());
    for (gateway, container) in GATEWAY.into_iter().zip(CONTAINER) {
        batch
            .replace_address(index, Address::host(container))
            .replace_neighbour(index, gateway, HOST_MAC)
            .replace_route(Route::on_link(Prefix::host(gateway), index))
            .replace_route(Route::via(Prefix::all(Family::of(gateway)), gateway, index));
    }
    batch
}

/// A pair with all that belongs to it.
pub(crate) fn connect(host: &mut Connection, netns: &Netns, host_name: &LinkName) -> VethEnds {
    let ends = pair(host, netns, host_name);
    host.commit(host_batch(ends.index)).unwrap();
    Connection::open_in(netns.as_fd()).unwrap().commit(container_batch(ends.peer)).unwrap();
    ends
}

/// A socket that gives up after a while.
pub(crate) fn udp(address: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(address, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket
}

/// Waits for a condition.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} within ten seconds");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
