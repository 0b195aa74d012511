//! Packets for the host's own loopback interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine_tests::host::{Host, Namespace};
use engine_tests::until;
use gdn_types::{ContainerSpec, Handle, NetIn};

use super::ground::{Ground, Pair, Weak, all_escape, mac_in, send_at};
use super::{HOST, OUTSIDE};
use crate::packets::{frame, kind, packet, protocol, udp};
use crate::{Bed, Ear, Stage, Verdict, Word};

/// Where the host's own service listens, on loopback only; mapped to a container as well.
const PORT: u16 = 8053;
/// A second address of the interface.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);

/// The host's services that nobody else is to reach.
fn services(pid: u32) -> [Ear; 4] {
    let addresses: [IpAddr; 3] = [Ipv4Addr::LOCALHOST.into(), OTHER.into(), Ipv6Addr::LOCALHOST.into()];
    let [one, other, six] = addresses.map(|address| Ear::open(pid, address, PORT));
    // One for the host's other addresses, which only the host itself is to use.
    [one, other, six, Ear::open(pid, Ipv4Addr::UNSPECIFIED.into(), PORT + 1)]
}

fn unheard(ears: &[Ear], word: &Word) -> Verdict {
    Verdict::held_unless(ears.iter().any(|ear| ear.has(word)), || "a service of the host heard it".into())
}

type Martian = fn(&Ground<'_>, &Word) -> Vec<u8>;

const MARTIANS: [(&str, Martian); 4] = [
    ("to 127.0.0.1", |ground, word| {
        ground.datagram(ground.own.v4.into(), Ipv4Addr::LOCALHOST.into(), PORT, word)
    }),
    ("to another address of the interface", |ground, word| {
        ground.datagram(ground.own.v4.into(), OTHER.into(), PORT, word)
    }),
    ("as 127.0.0.1 to the gateway", |ground, word| {
        ground.datagram(Ipv4Addr::LOCALHOST.into(), ground.gateway.v4.into(), PORT + 1, word)
    }),
    ("to ::1", |ground, word| ground.datagram(ground.own.v6.into(), Ipv6Addr::LOCALHOST.into(), PORT, word)),
];

fn sent(ground: &Ground<'_>, ears: &[Ear], martian: Martian) -> Verdict {
    let word = Word::fresh();
    let arrived = ground.arrivals(&word, vec![martian(ground, &word)]);
    Verdict::all([unheard(ears, &word), arrived])
}

/// From outside to the host's loopback, and to the mapped port, which shows that what came before has been dealt with.
fn from_outside(host: &Host, ears: &[Ear], mapped: Option<&Ear>) -> Verdict {
    let (word, honest) = (Word::fresh(), Word::fresh());
    let to = mac_in(&host.inside, "up0");
    let from = mac_in(&host.outside, "down0");
    let framed = |destination: Ipv4Addr, word: &Word| {
        let content = udp(OUTSIDE.into(), destination.into(), PORT, &word.marked());
        let packet = packet(OUTSIDE.into(), destination.into(), protocol::UDP, &content);
        frame(to, from, kind::IPV4, &packet)
    };
    send_at(host.outside.pid(), "down0", &[framed(Ipv4Addr::LOCALHOST, &word), framed(HOST, &honest)]);
    match mapped {
        Some(mapped) => until("the mapped port to be reached", || mapped.has(&honest)),
        None => until("the host to be reached", || ears.iter().any(|ear| ear.has(&word))),
    }
    let answered = mapped.is_some_and(|mapped| mapped.has(&word));
    let led = Verdict::held_unless(answered, || "it was led to the mapped port".into());
    Verdict::all([unheard(ears, &word), led])
}

fn create(bed: &Bed) -> (Handle, Handle) {
    let netin = vec![NetIn { host_port: PORT, container_port: 53, transport: gdn_types::Transport::Udp }];
    let attacker = bed.create(ContainerSpec { privileged: true, ..ContainerSpec::default() });
    (attacker, bed.create(ContainerSpec { netin, ..ContainerSpec::default() }))
}

pub(super) fn to_loopback(stage: &mut Stage<'_>) {
    let (attacker, victim) = create(stage.bed());
    let pair = Pair::of(stage.bed(), attacker, &victim);
    let ears = services(stage.bed().host().inside.pid());
    for (name, martian) in MARTIANS {
        stage.case(name, |bed| sent(&pair.ground(bed), &ears, martian));
    }
    stage.case("from outside, by the number of a mapped port", |bed| {
        let inside = bed.engine().init_pid(victim.as_str());
        let mapped = Ear::open(inside, Ipv4Addr::UNSPECIFIED.into(), 53);
        from_outside(bed.host(), &ears, Some(&mapped))
    });
    stage.case("the host routes nothing to loopback", |bed| settings(&bed.host().inside));
    stage.control("a host that routes to loopback", |bed| {
        let weak = Weak::new();
        let ground = weak.ground(bed);
        let ears = services(weak.host.inside.pid());
        // No kernel takes `::1` from a link.
        let martians = MARTIANS.iter().take(3);
        let verdicts = martians.map(|(name, martian)| (*name, sent(&ground, &ears, *martian)));
        let more = [
            ("from outside", from_outside(&weak.host, &ears, None)),
            ("the setting", settings(&weak.host.inside)),
        ];
        all_escape(verdicts.chain(more))
    });
}

fn settings(host: &Namespace) -> Verdict {
    let told = host.must("grep -H . /proc/sys/net/ipv4/conf/*/route_localnet");
    let on: Vec<&str> = told.lines().filter(|line| !line.ends_with(":0")).collect();
    Verdict::equal(on, Vec::<&str>::new())
}
