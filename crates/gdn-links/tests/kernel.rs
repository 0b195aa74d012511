//! Links in namespaces of their own. Needs root.

mod ground;

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use gdn_links::{
    Address, Batch, Connection, Error, Family, LinkChange, LinkIndex, Mac, Prefix, Route, Scope, VethPair,
    Watch,
};
use ground::{
    CONTAINER, GATEWAY, HOST_MAC, MTU, Netns, PEER_MAC, connect, container_batch, eventually, host_batch,
    leave, name, pair, udp,
};
use rustix::fs::fstat;
use rustix::io::Errno;

#[test]
fn a_pair_reaches_into_another_namespace_and_says_its_numbers() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = pair(&mut host, &netns, &name("gdn-a"));

    let link = host.link_named(&name("gdn-a")).unwrap().unwrap();
    assert_eq!(link.index, ends.index);
    assert_eq!((link.mac, link.mtu, link.is_up, link.is_running), (Some(HOST_MAC), MTU, false, false));
    assert_eq!(link.peer, Some(ends.peer));
    assert_eq!(host.link(ends.index).unwrap(), Some(link));

    let peer = Connection::open_in(netns.as_fd()).unwrap().link_named(&name("eth0")).unwrap().unwrap();
    assert_eq!((peer.index, peer.mac, peer.mtu, peer.is_up), (ends.peer, Some(PEER_MAC), MTU, false));
    assert_eq!(host.link_named(&name("eth0")).unwrap(), None);
}

#[test]
fn both_ends_hear_each_other_over_both_families() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = connect(&mut host, &netns, &name("gdn-b"));

    for (gateway, container) in GATEWAY.into_iter().zip(CONTAINER) {
        let here = udp(gateway);
        let there = netns.run(|| udp(container));
        eventually("a datagram and its answer", || {
            let mut bytes = [0; 16];
            here.send_to(b"ping", there.local_addr().unwrap()).unwrap();
            there.recv_from(&mut bytes).is_ok_and(|(_, from)| {
                assert_eq!(from.ip(), gateway);
                there.send_to(b"pong", from).unwrap();
                here.recv(&mut bytes).is_ok()
            })
        });
    }
    let counters = host.counters(ends.index).unwrap().unwrap();
    assert!(counters.rx_packets >= 2 && counters.tx_packets >= 2, "{counters:?}");
    assert!(counters.rx_bytes >= 2 * 46 && counters.tx_bytes >= 2 * 46, "{counters:?}");

    let link = host.link(ends.index).unwrap().unwrap();
    assert_eq!((link.is_running, link.alias.as_deref()), (true, Some("gdn test")));
}

#[test]
fn no_end_has_an_address_nobody_gave_it() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = connect(&mut host, &netns, &name("gdn-c"));
    let mut inside = Connection::open_in(netns.as_fd()).unwrap();
    eventually("the link runs", || host.link(ends.index).unwrap().unwrap().is_running);

    for (connection, index, expected) in
        [(&mut host, ends.index, GATEWAY), (&mut inside, ends.peer, CONTAINER)]
    {
        let addresses = connection.addresses(Some(index), 10).unwrap();
        assert_eq!(
            addresses.iter().map(|address| address.prefix).collect::<Vec<_>>(),
            expected.map(Prefix::host)
        );
        assert!(addresses.iter().all(|address| address.scope == Scope::Global && address.link == index));
    }
    let all = inside.addresses(None, 10).unwrap();
    assert!(all.iter().any(|address| address.prefix.address() == IpAddr::V4(Ipv4Addr::LOCALHOST)), "{all:?}");
    assert_eq!(inside.addresses(Some(LinkIndex::new(4711)), 10), Ok(Vec::new()));
}

#[test]
fn a_pair_is_gone_with_the_namespace_of_its_peer() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = connect(&mut host, &netns, &name("gdn-d"));
    drop(netns);
    eventually("the link is gone", || host.link(ends.index).unwrap().is_none());
    assert_eq!(host.counters(ends.index).unwrap(), None);
    assert_eq!(host.link_named(&name("gdn-d")).unwrap(), None);
}

#[test]
fn a_connection_keeps_its_namespace() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = pair(&mut host, &netns, &name("gdn-e"));
    let mut inside = Connection::open_in(netns.as_fd()).unwrap();
    drop(netns);
    assert_eq!(inside.link(ends.peer).unwrap().unwrap().name, "eth0");
    drop(inside);
    eventually("the link is gone", || host.link(ends.index).unwrap().is_none());
}

#[test]
fn the_calling_thread_stays_in_its_namespace() {
    leave();
    let (before, netns) = (ground::current(), Netns::new());
    Connection::open_in(netns.as_fd()).unwrap();
    let no_namespace = std::fs::File::open("/dev/null").unwrap();
    let failed = Connection::open_in(no_namespace.as_fd()).unwrap_err();
    assert_eq!(failed, Error::Call { op: "enter network namespace", errno: Errno::INVAL });
    assert_eq!(fstat(before).unwrap().st_ino, fstat(ground::current()).unwrap().st_ino);
}

#[test]
fn an_error_names_the_change_and_the_others_are_made() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = pair(&mut host, &netns, &name("gdn-f"));
    let gateway = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let mut batch = Batch::new();
    batch
        .set_link(ends.index, &LinkChange::new().up())
        .replace_route(Route::via(Prefix::all(Family::V4), gateway, ends.index))
        .replace_address(LinkIndex::new(4711), Address::host(GATEWAY[0]))
        .replace_address(ends.index, Address::host(GATEWAY[0]));
    let error = host.commit(batch).unwrap_err();
    let Error::Refused { operation, errno, reason } = &error else { panic!("{error:?}") };
    assert_eq!(operation, &format!("replace route 0.0.0.0/0 via 192.0.2.1 on link {}", ends.index));
    assert_eq!((*errno, reason.as_deref()), (Errno::NETUNREACH, Some("Nexthop has invalid gateway")));
    assert!(error.to_string().ends_with("(Nexthop has invalid gateway)"), "{error}");
    assert_eq!(host.addresses(Some(ends.index), 10).unwrap().len(), 1);
}

#[test]
fn a_taken_name_is_an_error_and_changes_nothing() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let host_name = name("gdn-g");
    pair(&mut host, &netns, &host_name);
    let before = host.link_named(&host_name).unwrap();
    let second = VethPair {
        name: &host_name,
        mac: Mac([2, 0, 0, 0, 0, 9]),
        peer_name: &name("eth1"),
        peer_mac: PEER_MAC,
        peer_netns: netns.as_fd(),
        mtu: 1500,
    };
    let error = host.add_veth_pair(&second).unwrap_err();
    assert!(
        matches!(&error, Error::Refused { operation, errno: Errno::EXIST, .. } if operation == "add link gdn-g with peer eth1"),
        "{error:?}"
    );
    assert_eq!(host.link_named(&host_name).unwrap(), before);
    assert_eq!(Connection::open_in(netns.as_fd()).unwrap().link_named(&name("eth1")).unwrap(), None);
}

#[test]
fn a_batch_can_be_made_twice_and_undone_twice() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let ends = connect(&mut host, &netns, &name("gdn-h"));
    host.commit(host_batch(ends.index)).unwrap();
    Connection::open_in(netns.as_fd()).unwrap().commit(container_batch(ends.peer)).unwrap();
    let added = Route::on_link(Prefix::host(CONTAINER[0]), ends.index);
    let mut batch = Batch::new();
    batch.add_route(added);
    assert!(matches!(host.commit(batch), Err(Error::Refused { errno: Errno::EXIST, .. })));

    for _ in 0..2 {
        let mut batch = Batch::new();
        for (gateway, container) in GATEWAY.into_iter().zip(CONTAINER) {
            batch
                .remove_route(Route::on_link(Prefix::host(container), ends.index))
                .remove_neighbour(ends.index, container)
                .remove_address(ends.index, Prefix::host(gateway));
        }
        host.commit(batch).unwrap();
        assert_eq!(host.addresses(Some(ends.index), 10), Ok(Vec::new()));
    }
    for _ in 0..2 {
        let mut batch = Batch::new();
        batch.remove_link(ends.index).remove_link_named(&name("gdn-h"));
        host.commit(batch).unwrap();
        assert_eq!(host.link(ends.index).unwrap(), None);
    }
}

#[test]
fn a_route_takes_the_place_of_one_through_another_link() {
    leave();
    let mut host = Connection::open().unwrap();
    let (old, new) = (Netns::new(), Netns::new());
    let old_ends = connect(&mut host, &old, &name("gdn-old"));
    let new_ends = connect(&mut host, &new, &name("gdn-new"));
    for container in CONTAINER {
        let routes = host.routes_overlapping(Prefix::host(container), 10).unwrap();
        assert_eq!(routes.iter().map(|route| route.link).collect::<Vec<_>>(), [Some(new_ends.index)]);
    }
    drop(old);
    eventually("the old link is gone", || host.link(old_ends.index).unwrap().is_none());
    assert_eq!(host.routes_overlapping(Prefix::host(CONTAINER[0]), 10).unwrap().len(), 1);
}

#[test]
fn the_way_out_is_found_by_the_default_route() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    for family in [Family::V4, Family::V6] {
        assert_eq!(host.outbound(family), Ok(None));
    }
    let ends = connect(&mut host, &netns, &name("gdn-i"));
    let mut inside = Connection::open_in(netns.as_fd()).unwrap();
    for ((family, gateway), container) in [Family::V4, Family::V6].into_iter().zip(GATEWAY).zip(CONTAINER) {
        let out = inside.outbound(family).unwrap().unwrap();
        assert_eq!((out.via, out.source), (Some(gateway), Some(container)));
        let link = inside.link(out.link).unwrap().unwrap();
        assert_eq!((link.index, link.name.as_str(), link.mtu), (ends.peer, "eth0", MTU));
    }
    let wide = Prefix::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8).unwrap();
    assert_eq!(inside.routes_overlapping(wide, 10).unwrap()[0].destination, Prefix::host(GATEWAY[0]));
    let other = Prefix::new(IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12).unwrap();
    assert_eq!(inside.routes_overlapping(other, 10), Ok(Vec::new()));
}

#[test]
fn a_hundred_pairs_are_listed_within_the_limit() {
    leave();
    let mut host = Connection::open().unwrap();
    let namespaces: Vec<Netns> = (0..100).map(|_| Netns::new()).collect();
    for (number, netns) in namespaces.iter().enumerate() {
        pair(&mut host, netns, &name(&format!("gdn-{number}")));
    }
    assert_eq!(host.links_with_prefix("gdn-", 100).unwrap().len(), 100);
    assert_eq!(host.links_with_prefix("gdn-1", 100).unwrap().len(), 11);
    assert_eq!(host.links_with_prefix("other", 0), Ok(Vec::new()));
    assert!(matches!(host.links_with_prefix("gdn-", 99), Err(Error::TooMany { limit: 99, .. })));
    // The answers to a listing that was too long are not taken for others'.
    assert_eq!(host.link_named(&name("gdn-7")).unwrap().unwrap().name, "gdn-7");

    drop(namespaces);
    eventually("all are gone", || host.links_with_prefix("gdn-", 100).unwrap().is_empty());
}

#[test]
fn a_batch_of_a_thousand_changes_is_made_whole() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let index = pair(&mut host, &netns, &name("gdn-j")).index;
    host.commit(host_batch(index)).unwrap();
    let address = |number: u16| IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + u32::from(number)));
    let mut batch = Batch::new();
    for number in 0..1000 {
        batch.add_route(Route::on_link(Prefix::host(address(number)), index));
    }
    host.commit(batch).unwrap();
    let wide = Prefix::new(address(0), 8).unwrap();
    assert_eq!(host.routes_overlapping(wide, 1000).unwrap().len(), 1000);

    let mut batch = Batch::new();
    for number in 0..1000 {
        batch.add_route(Route::on_link(Prefix::host(address(number)), index));
    }
    let error = host.commit(batch).unwrap_err();
    assert!(error.to_string().starts_with(&format!("add route 11.0.0.0/32 on link {index}")), "{error}");
}

#[test]
fn a_link_can_be_changed() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let index = pair(&mut host, &netns, &name("gdn-k")).index;
    let mut batch = Batch::new();
    batch.set_link(index, &LinkChange::new().mtu(1300).alias("mine").up());
    host.commit(batch).unwrap();
    let link = host.link(index).unwrap().unwrap();
    assert_eq!((link.mtu, link.alias.as_deref(), link.is_up), (1300, Some("mine"), true));
    let mut batch = Batch::new();
    batch.set_link(index, &LinkChange::new().down());
    host.commit(batch).unwrap();
    assert!(!host.link(index).unwrap().unwrap().is_up);
}

#[test]
fn a_watch_says_once_that_something_changed() {
    leave();
    let (mut host, netns) = (Connection::open().unwrap(), Netns::new());
    let mut watch = Watch::open().unwrap();
    assert_eq!(watch.has_changed(), Ok(false));
    let index = pair(&mut host, &netns, &name("gdn-l")).index;
    assert_eq!(watch.has_changed(), Ok(true));
    eventually("the kernel's worker is done", || !watch.has_changed().unwrap());
    host.commit(host_batch(index)).unwrap();
    assert_eq!(watch.has_changed(), Ok(true));
}
