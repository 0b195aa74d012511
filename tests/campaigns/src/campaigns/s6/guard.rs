//! What a container does to its own link.

use std::net::{IpAddr, Ipv4Addr};

use super::ground::{Ground, Pair, Weak, all_escape, send_at};
use super::{HOST, OUTSIDE, OUTSIDE6};
use crate::packets::{Mac, frame, kind, kind_of, packet, protocol, tagged, udp};
use crate::{Sniffer, Stage, Verdict, Word};

type Change = fn(&Ground<'_>, &Word) -> Vec<Vec<u8>>;

/// Changes the link by a script, sends a datagram to the outside, and changes it back.
fn changed(ground: &Ground<'_>, change: &str, back: &str, to: IpAddr, word: &Word) -> Vec<Vec<u8>> {
    let place = format!("udp,{to},4000,{}", word.text());
    let seen = ground.shell(&format!("{change} && probe reach {place}; {back}"));
    assert!(seen.stdout.contains(" sent"), "nothing was sent: {seen}");
    Vec::new()
}

/// A datagram to the outside in a frame with these hardware addresses.
fn framed(ground: &Ground<'_>, to: Mac, from: Mac, source: Ipv4Addr, word: &Word) -> Vec<u8> {
    let (source, destination) = (source.into(), OUTSIDE.into());
    let content = udp(source, destination, 4000, &word.marked());
    assert_ne!(to, ground.own.mac, "a frame to itself");
    frame(to, from, kind_of(source), &packet(source, destination, protocol::UDP, &content))
}

const CHANGES: [(&str, Change); 9] = [
    ("another address", |ground, word| {
        let (other, gateway) = (ground.victim.v4, ground.gateway.v4);
        let change = format!(
            "ip addr add {other}/32 dev eth0 && ip route add {OUTSIDE} via {gateway} dev eth0 src {other}"
        );
        let back = format!("ip route del {OUTSIDE}; ip addr del {other}/32 dev eth0");
        changed(ground, &change, &back, OUTSIDE.into(), word)
    }),
    ("another address of IPv6", |ground, word| {
        let (other, gateway) = (ground.victim.v6, ground.gateway.v6);
        // The kernel takes a moment to find out that nobody else has the address.
        let change = format!(
            "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip -6 addr add {other}/128 dev eth0 && \
             until ip -6 route add {OUTSIDE6} via {gateway} dev eth0 src {other}; do usleep 10000; done"
        );
        let back = format!("ip -6 route del {OUTSIDE6}; ip -6 addr del {other}/128 dev eth0");
        changed(ground, &change, &back, OUTSIDE6.into(), word)
    }),
    ("another hardware address", |ground, word| {
        let text = |mac: Mac| mac.0.map(|byte| format!("{byte:02x}")).join(":");
        let mut other = ground.own.mac;
        other.0[5] ^= 0x40;
        let change = format!("ip link set eth0 address {}", text(other));
        let back = format!("ip link set eth0 address {}", text(ground.own.mac));
        changed(ground, &change, &back, OUTSIDE.into(), word)
    }),
    ("the host's own address", |ground, word| {
        vec![ground.datagram(HOST.into(), ground.victim.v4.into(), 4000, word)]
    }),
    ("the address of somebody outside", |ground, word| {
        vec![ground.datagram(OUTSIDE.into(), ground.victim.v4.into(), 4000, word)]
    }),
    ("a route through the victim", |ground, word| {
        vec![framed(ground, ground.victim.mac, ground.own.mac, ground.own.v4, word)]
    }),
    ("a virtual LAN", |ground, word| {
        let (source, destination) = (ground.own.v4.into(), ground.victim.v4.into());
        let content = udp(source, destination, 4000, &word.marked());
        let packet = packet(source, destination, protocol::UDP, &content);
        [ground.victim.mac, ground.gateway.mac, Mac::ALL]
            .map(|to| tagged(to, ground.own.mac, 5, kind::IPV4, &packet))
            .to_vec()
    }),
    ("a bridge with somebody else behind it", |ground, word| {
        let stranger = Mac([0x0a, 0x58, 9, 9, 9, 9]);
        vec![framed(ground, ground.gateway.mac, stranger, Ipv4Addr::new(10, 254, 0, 3), word)]
    }),
    ("forwarding for another network", |ground, word| {
        vec![ground.datagram(Ipv4Addr::new(10, 254, 0, 77).into(), OUTSIDE.into(), 4000, word)]
    }),
];

/// Whether what the victim sends, to somebody and to all, is seen at the attacker's link.
fn overhears(ground: &Ground<'_>) -> Verdict {
    ground.shell("ip link set eth0 promisc on").said();
    let sniffer = Sniffer::open(ground.own.pid, "eth0");
    let (word, honest) = (Word::fresh(), Word::fresh());
    let (from, victim) = (ground.victim.v4.into(), &ground.victim);
    let frames = [(ground.gateway.mac, OUTSIDE), (Mac::ALL, Ipv4Addr::BROADCAST)].map(|(mac, to)| {
        let content = udp(from, to.into(), 4000, &word.marked());
        frame(mac, victim.mac, kind::IPV4, &packet(from, to.into(), protocol::UDP, &content))
    });
    send_at(victim.pid, "eth0", &frames);
    // What the host sends to the attacker comes later by the same link.
    let content = udp(ground.gateway.v4.into(), ground.own.v4.into(), 4000, &honest.marked());
    ground.send_as_host(&content);
    engine_tests::until("the host to be heard", || sniffer.count(&honest) > 0);
    ground.shell("ip link set eth0 promisc off").said();
    Verdict::held_unless(sniffer.count(&word) > 0, || "the victim's packets are seen".into())
}

pub(super) fn changed_links(stage: &mut Stage<'_>) {
    let pair = Pair::create(stage.bed());
    for (name, change) in CHANGES {
        stage.case(name, |bed| pair.ground(bed).attempt(change));
    }
    stage.case("listening to everything", |bed| overhears(&pair.ground(bed)));
    stage.control("a bridge without rules", |bed| {
        let weak = Weak::new();
        let ground = weak.ground(bed);
        let attempts = CHANGES.iter().map(|(name, change)| (*name, ground.attempt(change)));
        all_escape(attempts.chain([("listening to everything", overhears(&ground))]))
    });
}
