//! A container that pretends to be another.

use engine_tests::host::Namespace;

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

/// The host has no IPv6 on the link of a container without IPv6 addresses: what such a container sends arrives at the link's
/// end, and nothing of it at the host (S6.02).
#[test]
fn the_host_has_no_ipv6_on_a_link_without_ipv6_addresses() {
    let bed = Bed::start_with(&["--network-pool", POOL]);
    bed.engine.create(&["--handle", "guest", "--privileged"]);
    let link = link_of(&bed, "guest");
    assert_eq!(ipv6_on(&bed, &link), (false, false));
    assert!(bed.pings("guest", "192.0.2.1"));
    // Its own address by IPv6, and the hardware address of the host's end, without a question to anybody.
    let set_up = "ip -6 addr add fe80::bad/64 dev eth0 nodad && \
                  ip -6 neigh replace fe80::1 lladdr 0a:67:64:6e:00:01 dev eth0";
    let mut inside = Namespace::command_in(bed.engine.init_pid("guest"), "sh");
    assert!(inside.args(["-c", set_up]).status().unwrap().success());
    // The host's own look, before that of the engine's rules.
    bed.host.inside.must(&format!(
        "nft 'add table ip6 ear; add chain ip6 ear heard {{ type filter hook prerouting priority -400; }}; \
         add counter ip6 ear from_guest; add rule ip6 ear heard iifname {link} counter name from_guest'"
    ));
    // What came to the end of the link, and what of it the host has had a look at.
    let received = |bed: &Bed| {
        let told = bed.host.inside.must("nft list counter ip6 ear from_guest");
        (statistic(bed, &link, "Ip6InReceives"), number_after(&told, "packets"))
    };
    let sends = |bed: &Bed, to: &str| {
        let before = received(bed);
        // Nobody answers, whoever hears it: the container sends as one that it is not.
        let sent = bed.engine.shell("guest", &format!("ping -6 -c 1 -W 1 -I eth0 {to}"));
        assert!(sent.text().contains("1 packets transmitted"), "{sent:?}");
        let after = received(bed);
        (after.0 - before.0, after.1 - before.1)
    };
    for to in ["ff02::1", "fe80::1"] {
        let (arrived, heard) = sends(&bed, to);
        assert!(arrived >= 1 && heard == 0, "{to}: {arrived} arrived, {heard} were heard");
    }
    assert_eq!(statistic(&bed, &link, "Ip6OutRequests"), 0, "the host says nothing either");
    // The same packets are heard where the host has IPv6.
    bed.host.inside.must(&format!("echo 0 > /proc/sys/net/ipv6/conf/{link}/disable_ipv6"));
    for to in ["ff02::1", "fe80::1"] {
        let (arrived, heard) = sends(&bed, to);
        assert!(arrived >= 1 && heard >= 1, "{to}: {arrived} arrived, {heard} were heard");
    }
    bed.host.inside.must("nft delete table ip6 ear");
    bed.finish();
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "guest"]);
    assert_eq!(ipv6_on(&bed, &link_of(&bed, "guest")), (true, true));
    bed.finish();
}

/// The host's end of a container's link.
fn link_of(bed: &Bed, handle: &str) -> String {
    bed.engine.inspect(handle)["properties"]["garden.network.interface"].as_str().unwrap().to_owned()
}

/// Whether the host has IPv6 on a link, and whether it has a route of it there.
fn ipv6_on(bed: &Bed, link: &str) -> (bool, bool) {
    let off = bed.host.inside.must(&format!("cat /proc/sys/net/ipv6/conf/{link}/disable_ipv6"));
    let routes = bed.host.inside.must(&format!("ip -6 route show table all dev {link}"));
    (off.trim() == "0", !routes.trim().is_empty())
}

/// What the kernel counts of a link's IPv6.
fn statistic(bed: &Bed, link: &str, name: &str) -> u64 {
    number_after(&bed.host.inside.must(&format!("cat /proc/net/dev_snmp6/{link}")), name)
}

/// The number that follows a word.
fn number_after(told: &str, word: &str) -> u64 {
    let mut words = told.split_whitespace().skip_while(|said| *said != word);
    words.nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {word} in {told}"))
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
