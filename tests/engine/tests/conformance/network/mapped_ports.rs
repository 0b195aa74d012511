//! Ports of the host that lead into containers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use engine_tests::host::within;

use super::*;

/// G123, Q73, Q170, Q228, Q229: from outside, from the host, from another container, from itself; not by 127.0.0.1.
///
/// Conformance: G123, Q73, Q170, Q228-229
#[test]
fn a_mapped_port_leads_into_the_container_from_everywhere_but_the_hosts_loopback() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "web", "--publish", "8080:80"]);
    bed.engine.create(&["--handle", "other"]);
    let _greeter = bed.greeter("web", 80);
    for address in ["192.0.2.2", "2001:db8::2"] {
        assert!(bed.host.outside.reaches(address, 8080), "from outside to {address}");
        assert!(bed.host.inside.reaches(address, 8080), "from the host to {address}");
        assert!(bed.reaches("other", address, 8080), "from another container to {address}");
        assert!(bed.reaches("web", address, 8080), "from itself to {address}");
    }
    assert!(!bed.host.inside.reaches("127.0.0.1", 8080));
    {
        // What the host itself serves there stays the host's.
        let _own = bed.host.inside.listen(8080);
        assert!(bed.host.inside.reaches("127.0.0.1", 8080) && bed.host.inside.reaches("::1", 8080));
    }
    assert!(!bed.host.outside.reaches("192.0.2.2", 80), "only the port that was mapped");
    let routed = bed.host.inside.must("cat /proc/sys/net/ipv4/conf/all/route_localnet");
    assert_eq!(routed.trim(), "0");

    let mapped = bed.engine.gdn(["net", "in", "web", "80"]).expect_status(0).text();
    assert_eq!(mapped, "61001 -> 80\n");
    assert!(bed.host.outside.reaches("192.0.2.2", 61001));
    let shown = bed.engine.gdn(["net", "show", "web"]).expect_status(0).text();
    assert!(shown.contains("8080 -> 80, 61001 -> 80"), "{shown}");
    bed.engine.gdn(["destroy", "web"]).expect_status(0);
    assert!(!bed.host.outside.reaches("192.0.2.2", 8080));
    bed.finish();
}

/// Without a way that was mapped, nobody outside reaches a container, by its own address neither.
#[test]
fn a_container_is_not_reached_from_outside_by_its_address() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "web"]);
    let _greeter = bed.greeter("web", 80);
    let (address, address6) = bed.addresses("web");
    bed.host
        .outside
        .must(&format!("ip route add {address} via 192.0.2.2; ip -6 route add {address6} via 2001:db8::2"));
    assert!(bed.host.inside.reaches(&address, 80) && bed.host.inside.reaches(&address6, 80));
    assert!(!bed.host.outside.reaches(&address, 80) && !bed.host.outside.reaches(&address6, 80));
    bed.finish();
}

/// Q285 to Q288, Q333: in order, explicit ones reserved, released after a destroy, the order kept over restarts.
///
/// Conformance: Q285-288
#[test]
fn ports_are_handed_out_in_order_and_never_twice() {
    let mut bed = Bed::start(&["--port-pool-start", "7001", "--port-pool-size", "3"]);
    bed.engine.create(&["--handle", "one"]);
    let map = |bed: &Bed, port: &str| bed.engine.gdn(["net", "in", "one", port]);
    assert_eq!(map(&bed, "7002:5").text(), "7002 -> 5\n");
    assert_eq!(map(&bed, "5").text(), "7001 -> 5\n");
    bed.restart();
    assert_eq!(map(&bed, "5").text(), "7003 -> 5\n");
    map(&bed, "5").expect_error("port pool is exhausted");
    // What was mapped before one that is refused is told.
    let some = bed.engine.gdn(["net", "in", "one", "90:5", "5"]).expect_error("port pool is exhausted");
    assert_eq!(some.text(), "90 -> 5\n");
    map(&bed, "7003:9").expect_error("7003");
    let refused =
        bed.engine.gdn(["create", "--image", bed.engine.image(), "--publish", "81:1", "--publish", "7001:2"]);
    assert!(refused.stderr.contains("7001"), "{}", refused.stderr);
    bed.engine.gdn(["destroy", "one"]).expect_status(0);
    bed.engine.create(&["--handle", "one", "--publish", "81:1"]);
    // The one that is free for longest.
    let next = map(&bed, "5").text();
    assert!(next.ends_with(" -> 5\n") && !next.starts_with("81") && !next.starts_with("90"), "{next}");
    bed.finish();
}

/// A number is a port of each protocol; what goes to a port of UDP arrives, also from who sent to it before it was mapped,
/// over a kill of the server, and no longer when the container is gone.
#[test]
fn ports_of_udp_are_mapped_beside_those_of_tcp() {
    let mut bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "web"]);
    bed.engine.gdn(["net", "in", "web", "8080:80", "80/tcp"]).expect_status(0);
    let sender = datagrams(bed.host.outside.pid(), 5000);
    send(&sender, "192.0.2.2:8080");
    let mapped = bed.engine.gdn(["net", "in", "web", "8080:81/udp", "53/udp"]).expect_status(0).text();
    assert_eq!(mapped, "8080 -> 81/udp\n61001 -> 53/udp\n");
    let told = bed.engine.gdn(["--format", "json", "net", "show", "web"]).expect_status(0).text();
    assert!(told.contains(r#""protocol": "udp""#) && told.contains(r#""protocol": "tcp""#), "{told}");
    bed.engine.gdn(["net", "in", "web", "8080:9/udp"]).expect_error("8080");
    bed.engine.gdn(["net", "in", "web", "9/sctp"]).expect_error("sctp");

    let init = bed.engine.init_pid("web");
    let arrives = |port: u16, to: &[&str]| {
        let receiver = datagrams(init, port);
        for address in to {
            until(&format!("what goes to {address} to arrive"), || {
                send(&sender, address);
                receiver.recv(&mut [0]).is_ok()
            });
        }
    };
    arrives(81, &["192.0.2.2:8080", "[2001:db8::2]:8080"]);
    arrives(53, &["192.0.2.2:61001"]);
    bed.restart();
    arrives(81, &["192.0.2.2:8080", "[2001:db8::2]:8080"]);
    assert_eq!(bed.engine.gdn(["net", "in", "web", "7/udp"]).text(), "61002 -> 7/udp\n");

    bed.engine.gdn(["destroy", "web"]).expect_status(0);
    until("the link to be gone", || bed.links().is_empty());
    // Made again, it is found by who never stopped sending.
    send(&sender, "192.0.2.2:8080");
    bed.engine.create(&["--handle", "web", "--publish", "8080:81/udp"]);
    let receiver = datagrams(bed.engine.init_pid("web"), 81);
    until("what goes on being sent to arrive", || {
        send(&sender, "192.0.2.2:8080");
        receiver.recv(&mut [0]).is_ok()
    });
    bed.finish();
}

/// A socket of both families on a port of a namespace, by the process that it is of.
fn datagrams(pid: u32, port: u16) -> UdpSocket {
    let socket = within(pid, || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Sends one, always from the same port.
fn send(socket: &UdpSocket, address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let mapped = match address.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    // Fails where the answer to an earlier one was that nobody is there.
    let _ = socket.send_to(b"x", (mapped, address.port()));
}
