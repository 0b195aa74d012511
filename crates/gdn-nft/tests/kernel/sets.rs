//! Sets, maps and their elements, as `nft` shows them and as they are read back.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use gdn_nft::{Batch, Chain, DataInfo, Element, Error, Field, Set, Value, Verdict};

use crate::ground::{in_own_network, run, shows, socket, table};

fn v4(text: &str) -> Value {
    Value::from(text.parse::<IpAddr>().unwrap())
}

/// One element of each kind of set, and the lines that `nft` shows.
#[test]
fn elements_are_shown_by_nft_as_they_were_meant() {
    in_own_network(|| {
        let table = table();
        let mut socket = socket();
        let mut batch = Batch::new();
        batch.add_table(&table).add_chain(&table, &Chain::new("other"));
        socket.commit(&batch).unwrap();
        let one = |value: Value| Element::new([value]);
        let range = |from: Value, to: Value| Element::range([(from, to)]);
        let cases: Vec<(Set, Vec<Element>, &[&str])> = vec![
            (
                Set::new("s", [Field::IfName]).comment("names"),
                vec![one(Value::IfName("eth0".to_owned())).comment("the uplink")],
                &["type ifname", r#"comment "names""#, r#"elements = { "eth0" comment "the uplink" }"#],
            ),
            (
                Set::new("s", [Field::Ipv4]),
                vec![one(v4("10.0.0.1"))],
                &["type ipv4_addr", "elements = { 10.0.0.1 }"],
            ),
            (
                Set::new("s", [Field::Ipv6]),
                vec![one(v4("fd00::1"))],
                &["type ipv6_addr", "elements = { fd00::1 }"],
            ),
            (
                Set::new("s", [Field::Ether]),
                vec![one(Value::Ether([2, 0, 0, 0, 0, 1]))],
                &["type ether_addr", "elements = { 02:00:00:00:00:01 }"],
            ),
            (
                Set::new("s", [Field::Port]),
                vec![one(Value::Port(8080))],
                &["type inet_service", "elements = { 8080 }"],
            ),
            (
                Set::new("s", [Field::Protocol]),
                vec![one(Value::Byte(6))],
                &["type inet_proto", "elements = { tcp }"],
            ),
            (
                Set::new("s", [Field::Mark]),
                vec![one(Value::Mark(7))],
                &["type mark", "elements = { 0x00000007 }"],
            ),
            (
                Set::new("s", [Field::Icmp6Type, Field::Icmp6Code]),
                vec![Element::new([Value::Byte(128), Value::Byte(0)])],
                &["type icmpv6_type . icmpv6_code", "elements = { echo-request . no-route }"],
            ),
            (
                Set::new("s", [Field::Ipv4]).intervals(),
                vec![
                    range(v4("10.0.0.0"), v4("10.0.0.255")),
                    range(v4("10.0.1.0"), v4("10.0.1.4")).comment("a few"),
                    range(v4("255.255.255.0"), v4("255.255.255.255")),
                    one(v4("10.9.9.9")),
                ],
                &[
                    "type ipv4_addr",
                    "flags interval",
                    r#"elements = { 10.0.0.0/24, 10.0.1.0-10.0.1.4 comment "a few","#,
                    "10.9.9.9, 255.255.255.0/24 }",
                ],
            ),
            (
                Set::new("s", [Field::Ipv4, Field::Protocol, Field::Port]).intervals(),
                vec![
                    Element::range([
                        (v4("10.0.0.1"), v4("10.0.0.9")),
                        (Value::Byte(6), Value::Byte(6)),
                        (Value::Port(80), Value::Port(90)),
                    ])
                    .comment("web"),
                ],
                &[
                    "type ipv4_addr . inet_proto . inet_service",
                    "flags interval",
                    r#"elements = { 10.0.0.1-10.0.0.9 . tcp . 80-90 comment "web" }"#,
                ],
            ),
            (
                Set::new("s", [Field::Ipv4, Field::Port]).room(300),
                vec![Element::new([v4("10.0.0.1"), Value::Port(80)])],
                &["type ipv4_addr . inet_service", "size 300", "elements = { 10.0.0.1 . 80 }"],
            ),
            (
                Set::new("s", [Field::Protocol, Field::Port]).map_to([Field::Ipv4, Field::Port]),
                vec![
                    Element::new([Value::Byte(6), Value::Port(8080)]).data([v4("10.0.0.2"), Value::Port(80)]),
                ],
                &[
                    "type inet_proto . inet_service : ipv4_addr . inet_service",
                    "elements = { tcp . 8080 : 10.0.0.2 . 80 }",
                ],
            ),
            (
                Set::new("s", [Field::Port]).map_to([Field::Mark]),
                vec![one(Value::Port(80)).data([Value::Mark(5)])],
                &["type inet_service : mark", "elements = { 80 : 0x00000005 }"],
            ),
            (
                Set::new("s", [Field::IfName, Field::Ipv4]).map_to_verdicts(),
                vec![
                    Element::new([Value::IfName("gab1".to_owned()), v4("10.0.0.2")])
                        .verdict(Verdict::Goto("other".to_owned())),
                ],
                &["type ifname . ipv4_addr : verdict", r#"elements = { "gab1" . 10.0.0.2 : goto other }"#],
            ),
        ];
        for (set, elements, expected) in cases {
            let kind = if expected[0].contains(" : ") { "map" } else { "set" };
            let mut batch = Batch::new();
            batch.add_set(&table, &set).add_elements(&table, &set, &elements);
            socket.commit(&batch).unwrap_or_else(|error| panic!("{expected:?}: {error}"));
            let shown = run(&format!("nft list {kind} inet t s"));
            shows(&shown, expected);
            let mut batch = Batch::new();
            batch.delete_elements(&table, &set, &elements);
            socket.commit(&batch).unwrap_or_else(|error| panic!("delete of {expected:?}: {error}"));
            assert_eq!(socket.elements(&table, "s").unwrap(), [], "{expected:?}");
            let mut batch = Batch::new();
            batch.add_elements(&table, &set, &elements).flush_set(&table, "s").delete_set(&table, "s");
            socket.commit(&batch).unwrap_or_else(|error| panic!("flush of {expected:?}: {error}"));
        }
    });
}

/// Ranges of address, protocol and port, none of which overlap.
fn allowed(count: u32) -> Vec<Element> {
    (0..count)
        .map(|index| {
            let from = 0x0a00_0000 + index * 16;
            let address = |number: u32| Value::Ipv4(Ipv4Addr::from(number));
            let port = u16::try_from(index % 60_000).unwrap();
            Element::range([
                (address(from), address(from + 9)),
                (Value::Byte(6), Value::Byte(6)),
                (Value::Port(port), Value::Port(port + 10)),
            ])
            .comment("a comment as long as such comments are")
        })
        .collect()
}

#[test]
fn three_thousand_ranges_of_three_fields_go_in_one_batch() {
    in_own_network(|| {
        let table = table();
        let set = Set::new("out", [Field::Ipv4, Field::Protocol, Field::Port]).intervals();
        let mut socket = socket();
        let elements = allowed(3000);
        let mut batch = Batch::new();
        batch.add_table(&table).add_set(&table, &set).add_elements(&table, &set, &elements);
        let start = Instant::now();
        socket.commit(&batch).unwrap();
        println!("3000 ranges: {:?}", start.elapsed());
        let found = socket.elements(&table, "out").unwrap();
        assert_eq!(found.len(), 3000);
        assert!(
            found.iter().all(|one| one.key.len() == 12 && one.key_end.is_some() && one.comment.is_some())
        );
        let mut batch = Batch::new();
        batch.delete_elements(&table, &set, &elements);
        socket.commit(&batch).unwrap();
        assert_eq!(socket.elements(&table, "out").unwrap(), []);
    });
}

#[test]
fn elements_are_read_back_with_their_data() {
    in_own_network(|| {
        let table = table();
        let map = Set::new("m", [Field::Protocol, Field::Port]).map_to([Field::Ipv4, Field::Port]);
        let vmap = Set::new("v", [Field::Port]).map_to_verdicts();
        let mut batch = Batch::new();
        let mapped =
            Element::new([Value::Byte(6), Value::Port(0x1234)]).data([v4("10.0.0.2"), Value::Port(0x50)]);
        batch
            .add_table(&table)
            .add_chain(&table, &Chain::new("other"))
            .add_set(&table, &map)
            .add_set(&table, &vmap)
            .add_elements(&table, &map, &[mapped.comment("c1")])
            .add_elements(
                &table,
                &vmap,
                &[Element::new([Value::Port(1)]).verdict(Verdict::Jump("other".to_owned()))],
            );
        let mut socket = socket();
        socket.commit(&batch).unwrap();
        assert_eq!(socket.sets(&table).unwrap(), ["m", "v"]);
        let found = socket.elements(&table, "m").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key, [6, 0, 0, 0, 0x12, 0x34, 0, 0]);
        assert_eq!(found[0].data, Some(DataInfo::Bytes(vec![10, 0, 0, 2, 0, 0x50, 0, 0])));
        assert_eq!(found[0].comment.as_deref(), Some("c1"));
        let found = socket.elements(&table, "v").unwrap();
        assert_eq!(found[0].data, Some(DataInfo::Verdict(Verdict::Jump("other".to_owned()))));
        assert!(socket.elements(&table, "none").unwrap_err().is_not_found());
    });
}

#[test]
fn an_element_that_is_there_is_left_and_only_a_new_one_may_be_asked_for() {
    in_own_network(|| {
        let table = table();
        let set = Set::new("s", [Field::Port]);
        let elements = [Element::new([Value::Port(1)])];
        let mut socket = socket();
        let mut batch = Batch::new();
        batch.add_table(&table).add_set(&table, &set).add_elements(&table, &set, &elements);
        socket.commit(&batch).unwrap();
        socket.commit(&batch).unwrap();
        let mut batch = Batch::new();
        batch.add_new_elements(&table, &set, &elements);
        let error = socket.commit(&batch).unwrap_err();
        assert_eq!(error.errno(), Some(rustix::io::Errno::EXIST));
        assert!(error.to_string().starts_with("add element to s in inet t: "), "{error}");
        let mut batch = Batch::new();
        batch.delete_elements(&table, &set, &[Element::new([Value::Port(2)])]);
        let error = socket.commit(&batch).unwrap_err();
        assert!(
            matches!(&error, Error::Refused { operation, .. } if operation == "delete element of s in inet t")
        );
        assert!(error.is_not_found());
    });
}

#[test]
fn a_set_takes_as_many_elements_as_it_has_room_for() {
    in_own_network(|| {
        let (table, mut socket) = (table(), socket());
        let set = Set::new("few", [Field::Ipv4, Field::Port]).room(2);
        let element = |last: u16| Element::new([v4("10.0.0.1"), Value::Port(last)]);
        let mut batch = Batch::new();
        batch.add_table(&table).add_set(&table, &set).add_new_elements(
            &table,
            &set,
            &[element(1), element(2)],
        );
        socket.commit(&batch).unwrap();
        let mut batch = Batch::new();
        batch.add_new_elements(&table, &set, &[element(3)]);
        let error = socket.commit(&batch).unwrap_err();
        assert!(error.to_string().starts_with("add element to few in inet t"), "{error}");
    });
}

#[test]
fn the_element_at_fault_is_told_among_thousands() {
    in_own_network(|| {
        let table = table();
        let set = Set::new("out", [Field::Ipv4, Field::Protocol, Field::Port]).intervals();
        let mut elements = allowed(3000);
        elements[2345] = elements[7].clone();
        let mut batch = Batch::new();
        batch.add_table(&table).add_set(&table, &set).add_new_elements(&table, &set, &elements);
        let error = socket().commit(&batch).unwrap_err();
        assert!(
            error.to_string().starts_with("add element to out in inet t (number 2346 of 3000): "),
            "{error}"
        );
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn a_single_value_is_an_element_of_a_set_of_intervals_too() {
    in_own_network(|| {
        let table = table();
        let set = Set::new("out", [Field::IfName, Field::Port]).intervals();
        let element = Element::new([Value::IfName("gab1".to_owned()), Value::Port(80)]);
        let mut socket = socket();
        let mut batch = Batch::new();
        batch.add_table(&table).add_set(&table, &set).add_elements(
            &table,
            &set,
            std::slice::from_ref(&element),
        );
        socket.commit(&batch).unwrap();
        shows(&run("nft list set inet t out"), &[r#"elements = { "gab1" . 80 }"#]);
        let mut batch = Batch::new();
        batch.delete_elements(&table, &set, &[element]);
        socket.commit(&batch).unwrap();
        assert_eq!(socket.elements(&table, "out").unwrap(), []);
    });
}

#[test]
fn a_set_that_cannot_be_is_an_error_before_it_is_sent() {
    in_own_network(|| {
        for (set, expected) in [
            (Set::new("s", []), "set s: its key or data has no fields"),
            (Set::new("s", [Field::Port]).map_to([]), "set s: its key or data has no fields"),
            (Set::new("s", [Field::Ipv6; 5]), "set key or data in words of 4 bytes is longer than 16"),
            (
                Set::new("s", [Field::Mark]).intervals(),
                "set s: its field is not in network byte order, so it has no intervals",
            ),
        ] {
            let mut batch = Batch::new();
            batch.add_table(&table()).add_set(&table(), &set);
            assert_eq!(socket().commit(&batch).unwrap_err().to_string(), expected);
        }
        assert_eq!(run("nft list ruleset"), "");
    });
}
