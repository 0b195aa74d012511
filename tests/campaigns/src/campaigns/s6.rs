//! S6: what a container can do on a network, and what the network can do to others through it.

mod crafted;
mod flows;
mod ground;
mod guard;
mod injection;
mod martians;
mod matrix;
mod names;
mod plugins;
mod routers;
mod spoofing;
mod stalker;
mod windows;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{Bed, Campaign, Row};

/// Addresses of the outside: all of them are the far end of the host's uplink.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// Such that rules do not name, where they name the others.
const BESIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const BESIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
/// Such that no container may reach, by the operator's word.
const DENIED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const DENIED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
/// Where services of a cloud are; denied as well.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The host's own.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// An engine with a network, and an outside with the addresses above.
fn bed() -> Bed {
    let bed = Bed::networked(&[
        "--network-pool",
        "10.254.0.0/22",
        "--network-pool6",
        "fd00:77::/48",
        "--deny-network",
        "192.0.2.9",
        "--deny-network",
        "2001:db8::9",
        "--deny-network",
        "169.254.169.254",
        "--bind-ip",
        "0.0.0.0",
        "--bind-port",
        "7777",
    ]);
    ground::equip_outside(bed.host());
    bed
}

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    id: "S6",
    title: "the network",
    bed,
    rows: &[
        Row {
            id: "S6.01",
            title: "nobody sends as another, and no table of neighbours learns from a container",
            reference: "",
            cases: 12,
            attempts: 1,
            play: spoofing::forged,
        },
        Row {
            id: "S6.02",
            title: "no container is a router to the host or to others",
            reference: "CVE-2020-10749, CVE-2020-13401, CVE-2024-32473",
            cases: 8,
            attempts: 1,
            play: routers::advertised,
        },
        Row {
            id: "S6.03",
            title: "the host's loopback is out of reach, also of mapped ports",
            reference: "CVE-2020-8558",
            cases: 6,
            attempts: 1,
            play: martians::to_loopback,
        },
        Row {
            id: "S6.04",
            title: "a rule opens exactly what it says, before and after a restart",
            reference: "",
            cases: 120,
            attempts: 1,
            play: matrix::rules,
        },
        Row {
            id: "S6.05",
            title: "there is no moment without rules",
            reference: "",
            cases: 6,
            attempts: 200,
            play: windows::watched,
        },
        Row {
            id: "S6.06",
            title: "containers, the host and what is outside reach each other as the policy says",
            reference: "",
            cases: 24,
            attempts: 1,
            play: flows::between,
        },
        Row {
            id: "S6.07",
            title: "whatever a container does to its link, it sends as itself only and sees nothing of others",
            reference: "",
            cases: 10,
            attempts: 1,
            play: guard::changed_links,
        },
        Row {
            id: "S6.08",
            title: "no name, value or number of a request becomes a rule, and what means nothing is refused",
            reference: "",
            cases: 26,
            attempts: 1,
            play: injection::words,
        },
        Row {
            id: "S6.09",
            title: "a network plug-in runs nothing else and harms nobody by what it answers",
            reference: "CVE-2021-20206",
            cases: 15,
            attempts: 1,
            play: plugins::answers,
        },
        Row {
            id: "S6.10",
            title: "a container's list of name servers holds what it can use of the host's, and nothing listens for names",
            reference: "CVE-2024-8418",
            cases: 12,
            attempts: 1,
            play: names::lists,
        },
        Row {
            id: "S6.11",
            title: "fragments, odd protocols, tunnels and options get round no rule",
            reference: "",
            cases: 14,
            attempts: 1,
            play: crafted::bypasses,
        },
    ],
};
