//! A container that pretends to be another.

use super::*;

/// S6.01, S6.07: another address, another hardware address, another route: nothing gets out but its own.
#[test]
fn a_container_sends_by_its_own_addresses_only() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "thief", "--privileged"]);
    bed.engine.create(&["--handle", "victim"]);
    let (victim, victim6) = bed.addresses("victim");
    assert!(bed.pings("thief", "192.0.2.1"), "its own address is fine");
    let as_other = |change: &str, ping: &str, back: &str| {
        bed.engine.shell("thief", change).expect_status(0);
        let answered = bed.engine.shell("thief", ping).status == 0;
        bed.engine.shell("thief", back).expect_status(0);
        answered
    };
    assert!(!as_other(
        &format!("ip addr add {victim}/32 dev eth0"),
        &format!("ping -c 1 -W 1 -I {victim} 192.0.2.1"),
        &format!("ip addr del {victim}/32 dev eth0"),
    ));
    assert!(!as_other(
        &format!("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip -6 addr add {victim6}/128 dev eth0"),
        &format!("ping -6 -c 1 -W 1 -I {victim6} 2001:db8::1"),
        &format!("ip -6 addr del {victim6}/128 dev eth0"),
    ));
    let own = bed.engine.shell("thief", "cat /sys/class/net/eth0/address").text();
    assert!(!as_other(
        "ip link set eth0 address 0a:58:0a:fe:00:06",
        "ping -c 1 -W 1 192.0.2.1",
        &format!("ip link set eth0 address {}", own.trim()),
    ));
    // The same ping goes through when everything is its own again: the positive control.
    bed.engine
        .shell("thief", "ip route replace 10.254.0.1 dev eth0; ip route replace default via 10.254.0.1");
    let mac = bed.host.inside.must("ip -o link show type veth");
    assert!(mac.contains("0a:67:64:6e:00:01"), "{mac}");
    bed.engine.shell("thief", "ip neigh replace 10.254.0.1 lladdr 0a:67:64:6e:00:01 dev eth0 2>/dev/null || arp -s 10.254.0.1 0a:67:64:6e:00:01");
    assert!(bed.pings("thief", "192.0.2.1"));
    assert!(bed.pings("victim", "192.0.2.1") && bed.pings("victim", "10.254.0.5"), "the victim is untouched");
    bed.finish();
}

/// A container without IPv6 addresses says nothing to the host by IPv6 (S6.02).
#[test]
fn the_host_has_no_ipv6_on_a_link_without_ipv6_addresses() {
    let ipv6_of = |bed: &Bed| {
        let told = bed.engine.inspect("guest");
        let link = told["properties"]["garden.network.interface"].as_str().unwrap().to_owned();
        let off = bed.host.inside.must(&format!("cat /proc/sys/net/ipv6/conf/{link}/disable_ipv6"));
        let routes = bed.host.inside.must(&format!("ip -6 route show table all dev {link}"));
        (off.trim() == "1", !routes.trim().is_empty())
    };
    let bed = Bed::start_with(&["--network-pool", POOL]);
    bed.engine.create(&["--handle", "guest", "--privileged"]);
    assert_eq!(ipv6_of(&bed), (true, false));
    assert!(bed.pings("guest", "192.0.2.1"));
    let link_local = "ip -6 addr add fe80::1/64 dev eth0 nodad && ping -6 -c 1 -W 1 -I eth0 ff02::1";
    assert_ne!(bed.engine.shell("guest", link_local).status, 0);
    bed.finish();
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "guest"]);
    assert_eq!(ipv6_of(&bed), (false, true));
    bed.finish();
}

/// The host's table of neighbours is one for all namespaces: what a container sends fills none of it (S6.01, S6.02).
#[test]
fn a_container_cannot_fill_the_hosts_table_of_neighbours() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "noisy", "--privileged"]);
    for number in 1..20 {
        // A reply that nobody asked for, and a question, both from addresses that are not its own.
        let address = format!("10.99.0.{number}");
        bed.engine.shell("noisy", &format!("ip addr add {address}/32 dev eth0; arping -U -c 1 -I eth0 -s {address} {address}; arping -c 1 -w 1 -I eth0 -s {address} 10.254.0.1"));
    }
    let known = bed.host.inside.must("ip neigh show");
    assert!(!known.contains("10.99.0."), "{known}");
    assert!(bed.pings("noisy", "10.254.0.1") && bed.pings("noisy", "192.0.2.1"));
    bed.finish();
}
