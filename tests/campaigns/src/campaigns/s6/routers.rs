//! Rogue routers.

use std::net::Ipv6Addr;

use engine_tests::host::Host;
use engine_tests::{Engine, until};
use gdn_types::ContainerSpec;

use super::ground::{Ground, Pair, Weak, all_escape};
use super::spoofing::unknown_option;
use crate::packets::{Mac, frame, icmp6, ipv6, kind, protocol};
use crate::{Stage, Target, Verdict, Word};

const ADVERTISEMENT: u8 = 134;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The kernel has this route on every link that is up.
const ALL_MULTICAST: &str = "ff00::/8";

/// What a router says.
struct Router {
    /// Its link-local address.
    address: Ipv6Addr,
    /// For how many seconds it is one.
    lifetime: u16,
    options: Vec<u8>,
}

fn link_local(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xbad, number)
}

/// Addresses are made of this prefix (RFC 4861, 4.6.2).
fn prefix(number: u16) -> Vec<u8> {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, number, 0, 0, 0, 0);
    [&[3, 4, 64, 0xc0][..], &[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0], &address.octets()].concat()
}

/// The way to this prefix leads here, before all others (RFC 4191, 2.3).
fn route(number: u16) -> Vec<u8> {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, number, 0, 0, 0, 0);
    [&[24, 2, 64, 0x08, 0, 0, 0xff, 0xff][..], &address.octets()[..8]].concat()
}

fn mtu(bytes: u32) -> Vec<u8> {
    [&[5, 1, 0, 0][..], &bytes.to_be_bytes()].concat()
}

fn advertisement(
    ground: &Ground<'_>,
    to: Mac,
    destination: Ipv6Addr,
    router: &Router,
    word: &Word,
) -> Vec<u8> {
    let mut body = [&[64, 0][..], &router.lifetime.to_be_bytes(), &[0; 8], &router.options].concat();
    body.extend(unknown_option(word));
    let message = icmp6(router.address, destination, ADVERTISEMENT, 0, &body);
    let packet = ipv6(router.address, destination, protocol::ICMPV6, 255, &message);
    frame(to, ground.own.mac, kind::IPV6, &packet)
}

type Advertise = fn(&Ground<'_>, &Word) -> Vec<Vec<u8>>;

const ADVERTISED: [(&str, Advertise); 5] = [
    ("a prefix, to all", |ground, word| {
        let router = Router { address: link_local(1), lifetime: 0, options: prefix(1) };
        vec![advertisement(ground, Mac::ALL_NODES, ALL_NODES, &router, word)]
    }),
    ("a way to everywhere, to all", |ground, word| {
        let router = Router { address: link_local(2), lifetime: 1800, options: Vec::new() };
        vec![advertisement(ground, Mac::ALL_NODES, ALL_NODES, &router, word)]
    }),
    ("a way to everywhere, to the host alone", |ground, word| {
        let router = Router { address: link_local(3), lifetime: 1800, options: prefix(3) };
        vec![advertisement(ground, ground.gateway.mac, ground.gateway.v6, &router, word)]
    }),
    ("a better way to one network", |ground, word| {
        let router = Router { address: link_local(4), lifetime: 1800, options: route(4) };
        vec![advertisement(ground, Mac::ALL_NODES, ALL_NODES, &router, word)]
    }),
    ("small packets, and as the attacker's own address", |ground, word| {
        let small = Router { address: link_local(5), lifetime: 1800, options: mtu(1280) };
        let own = Router { address: ground.own.v6, lifetime: 1800, options: prefix(5) };
        [small, own].map(|router| advertisement(ground, Mac::ALL_NODES, ALL_NODES, &router, word)).to_vec()
    }),
];

pub(super) fn advertised(stage: &mut Stage<'_>) {
    let bed = stage.bed();
    let victim = bed.create(ContainerSpec::default());
    let attacker = bed.create(ContainerSpec { privileged: true, ..ContainerSpec::default() });
    let pair = Pair::of(bed, attacker, &victim);
    for (name, advertise) in ADVERTISED {
        stage.case(name, |bed| pair.ground(bed).attempt(advertise));
    }
    stage.case("the host's ends of links listen to no router", |bed| {
        let links = bed.host().inside.must("ls /proc/sys/net/ipv6/conf");
        let ends: Vec<&str> = links.lines().filter(|name| name.starts_with('g')).collect();
        assert_eq!(ends.len(), 2, "{links}");
        Verdict::all(ends.into_iter().map(|end| {
            let setting = bed.host().inside.must(&format!("cat /proc/sys/net/ipv6/conf/{end}/accept_ra"));
            Verdict::equal(setting.trim(), "0").at(end)
        }))
    });
    stage.case("a container has the addresses and routes that it was given, and none by itself", |bed| {
        let inside = bed.inside(&victim);
        let own = bed.engine().inspect(victim.as_str())["container_ipv6"].as_str().unwrap().to_owned();
        let told = inside.shell("", "ip -6 -o addr show dev eth0; ip -6 route show dev eth0");
        let strange: Vec<&str> = told
            .said()
            .lines()
            .filter(|line| !line.contains(&own) && !line.starts_with("default via fd00:77:"))
            .filter(|line| !line.starts_with("fd00:77:") && !line.contains(ALL_MULTICAST))
            .collect();
        Verdict::equal(strange, Vec::<&str>::new())
    });
    stage.case("an engine of one family gives nothing of the other", |_| one_family());
    stage.control("a bridge whose host and containers listen to routers", |bed| {
        let weak = Weak::new();
        let ground = weak.ground(bed);
        all_escape(ADVERTISED.iter().map(|(name, advertise)| (*name, ground.attempt(advertise))))
    });
}

/// Without a pool of IPv6 a container has no address of it, and the host passes none of its packets on.
fn one_family() -> Verdict {
    let host = Host::new();
    let mut engine = Engine::new();
    engine.start_server_in(&host.inside, &["--network-pool", "10.254.0.0/22"]);
    let handle = engine.create(&[]);
    let told = engine.shell(&handle, "ip -6 -o addr show dev eth0; ip -6 route show dev eth0").text();
    let forwards = host.inside.must("cat /proc/sys/net/ipv6/conf/all/forwarding");
    engine.gdn(["destroy", &handle]).expect_status(0);
    until("the container's link to be gone", || {
        host.inside.must("ip -o link show type veth").lines().all(|line| line.contains("up0"))
    });
    engine.finish();
    let strange: Vec<&str> = told.lines().filter(|line| !line.contains(ALL_MULTICAST)).collect();
    Verdict::all([
        Verdict::equal(strange, Vec::<&str>::new()),
        Verdict::equal(forwards.trim(), "0").at("forwarding"),
    ])
}
