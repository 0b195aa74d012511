//! On the real kernel, as root: each test has a network namespace of its own.

#![allow(unsafe_code, reason = "unshare(2) is safe only when it leaves the table of descriptors alone")]

use std::process::Command;

use gdn_ipam::{Lease, Subnet};
use gdn_types::{BandwidthLimits, Egress, Handle, NetOutRule};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::*;

fn in_own_network(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // SAFETY: a network namespace is the thread's; the table of descriptors is not unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("tests of the kernel are run as root");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn nft(arguments: &str) -> String {
    let out = Command::new("nft").args(arguments.split(' ')).output().unwrap();
    assert!(out.status.success(), "{arguments}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn firewall(may_own: bool) -> Firewall {
    let pool: Subnet = "10.254.0.0/22".parse().unwrap();
    let config = NetworkerConfig::new(EngineId::from_bits(7), "/nowhere".into(), pool);
    Firewall { may_own, ..Firewall::new(&config, "gabc".to_owned()) }
}

fn reservation() -> Reservation {
    let lease = Lease { subnet: "10.254.0.0/30".parse().unwrap(), address: "10.254.0.2".parse().unwrap() };
    let handle = Handle::parse("web").unwrap();
    Reservation {
        handle,
        lease,
        prefix: None,
        ports: Vec::new(),
        egress: Egress::Deny,
        generation: 0,
        bandwidth: BandwidthLimits::default(),
    }
}

fn destinations() -> Destinations {
    let mut destinations = Destinations::default();
    destinations.add(&[NetOutRule::default()]).unwrap();
    destinations
}

/// As on kernels before 6.9: whoever flushes all rules takes ours away too, and whoever asks is told so.
#[test]
fn a_table_that_others_may_take_away_is_missed_and_made_anew() {
    in_own_network(|| {
        let firewall = firewall(false);
        let (id, reservation, destinations) = (ContainerId::from_bits(1), reservation(), destinations());
        firewall.guard(&id, &reservation, &destinations).unwrap();
        let whole = nft("list ruleset");
        assert!(whole.contains("c-") && !whole.contains("flags owner"), "{whole}");
        assert!(!firewall.look().unwrap());
        let table = whole.split(' ').nth(2).unwrap();
        // Somebody else's doing is no reason.
        nft("add table inet theirs");
        assert!(!firewall.look().unwrap());
        nft("delete table inet theirs");
        for taken in [
            "flush ruleset".to_owned(),
            format!("delete table inet {table}"),
            format!("flush table inet {table}"),
        ] {
            nft(&taken);
            assert!(firewall.look().unwrap(), "{taken}");
            assert!(firewall.look().unwrap(), "as long as it is not back");
            assert_eq!(
                firewall.rebuild(std::iter::once((&id, &reservation, &destinations))).unwrap(),
                taken.starts_with("flush table")
            );
            assert!(!firewall.look().unwrap());
            assert_eq!(nft("list ruleset"), whole, "{taken}");
        }
        firewall.release(&id, &reservation, &destinations.kinds()).unwrap();
        firewall.remove().unwrap();
        assert_eq!(nft("list ruleset"), "");
        assert!(!firewall.look().unwrap());
    });
}

/// As on later kernels: nobody takes it away.
#[test]
fn a_table_of_ones_own_is_not_missed() {
    in_own_network(|| {
        let firewall = firewall(true);
        firewall.guard(&ContainerId::from_bits(1), &reservation(), &destinations()).unwrap();
        nft("flush ruleset");
        assert!(!firewall.look().unwrap());
        assert!(nft("list ruleset").contains("c-"));
    });
}

/// Whatever sets there were before, and whichever are new.
#[test]
fn what_was_allowed_and_is_taken_back_leaves_nothing() {
    in_own_network(|| {
        let firewall = firewall(false);
        let (id, reservation, mut destinations) =
            (ContainerId::from_bits(1), reservation(), Destinations::default());
        firewall.guard(&id, &reservation, &destinations).unwrap();
        let rule = |address: &str, port| {
            let address = address.parse().unwrap();
            NetOutRule {
                protocol: gdn_types::Protocol::Tcp,
                networks: vec![IpRange { start: address, end: address }],
                ports: vec![gdn_types::PortRange { start: port, end: port }],
                ..NetOutRule::default()
            }
        };
        let many: Vec<NetOutRule> = (1..200).map(|port| rule("192.0.2.1", port)).collect();
        for rules in
            [vec![NetOutRule::default()], vec![rule("192.0.2.2", 80)], many, vec![rule("2001:db8::1", 80)]]
        {
            let (whole, before) = (nft("list ruleset"), destinations.kinds());
            let added = destinations.add(&rules).unwrap();
            firewall.allow(&id, &reservation, &before, &added).unwrap();
            let allowed = nft("list ruleset");
            assert_ne!(allowed, whole);
            firewall.forbid(&id, &reservation, &before, &added).unwrap();
            assert_eq!(nft("list ruleset"), whole);
            firewall.allow(&id, &reservation, &before, &added).unwrap();
            assert_eq!(nft("list ruleset"), allowed);
        }
    });
}

/// The kernel follows the ways through all chains with each new container, so a container without rules has none.
#[test]
fn a_container_has_a_chain_while_it_has_rules() {
    in_own_network(|| {
        let firewall = firewall(false);
        for (number, egress) in [(1, Egress::Deny), (2, Egress::Allow)] {
            let (id, none) = (ContainerId::from_bits(number), Destinations::default());
            let reservation = Reservation { egress, ..reservation() };
            firewall.guard(&id, &reservation, &none).unwrap();
            let without = nft("list ruleset");
            assert!(!without.contains(" c-"), "{without}");
            let destinations = destinations();
            let next = Reservation { generation: 1, ..reservation.clone() };
            firewall.replace(&id, (&reservation, &none.kinds()), (&next, &destinations)).unwrap();
            let with = nft("list ruleset");
            assert!(
                with.contains(&format!("jump c-{id}")) && with.contains(&format!("chain c-{id}")),
                "{with}"
            );
            let last = Reservation { generation: 2, ..reservation.clone() };
            firewall.replace(&id, (&next, &destinations.kinds()), (&last, &none)).unwrap();
            assert_eq!(nft("list ruleset"), without);
            firewall.release(&id, &last, &none.kinds()).unwrap();
            assert!(!nft("list ruleset").contains(&id.to_string()));
        }
    });
}

/// Of a subnet with room for several, what the operator denies does not hold among them, and that is a rule of their own.
#[test]
fn neighbours_are_reached_whatever_is_denied() {
    in_own_network(|| {
        let deny =
            vec![IpRange { start: "10.0.0.0".parse().unwrap(), end: "10.255.255.255".parse().unwrap() }];
        let firewall = Firewall { deny, ..firewall(false) };
        let none = Destinations::default();
        for (number, subnet, chain) in [(1, "10.254.0.0/30", false), (2, "10.254.0.8/29", true)] {
            let id = ContainerId::from_bits(number);
            let lease = Lease { subnet: subnet.parse().unwrap(), ..reservation().lease };
            let reservation = Reservation { egress: Egress::Allow, lease, ..reservation() };
            firewall.guard(&id, &reservation, &none).unwrap();
            let listed = nft("list ruleset");
            assert_eq!(listed.contains(&format!("chain c-{id}")), chain, "{listed}");
            assert_eq!(listed.contains("ip daddr 10.254.0.8/29 accept"), chain, "{listed}");
            firewall.release(&id, &reservation, &none.kinds()).unwrap();
            assert!(!nft("list ruleset").contains(&id.to_string()));
        }
    });
}
