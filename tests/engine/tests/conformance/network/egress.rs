//! What containers may reach.

use gdn_types::{ContainerSpec, Egress, ErrorKind, Properties, keys};

use super::*;

/// Q72, Q230 to Q239, Q331: operators deny, rules open.
///
/// Conformance: Q72, Q230-239
#[test]
fn denied_networks_are_refused_until_a_rule_opens_them() {
    let bed = Bed::start(&[
        "--deny-network",
        "192.0.2.0/29",
        "--deny-network",
        "192.0.2.4-192.0.2.7",
        "--deny-network",
        "2001:db8::/64",
    ]);
    let _listeners = [bed.host.outside.listen(80), bed.host.outside.listen(81)];
    bed.host.outside.must("ip addr add 192.0.2.9/24 dev down0");
    bed.engine.create(&["--handle", "one"]);
    bed.engine.create(&["--handle", "open", "--allow", "tcp,to=192.0.2.1,ports=80,log"]);
    for (address, allowed) in
        [("192.0.2.1", false), ("192.0.2.7", false), ("192.0.2.9", true), ("2001:db8::1", false)]
    {
        assert_eq!(bed.reaches("one", address, 80), allowed, "{address}");
    }
    assert!(bed.reaches("open", "192.0.2.1", 80) && !bed.reaches("open", "192.0.2.1", 81));
    bed.engine.gdn(["net", "out", "one", "tcp,to=192.0.2.1-192.0.2.3,ports=81"]).expect_status(0);
    assert!(bed.reaches("one", "192.0.2.1", 81) && !bed.reaches("one", "192.0.2.1", 80));
    bed.engine
        .gdn(["net", "out", "one", "tcp,to=2001:db8::1", "tcp,ports=80", "udp,ports=53,log"])
        .expect_status(0);
    assert!(bed.reaches("one", "2001:db8::1", 81) && bed.reaches("one", "192.0.2.7", 80));
    assert!(!bed.reaches("one", "192.0.2.7", 81));
    assert!(!bed.pings("one", "192.0.2.1"));
    bed.engine.gdn(["net", "out", "one", "icmp,to=192.0.2.1,type=8/0"]).expect_status(0);
    assert!(bed.pings("one", "192.0.2.1") && !bed.pings("one", "192.0.2.7"));
    bed.finish();
}

/// Concourse's two requests (garden-api.md 5): everything by one rule, or nothing at all without any.
#[test]
fn without_rules_nothing_leaves_where_egress_is_denied() {
    let bed = Bed::start(&["--default-egress", "deny"]);
    let _listener = bed.host.outside.listen(80);
    bed.engine.create(&["--handle", "hermetic", "--publish", "8080:80"]);
    bed.engine.create(&["--handle", "open", "--allow", "all,to=0.0.0.0-255.255.255.255"]);
    bed.engine.create(&["--handle", "asks", "--egress", "allow"]);
    for address in ["192.0.2.1", "2001:db8::1"] {
        assert!(!bed.reaches("hermetic", address, 80), "{address}");
        assert!(bed.reaches("asks", address, 80), "{address}");
    }
    assert!(bed.reaches("open", "192.0.2.1", 80) && !bed.reaches("open", "2001:db8::1", 80));
    let properties = bed.engine.inspect("hermetic")["properties"].clone();
    assert_eq!(properties["garden.network.egress"], "deny");
    // What it is asked for it answers.
    let _greeter = bed.greeter("hermetic", 80);
    assert!(bed.host.outside.reaches("192.0.2.2", 8080));
    bed.engine
        .gdn(["create", "--image", bed.engine.image(), "--property", "garden.network.egress=x"])
        .expect_error("\"x\"");
    bed.finish();
}

/// A rule that means nothing is refused by name, and none of its companions takes effect.
#[test]
fn rules_that_mean_nothing_are_refused_whole() {
    let bed = Bed::start(&["--default-egress", "deny"]);
    let _listener = bed.host.outside.listen(80);
    bed.engine.create(&["--handle", "one"]);
    for (rule, said) in [
        ("all,ports=80", "Ports cannot be specified for Protocol ALL"),
        ("icmp,ports=80", "Ports cannot be specified for Protocol ICMP"),
        ("tcp,to=10.0.0.9-10.0.0.1", "10.0.0.9-10.0.0.1"),
        ("tcp,ports=9-7", "9-7"),
        ("tcp,ports=0", "0"),
        ("icmp,to=fd00::1", "fd00::1"),
        ("tcp,to=::ffff:10.0.0.1", "IPv4"),
    ] {
        bed.engine.gdn(["net", "out", "one", "all", rule]).expect_error(said);
    }
    assert!(!bed.reaches("one", "192.0.2.1", 80));
    bed.finish();
}

/// The host is closed unless the operator opens it; its name servers are reached.
#[test]
fn the_host_is_reached_where_the_operator_allows_it() {
    for (option, reached) in [(None, false), (Some("--allow-host-access"), true)] {
        let options: Vec<&str> = option.into_iter().chain(["--dns-server", "192.0.2.2"]).collect();
        let bed = Bed::start(&options);
        let _listeners = [bed.host.inside.listen(80), bed.host.inside.listen(53)];
        bed.engine.create(&["--handle", "one"]);
        for address in ["192.0.2.2", "10.254.0.1", "fd00:77::1"] {
            assert_eq!(bed.reaches("one", address, 80), reached, "{address}");
        }
        assert!(bed.reaches("one", "192.0.2.2", 53));
        assert_eq!(bed.reaches("one", "10.254.0.1", 53), reached);
        bed.finish();
    }
}

/// Rules can be replaced as a whole, by who knows which are in force; what was open is closed, also what is open already.
#[test]
fn rules_are_replaced_in_one_step_and_what_they_allowed_ends() {
    let mut bed = Bed::start(&["--default-egress", "deny"]);
    let _listeners = [bed.host.outside.listen(80), bed.host.outside.listen(81)];
    bed.engine.create(&["--handle", "one", "--allow", "tcp,to=192.0.2.1,ports=80", "--allow", "icmp"]);
    assert!(bed.reaches("one", "192.0.2.1", 80));
    let talk = bed.engine.begin(["exec", "one", "sh", "-c", "ping -c 8 192.0.2.1 > /tmp/talk"]);
    let talked = |bed: &Bed| bed.engine.shell("one", "cat /tmp/talk").text();
    until("the talk to begin", || talked(&bed).contains("seq=0"));
    let replace = |bed: &Bed, words: &[&str]| bed.engine.gdn([&["net", "replace", "one"], words].concat());
    assert_eq!(replace(&bed, &["tcp,to=192.0.2.1,ports=81"]).text(), "1\n");
    assert!(!bed.reaches("one", "192.0.2.1", 80) && bed.reaches("one", "192.0.2.1", 81));
    replace(&bed, &["all", "--generation", "0"]).expect_error("generation 1");
    replace(&bed, &["all,ports=1", "--generation", "1"]).expect_error("Ports cannot");
    assert!(bed.reaches("one", "192.0.2.1", 81));
    talk.finish();
    assert!(!talked(&bed).contains("seq=7"), "what was allowed once goes on: {}", talked(&bed));
    bed.restart();
    assert!(!bed.reaches("one", "192.0.2.1", 80) && bed.reaches("one", "192.0.2.1", 81));
    let shown = bed.engine.gdn(["net", "show", "one"]).text();
    assert!(shown.contains("allows tcp,to=192.0.2.1,ports=81\n"), "{shown}");
    assert_eq!(replace(&bed, &["--generation", "1"]).text(), "2\n");
    assert!(!bed.reaches("one", "192.0.2.1", 81) && !bed.pings("one", "192.0.2.1"));
    bed.engine.gdn(["net", "out", "one", "tcp,ports=80"]).expect_status(0);
    assert!(bed.reaches("one", "192.0.2.1", 80));
    // Whoever read the rules before does not know of these.
    for _ in 0..2 {
        replace(&bed, &["all", "--generation", "2"]).expect_error("generation 3");
        bed.restart();
    }
    bed.engine.gdn(["net", "out", "one", "tcp,ports=80"]).expect_status(0);
    assert_eq!(
        replace(&bed, &["all", "--generation", "3"]).text(),
        "4\n",
        "what was allowed already changed nothing"
    );
    bed.finish();
}

/// What of a container's own subnet is no container's is denied like anything else.
#[test]
fn a_subnet_of_ones_own_opens_nothing_outside() {
    let bed = Bed::start(&["--deny-network", "198.51.100.0/24"]);
    bed.host.outside.must("ip addr add 198.51.100.77/32 dev down0");
    bed.engine.create(&["--handle", "one", "--network", "198.51.100.0/24"]);
    bed.engine.create(&["--handle", "two", "--network", "198.51.100.0/24"]);
    assert!(!bed.pings("one", "198.51.100.77") && bed.pings("one", "198.51.100.3"));
    bed.finish();
}

/// Nothing means the host neither, and its name servers neither; a rule ends that.
#[test]
fn a_hermetic_container_does_not_reach_the_host() {
    let bed = Bed::start(&["--allow-host-access", "--dns-server", "192.0.2.2"]);
    let _listeners = [bed.host.inside.listen(80), bed.host.inside.listen(53)];
    bed.engine.create(&["--handle", "one", "--egress", "deny"]);
    for (address, port) in [("192.0.2.2", 80), ("192.0.2.2", 53), ("10.254.0.1", 80), ("fd00:77::1", 80)] {
        assert!(!bed.reaches("one", address, port), "{address}:{port}");
    }
    bed.engine.gdn(["net", "out", "one", "all,to=192.0.2.1"]).expect_status(0);
    assert!(bed.reaches("one", "192.0.2.2", 53) && bed.reaches("one", "10.254.0.1", 80));
    bed.engine.gdn(["net", "replace", "one"]).expect_status(0);
    assert!(!bed.reaches("one", "192.0.2.2", 53));
    bed.finish();
}

/// Rules are bounded before they are multiplied out.
#[test]
fn rules_beyond_the_bound_are_refused_and_cost_nobody_anything() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "one"]);
    let networks: String = (0..200).map(|n| format!(",to=198.51.{n}.1")).collect();
    let ports: String = (1..=200).map(|n| format!(",ports={}", 2 * n)).collect();
    let refused = bed.engine.gdn(["net", "out", "one", &format!("tcp{networks}{ports}")]);
    refused.expect_error("16384");
    bed.engine.gdn(["net", "out", "one", &format!("tcp{networks},ports=80")]).expect_status(0);
    bed.finish();
}

/// Where a container has many rules the kernel finds them by hashes of networks: each opens what it says and nothing else,
/// whether it came with many others or alone, before and after a restart and a replacement.
#[test]
fn many_rules_open_exactly_what_they_say_before_and_after_a_restart() {
    let mut bed = Bed::start(&["--default-egress", "deny"]);
    let _listeners = [80, 81, 82].map(|port| bed.host.outside.listen(port));
    bed.host.outside.must("ip -6 addr add 2001:db8::7/64 dev down0 nodad");
    bed.engine.create(&["--handle", "one"]);
    // Of each kind of traffic so many that they are not few.
    let others: Vec<String> = (0..70)
        .flat_map(|n| {
            [
                format!("tcp,to=10.7.{n}.1,ports=80"),
                format!("tcp,to=10.8.{n}.0/24,ports=80,log"),
                format!("udp,to=10.9.{n}.0/24"),
                format!("tcp,to=fd00:9:{n:x}::/48,ports=80-82"),
                format!("tcp,to=fd00:8::{n:x},ports=80"),
                format!("icmp,to=10.7.{n}.1,type=8"),
                format!("icmpv6,to=fd00:8::{n:x}"),
                format!("all,to=10.6.{n}.0/30"),
            ]
        })
        .collect();
    let mut many: Vec<&str> = others.iter().map(String::as_str).collect();
    many.extend([
        "tcp,to=192.0.2.1,ports=80",
        "tcp,to=192.0.2.0-192.0.2.3,ports=81,log",
        "tcp,to=2001:db8::/126,ports=80",
        "icmp,to=192.0.2.1,type=8",
        "icmpv6,to=2001:db8::7",
    ]);
    let out = |bed: &Bed, rules: &[&str]| {
        bed.engine.gdn([&["net", "out", "one"], rules].concat()).expect_status(0);
    };
    out(&bed, &many);
    let check = |bed: &Bed, later: bool| {
        for (address, port, open) in [
            ("192.0.2.1", 80, true),
            ("192.0.2.1", 81, true),
            ("192.0.2.1", 82, false),
            ("192.0.2.7", 80, false),
            ("192.0.2.7", 81, false),
            ("192.0.2.7", 82, later),
            ("2001:db8::1", 80, true),
            ("2001:db8::1", 81, false),
            ("2001:db8::7", 80, false),
            ("2001:db8::7", 82, later),
        ] {
            assert_eq!(bed.reaches("one", address, port), open, "{address} {port}");
        }
        assert!(bed.pings("one", "192.0.2.1") && !bed.pings("one", "192.0.2.7"));
        assert!(bed.pings("one", "2001:db8::7") && !bed.pings("one", "2001:db8::1"));
    };
    check(&bed, false);
    // So many that what comes next is in another set than its like.
    let more: Vec<String> =
        (0..300).map(|n| format!("tcp,to=10.5.{}.{},ports=80", n / 250, n % 250)).collect();
    out(&bed, &more.iter().map(String::as_str).collect::<Vec<_>>());
    out(&bed, &["tcp,to=192.0.2.7,ports=82"]);
    out(&bed, &["tcp,to=2001:db8::7,ports=82"]);
    check(&bed, true);
    // Whoever lists the table is shown these sets like others.
    let table = bed.host.inside.must("nft list ruleset");
    let sets = [
        "set s4n32x2r256-",
        "set s4n32x2r1024-",
        "size 1024",
        "set s6n126x2r256-",
        "set i4n32x1r256-",
        "set i6n128x0r256-",
        "ip daddr & 255.255.255.0 ",
    ];
    for part in sets {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    bed.restart();
    check(&bed, true);
    many.truncate(others.len());
    many.push("tcp,to=192.0.2.7,ports=80");
    bed.engine.gdn([&["net", "replace", "one"], &many[..]].concat()).expect_status(0);
    assert!(bed.reaches("one", "192.0.2.7", 80) && !bed.reaches("one", "192.0.2.1", 80));
    assert!(!bed.reaches("one", "2001:db8::7", 82) && !bed.pings("one", "192.0.2.1"));
    bed.finish();
}

/// The API has a word of its own for egress, beside the property of Garden's clients.
#[test]
fn egress_is_asked_for_in_the_request_or_by_the_property_but_not_both_ways() {
    let bed = Bed::start(&[]);
    let create = |egress, property: Option<&str>| {
        let properties = Properties::from_pairs(property.map(|value| (keys::EGRESS, value))).unwrap();
        bed.engine.try_create(ContainerSpec { egress, properties, ..ContainerSpec::default() })
    };
    for (egress, property, word) in [
        (None, None, "allow"),
        (Some(Egress::Deny), None, "deny"),
        (None, Some("deny"), "deny"),
        (Some(Egress::Deny), Some("deny"), "deny"),
    ] {
        let handle = create(egress, property).unwrap();
        assert_eq!(bed.engine.inspect(handle.as_str())["properties"]["garden.network.egress"], word);
    }
    let refused = create(Some(Egress::Allow), Some("deny")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert!(refused.message().contains("\"allow\"") && refused.message().contains("\"deny\""), "{refused}");
    bed.finish();
}

/// Where there is no network, rules are refused at the create as they are later: they would do nothing.
#[test]
fn rules_are_refused_at_the_create_where_there_is_no_pool() {
    let bed = Bed::start_with(&[]);
    for words in [["--allow", "all"], ["--egress", "deny"], ["--property", "garden.network.egress=allow"]] {
        let refused = bed.engine.gdn(["create", "--image", bed.engine.image(), words[0], words[1]]);
        refused.expect_error("not available yet");
    }
    bed.engine.create(&["--handle", "one"]);
    bed.engine.gdn(["net", "out", "one", "all"]).expect_error("not available yet");
    bed.finish();
}
