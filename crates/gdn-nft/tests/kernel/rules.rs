//! Rules as `nft` shows them.

use std::net::IpAddr;

use gdn_nft::{
    Batch, Chain, ChainType, CtState, CtStatus, Field, Hook, Load, PayloadBase, Per, Policy, Protocol,
    Reject, Rule, Set, ct_state, ct_status, destination, destination_in, destination_is_local,
    destination_port, ether_source, icmp_code, icmp_type, icmp6_type, iif_type, iifname, iifname_begins,
    l4proto, mark, nfproto, oifname, oifname_begins, payload, source, source_in, source_port,
};

use crate::ground::{in_own_network, run, shows, socket, table};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Each rule alone in a chain of the hook, and what `nft` shows of it.
fn all_shown(kind: ChainType, hook: Hook, cases: Vec<(Rule, &str)>) {
    let table = table();
    let mut socket = socket();
    let mut batch = Batch::new();
    batch
        .add_table(&table)
        .add_chain(&table, &Chain::base("c", kind, hook, 0))
        .add_chain(&table, &Chain::new("other"));
    socket.commit(&batch).unwrap();
    for (rule, expected) in cases {
        let mut batch = Batch::new();
        batch.flush_chain(&table, "c").add_rule(&table, &rule);
        socket.commit(&batch).unwrap_or_else(|error| panic!("{expected}: {error}"));
        let shown = run("nft list chain inet t c");
        shows(&shown, &[expected, "}"]);
    }
}

fn rule() -> Rule {
    Rule::new("c")
}

#[test]
fn conditions_are_shown_by_nft_as_they_were_meant() {
    in_own_network(|| {
        let cases = vec![
            (rule().matches(iifname("eth0")).accept(), r#"iifname "eth0" accept"#),
            (rule().matches(iifname("fifteen-bytes-x")).accept(), r#"iifname "fifteen-bytes-x" accept"#),
            (rule().matches(iifname_begins("gab1")).jump("other"), r#"iifname "gab1*" jump other"#),
            (rule().matches(iifname("eth0").negated()).drop(), r#"iifname != "eth0" drop"#),
            (rule().matches(oifname("eth0")).goto("other"), r#"oifname "eth0" goto other"#),
            (rule().matches(oifname_begins("gab1").negated()).return_(), r#"oifname != "gab1*" return"#),
            (rule().matches(iif_type(772)), "meta iiftype loopback"),
            (rule().matches(mark(0x1234)), "meta mark 0x00001234"),
            (rule().matches(nfproto(Protocol::Ipv4)).accept(), "meta nfproto ipv4 accept"),
            (rule().matches(nfproto(Protocol::Ipv6).negated()).accept(), "meta nfproto != ipv6 accept"),
            (rule().matches(l4proto(6)).accept(), "meta l4proto tcp accept"),
            (rule().matches(l4proto(6).negated()).accept(), "meta l4proto != tcp accept"),
            (rule().matches(source(address("10.1.2.3"))), "ip saddr 10.1.2.3"),
            (rule().matches(source(address("10.1.2.3")).negated()), "ip saddr != 10.1.2.3"),
            (rule().matches(destination(address("fd00::1"))), "ip6 daddr fd00::1"),
            (rule().matches(source_in(address("10.1.2.3"), 12)), "ip saddr 10.0.0.0/12"),
            (rule().matches(source_in(address("10.1.2.3"), 32)), "ip saddr 10.1.2.3"),
            (rule().matches(destination_in(address("fd00:1:2:3::"), 49)), "ip6 daddr fd00:1:2::/49"),
            (rule().matches(destination_in(address("10.1.2.3"), 24).negated()), "ip daddr != 10.1.2.0/24"),
            (
                rule().matches(source(address("10.0.0.1"))).matches(destination(address("10.0.0.2"))),
                "ip saddr 10.0.0.1 ip daddr 10.0.0.2",
            ),
            (rule().matches(source_port(53)), "th sport 53"),
            (rule().matches(l4proto(6)).matches(destination_port(8080)), "tcp dport 8080"),
            (rule().matches(l4proto(17)).matches(destination_port(53)), "udp dport 53"),
            (rule().matches(ether_source([2, 0, 0, 0, 0, 1])), "ether saddr 02:00:00:00:00:01"),
            (rule().matches(icmp_type(8)), "icmp type echo-request"),
            (
                rule().matches(icmp_type(3)).matches(icmp_code(1)),
                "icmp type destination-unreachable icmp code host-unreachable",
            ),
            (rule().matches(icmp6_type(135)), "icmpv6 type nd-neighbor-solicit"),
            (
                rule().matches(ct_state(CtState::ESTABLISHED | CtState::RELATED)).accept(),
                "ct state established,related accept",
            ),
            (rule().matches(ct_state(CtState::INVALID)).drop(), "ct state invalid drop"),
            (rule().matches(ct_state(CtState::NEW).negated()), "ct state ! new"),
            (rule().matches(ct_status(CtStatus::DNAT)).accept(), "ct status dnat accept"),
            (rule().matches(destination_is_local()), "fib daddr type local"),
            (rule().matches(payload(PayloadBase::Network, 8, &[64])), "@nh,64,8 0x40"),
        ];
        all_shown(ChainType::Filter, Hook::Input, cases);
    });
}

#[test]
fn what_a_rule_does_is_shown_by_nft_as_it_was_meant() {
    in_own_network(|| {
        let cases = vec![
            (rule().counter().accept(), "counter packets 0 bytes 0 accept"),
            (rule().log("denied: ").drop(), r#"log prefix "denied: " drop"#),
            (rule().log_to_group("denied: ", 7), r#"log prefix "denied: " group 7"#),
            (rule().limit(10, Per::Second, 5).accept(), "limit rate 10/second accept"),
            (rule().limit(3, Per::Minute, 20).accept(), "limit rate 3/minute burst 20 packets accept"),
            (rule().reject(Reject::AdminProhibited), "reject with icmpx admin-prohibited"),
            (rule().reject(Reject::PortUnreachable), "reject"),
            (rule().reject(Reject::TcpReset), "meta l4proto tcp reject with tcp reset"),
            (rule().accept().comment("why it is"), r#"accept comment "why it is""#),
        ];
        all_shown(ChainType::Filter, Hook::Forward, cases);
    });
}

#[test]
fn translations_are_shown_by_nft_as_they_were_meant() {
    in_own_network(|| {
        let to = address("10.0.0.2");
        let to6 = address("fd00::2");
        let cases = vec![
            (rule().dnat_to(to, None), "dnat ip to 10.0.0.2"),
            (rule().matches(l4proto(6)).dnat_to(to, Some(80)), "meta l4proto tcp dnat ip to 10.0.0.2:80"),
            (rule().matches(l4proto(6)).dnat_to(to6, Some(80)), "meta l4proto tcp dnat ip6 to [fd00::2]:80"),
        ];
        all_shown(ChainType::Nat, Hook::Prerouting, cases);
        run("nft flush ruleset");
        let cases = vec![
            (rule().matches(oifname("eth0")).masquerade(), r#"oifname "eth0" masquerade"#),
            (rule().snat_to(to, None), "snat ip to 10.0.0.2"),
            (rule().matches(l4proto(17)).snat_to(to6, Some(99)), "meta l4proto udp snat ip6 to [fd00::2]:99"),
        ];
        all_shown(ChainType::Nat, Hook::Postrouting, cases);
    });
}

#[test]
fn lookups_of_several_fields_are_shown_by_nft_as_they_were_meant() {
    in_own_network(|| {
        let table = table();
        let mut batch = Batch::new();
        batch
            .add_table(&table)
            .add_chain(&table, &Chain::base("f", ChainType::Filter, Hook::Forward, -10).policy(Policy::Drop))
            .add_chain(&table, &Chain::base("p", ChainType::Nat, Hook::Prerouting, -100))
            .add_set(&table, &Set::new("sources4", [Field::IfName, Field::Ipv4]).map_to_verdicts())
            .add_set(&table, &Set::new("sources6", [Field::IfName, Field::Ipv6]).map_to_verdicts())
            .add_set(&table, &Set::new("out4", [Field::Ipv4, Field::Protocol, Field::Port]).intervals())
            .add_set(&table, &Set::new("icmp4", [Field::Ipv4, Field::IcmpType, Field::IcmpCode]).intervals())
            .add_set(&table, &Set::new("macs", [Field::Ether, Field::Mark]))
            .add_set(
                &table,
                &Set::new("ports4", [Field::Protocol, Field::Port]).map_to([Field::Ipv4, Field::Port]),
            )
            .add_set(
                &table,
                &Set::new("ports6", [Field::Protocol, Field::Port]).map_to([Field::Ipv6, Field::Port]),
            );
        let ports = [Load::L4Proto, Load::DestinationPort];
        for rule in [
            Rule::new("f").verdict_from("sources4", [Load::IifName, Load::IpSource]),
            Rule::new("f").verdict_from("sources6", [Load::IifName, Load::Ip6Source]),
            Rule::new("f")
                .in_set("out4", [Load::IpDestination, Load::L4Proto, Load::DestinationPort])
                .accept(),
            Rule::new("f").not_in_set("icmp4", [Load::IpDestination, Load::IcmpType, Load::IcmpCode]).drop(),
            Rule::new("f").in_set("macs", [Load::EtherSource, Load::Mark]).accept(),
            Rule::new("p").dnat_from("ports4", Protocol::Ipv4, ports),
            Rule::new("p").dnat_from("ports6", Protocol::Ipv6, ports),
        ] {
            batch.add_rule(&table, &rule);
        }
        socket().commit(&batch).unwrap();
        let shown = run("nft list table inet t");
        shows(
            &shown,
            &[
                "type filter hook forward priority filter - 10; policy drop;",
                "iifname . ip saddr vmap @sources4",
                "iifname . ip6 saddr vmap @sources6",
                "ip daddr . meta l4proto . th dport @out4 accept",
                "ip daddr . icmp type . icmp code != @icmp4 drop",
                "ether saddr . meta mark @macs accept",
                "}",
            ],
        );
        shows(
            &shown,
            &[
                "type nat hook prerouting priority dstnat; policy accept;",
                "dnat ip to meta l4proto . th dport map @ports4",
                "dnat ip6 to meta l4proto . th dport map @ports6",
                "}",
            ],
        );
    });
}
