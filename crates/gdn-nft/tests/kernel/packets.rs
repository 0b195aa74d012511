//! What becomes of packets between two namespaces, and of the connections that are tracked.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use gdn_nft::{
    Batch, Chain, ChainType, Conntrack, CtState, Element, Family, Field, Hook, Load, Policy, Protocol,
    Reject, Rule, Set, Socket, Table, Value, Verdict, ct_state, iifname_begins,
};

use crate::ground::{in_own_network, run, socket, table};

/// A thread in a second namespace, linked to the test's by `gab1` (10.7.0.1, fd07::1) and its own `eth0` (10.7.0.2,
/// fd07::2).
struct Peer {
    jobs: Sender<Box<dyn FnOnce() + Send>>,
}

impl Peer {
    fn new() -> Peer {
        let (jobs, to_do) = channel::<Box<dyn FnOnce() + Send>>();
        std::thread::spawn(move || in_own_network(move || to_do.iter().for_each(|job| job())));
        let peer = Peer { jobs };
        let thread = peer.does(|| rustix::thread::gettid().as_raw_nonzero());
        run(&format!("ip link add gab1 type veth peer name eth0 netns {thread}"));
        for line in
            ["addr add 10.7.0.1/24 dev gab1", "addr add fd07::1/64 dev gab1 nodad", "link set gab1 up"]
        {
            run(&format!("ip {line}"));
        }
        peer.does(|| {
            for line in
                ["addr add 10.7.0.2/24 dev eth0", "addr add fd07::2/64 dev eth0 nodad", "link set eth0 up"]
            {
                run(&format!("ip {line}"));
            }
        });
        // The kernel takes up to a second until a new link carries packets.
        let listener = TcpListener::bind("10.7.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        peer.does(move || TcpStream::connect_timeout(&to, Duration::from_secs(10)).unwrap());
        peer
    }

    /// Does something in it.
    fn does<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (give, take) = channel();
        self.jobs.send(Box::new(move || give.send(job()).unwrap())).unwrap();
        take.recv().unwrap()
    }

    /// Whether a connection from it is accepted within a second.
    fn connects(&self, to: SocketAddr) -> bool {
        self.does(move || TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_ok())
    }

    /// Accepts and greets everybody who comes to port 80.
    fn serves(&self, address: IpAddr) {
        let listener = self.does(move || TcpListener::bind((address, 80)).unwrap());
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.write_all(b"hello").unwrap();
                kept.push(stream);
            }
        });
    }
}

fn v4(text: &str) -> Value {
    Value::from(text.parse::<IpAddr>().unwrap())
}

/// A dispatch by interface and source, then what the source may reach, else a reset: the rules that engines have.
#[test]
fn packets_are_dropped_accepted_and_reset_as_maps_and_sets_say() {
    in_own_network(|| {
        let peer = Peer::new();
        let listeners = [(); 2].map(|()| TcpListener::bind("10.7.0.1:0").unwrap());
        let [open, other] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        let table = table();
        let sources = Set::new("sources4", [Field::IfName, Field::Ipv4]).map_to_verdicts();
        let allowed = Set::new("allowed4", [Field::Ipv4, Field::Protocol, Field::Port]).intervals();
        let known = Element::new([Value::IfName("gab1".to_owned()), v4("10.7.0.2")]);
        let known = known.verdict(Verdict::Goto("from_known".to_owned()));
        let range = Element::range([
            (v4("10.7.0.0"), v4("10.7.0.200")),
            (Value::Byte(6), Value::Byte(6)),
            (Value::Port(open.port()), Value::Port(open.port())),
        ]);
        let mut batch = Batch::new();
        batch
            .add_table(&table)
            .add_chain(&table, &Chain::base("in", ChainType::Filter, Hook::Input, -10).policy(Policy::Accept))
            .add_chain(&table, &Chain::new("from_any"))
            .add_chain(&table, &Chain::new("from_known"))
            .add_set(&table, &sources)
            .add_set(&table, &allowed)
            .add_rule(&table, &Rule::new("in").matches(iifname_begins("gab")).jump("from_any"))
            .add_rule(&table, &Rule::new("from_any").matches(ct_state(CtState::ESTABLISHED)).accept())
            .add_rule(
                &table,
                &Rule::new("from_any").verdict_from("sources4", [Load::IifName, Load::IpSource]),
            )
            .add_rule(&table, &Rule::new("from_any").counter().drop())
            .add_rule(
                &table,
                &Rule::new("from_known")
                    .in_set("allowed4", [Load::IpDestination, Load::L4Proto, Load::DestinationPort])
                    .accept(),
            )
            .add_rule(&table, &Rule::new("from_known").reject(Reject::TcpReset));
        let mut socket = socket();
        assert!(peer.connects(open));
        socket.commit(&batch).unwrap();
        // The source is not known: dropped.
        assert!(!peer.connects(open));
        let mut batch = Batch::new();
        batch.add_elements(&table, &sources, &[known]).add_elements(
            &table,
            &allowed,
            std::slice::from_ref(&range),
        );
        socket.commit(&batch).unwrap();
        assert!(peer.connects(open));
        assert!(!peer.connects(other));
        let mut batch = Batch::new();
        batch.delete_elements(&table, &allowed, &[range]);
        socket.commit(&batch).unwrap();
        assert!(!peer.connects(open));
        let shown = run("nft list chain inet t from_any");
        assert!(!shown.contains("counter packets 0 "), "{shown}");
    });
}

/// Maps port 8080 of all of this host's addresses to the peer's port 80, for connections of this host.
fn map_a_port(socket: &mut Socket, table: &Table, protocol: Protocol, to: Value) {
    let (name, field) = match protocol {
        Protocol::Ipv4 => ("ports4", Field::Ipv4),
        Protocol::Ipv6 => ("ports6", Field::Ipv6),
    };
    let map = Set::new(name, [Field::Protocol, Field::Port]).map_to([field, Field::Port]);
    let port = Element::new([Value::Byte(6), Value::Port(8080)]).data([to, Value::Port(80)]);
    let mut batch = Batch::new();
    batch
        .add_table(table)
        .add_chain(table, &Chain::base("out", ChainType::Nat, Hook::Output, -100))
        .add_set(table, &map)
        .add_elements(table, &map, &[port])
        .add_rule(table, &Rule::new("out").dnat_from(name, protocol, [Load::L4Proto, Load::DestinationPort]));
    socket.commit(&batch).unwrap();
}

fn greeted(by: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&by, Duration::from_secs(5)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut word = [0; 5];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");
    stream
}

/// How many connections there are of a family, as the kernel's own list has them.
fn tracked(family: &str) -> usize {
    let list = std::fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap();
    list.lines().filter(|line| line.starts_with(family)).count()
}

#[test]
fn a_mapped_port_leads_to_the_peer_and_its_connections_are_deleted_with_it() {
    in_own_network(|| {
        let peer = Peer::new();
        let mut socket = socket();
        let mut conntrack = Conntrack::open().unwrap();
        for (protocol, name, host, to) in [
            (Protocol::Ipv4, "ipv4", "10.7.0.1:8080", "10.7.0.2"),
            (Protocol::Ipv6, "ipv6", "[fd07::1]:8080", "fd07::2"),
        ] {
            let table = Table::new(Family::Inet, name);
            map_a_port(&mut socket, &table, protocol, v4(to));
            let to: IpAddr = to.parse().unwrap();
            peer.serves(to);
            let mut mapped = greeted(host.parse().unwrap());
            mapped.write_all(b"x").unwrap();
            let straight = greeted(SocketAddr::new(to, 80));
            // One to somebody else, which has to stay.
            let listener = TcpListener::bind((if to.is_ipv6() { "::1" } else { "127.0.0.1" }, 0)).unwrap();
            let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            assert_eq!(tracked(name), 3);

            assert_eq!(conntrack.delete_of_port(to, 17, 8080).unwrap(), 0);
            assert_eq!(conntrack.delete_of_port(to, 6, 8081).unwrap(), 0);
            assert_eq!(conntrack.delete_of_port(to, 6, 8080).unwrap(), 1);
            assert_eq!(tracked(name), 2);
            assert_eq!(conntrack.delete_of(to).unwrap(), 1);
            assert_eq!(tracked(name), 1);
            assert_eq!(conntrack.delete_of(to).unwrap(), 0);
            drop((straight, other, mapped));
        }
    });
}

#[test]
fn connections_are_found_wherever_the_address_is_and_however_many_there_are() {
    in_own_network(|| {
        run("nft add table inet x");
        run("nft add chain inet x c { type filter hook output priority 0 ; }");
        run("nft add rule inet x c ct state new");
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        for port in 1000..2000 {
            // Somebody may answer that the port is closed, on a later send.
            let _ = from.send_to(b"x", ("127.0.0.2", port));
        }
        let all = tracked("ipv4");
        assert!(all > 500, "{all}");
        let mut conntrack = Conntrack::open().unwrap();
        assert_eq!(conntrack.delete_of("127.0.0.3".parse().unwrap()).unwrap(), 0);
        assert_eq!(conntrack.delete_of("127.0.0.2".parse().unwrap()).unwrap(), all);
        assert_eq!(tracked("ipv4"), 0);
    });
}

/// One walk or many, they end the same connections.
#[test]
fn connections_of_several_addresses_are_ended_together() {
    in_own_network(|| {
        run("nft add table inet x");
        run("nft add chain inet x c { type filter hook output priority 0 ; }");
        run("nft add rule inet x c ct state new");
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let six = UdpSocket::bind("[::1]:0").unwrap();
        let addresses =
            |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let mut conntrack = Conntrack::open().unwrap();
        // Beyond 7,000 for each walk that is spared, single ones cost less.
        for many in [10, 15_000] {
            for number in 0..many {
                let to = std::net::Ipv4Addr::new(127, 1, 0, u8::try_from(number % 200).unwrap());
                let port = u16::try_from(1000 + number / 200).unwrap();
                while from.send_to(b"x", (to, port)).is_err() {}
            }
            for address in ["127.0.0.2", "127.0.0.3"] {
                while from.send_to(b"x", (address, 1000)).is_err() {}
            }
            while six.send_to(b"x", "[::1]:1000").is_err() {}
            let before = tracked("ipv4");
            assert!(before >= many, "{before}");
            assert_eq!(tracked("ipv6"), 1, "{many}");
            assert_eq!(conntrack.delete_begun_by_any(&addresses(&["127.0.0.2", "::2"])).unwrap(), 0);
            let ended = conntrack.delete_of_any(&addresses(&["127.0.0.2", "::1"])).unwrap();
            assert_eq!((ended, tracked("ipv4"), tracked("ipv6")), (2, before - 1, 0), "of {before}");
            while six.send_to(b"x", "[::1]:1000").is_err() {}
            assert_eq!(conntrack.delete_of("::1".parse().unwrap()).unwrap(), 1);
            assert_eq!(conntrack.delete_begun_by_any(&addresses(&["127.0.0.1", "::1"])).unwrap(), before - 1);
            assert_eq!(conntrack.delete_of_any(&[]).unwrap(), 0);
        }
    });
}
