//! Packets that are made to be misread.

use std::net::IpAddr;

use gdn_types::{ContainerSpec, Egress, NetOutRule, PortRange, Protocol};

use super::ground::{Ground, HONEST_PORT, Pair, Weak, all_escape};
use super::{BESIDE, DENIED, OUTSIDE, OUTSIDE6};
use crate::packets::{Ipv4, frame, icmp, ipv6, kind, packet, protocol, tcp, udp};
use crate::{Stage, Word};

/// A port that no rule opens.
const SHUT: u16 = 5000;
const SYN: u8 = 2;
const ACK: u8 = 16;
const REDIRECT: u8 = 5;

type Craft = fn(&Ground<'_>, &Word) -> Vec<Vec<u8>>;

/// Frames of packets of IPv4 from the attacker's address to the outside.
fn v4(ground: &Ground<'_>, parts: &[(Ipv4, Vec<u8>)]) -> Vec<Vec<u8>> {
    let whole = |(head, content): &(Ipv4, Vec<u8>)| {
        frame(ground.gateway.mac, ground.own.mac, kind::IPV4, &head.around(content))
    };
    parts.iter().map(whole).collect()
}

fn v6(ground: &Ground<'_>, next: u8, content: &[u8]) -> Vec<u8> {
    let packet = ipv6(ground.own.v6, OUTSIDE6, next, 64, content);
    frame(ground.gateway.mac, ground.own.mac, kind::IPV6, &packet)
}

fn head(ground: &Ground<'_>, protocol: u8, id: u16) -> Ipv4 {
    Ipv4 { id, ..Ipv4::new(ground.own.v4, OUTSIDE, protocol) }
}

fn datagram(ground: &Ground<'_>, port: u16, content: &[u8]) -> Vec<u8> {
    udp(ground.own.v4.into(), OUTSIDE.into(), port, content)
}

/// A message that tells the outside of another way for a connection of the attacker's.
fn redirect(ground: &Ground<'_>, port: u16, word: &Word) -> Vec<Vec<u8>> {
    let answer = udp(OUTSIDE.into(), ground.own.v4.into(), 40_000, &word.marked());
    // The answer to a datagram that was sent to this port.
    let answer = [&port.to_be_bytes()[..], &answer[2..]].concat();
    let told = packet(OUTSIDE.into(), ground.own.v4.into(), protocol::UDP, &answer);
    let message = icmp(REDIRECT, 1, ground.own.v4.octets(), &told);
    v4(ground, &[(head(ground, protocol::ICMP, 30), message)])
}

/// Eight bytes of an extension header of IPv6 that says nothing.
fn padding(next: u8) -> Vec<u8> {
    vec![next, 0, 1, 4, 0, 0, 0, 0]
}

const CRAFTED: [(&str, Craft); 14] = [
    ("a first fragment too small for a header", |ground, word| {
        let segment = tcp(ground.own.v4.into(), OUTSIDE.into(), SHUT, SYN, &word.marked());
        let head = head(ground, protocol::TCP, 11);
        let first = Ipv4 { more: true, ..head.clone() };
        v4(ground, &[(first, segment[..8].to_vec()), (Ipv4 { offset: 1, ..head }, segment[8..].to_vec())])
    }),
    ("a later fragment alone", |ground, word| {
        let later = Ipv4 { offset: 64, ..head(ground, protocol::UDP, 12) };
        v4(ground, &[(later, word.marked())])
    }),
    ("a fragment that overwrites the port", |ground, word| {
        let open = datagram(ground, HONEST_PORT, &[b'.'; 8]);
        let shut = datagram(ground, SHUT, &word.marked());
        let head = head(ground, protocol::UDP, 13);
        let first = Ipv4 { more: true, ..head.clone() };
        v4(ground, &[(first, open), (head, shut)])
    }),
    ("a wrong sum", |ground, word| {
        let mut shut = datagram(ground, SHUT, &word.marked());
        shut[6] ^= 0x55;
        v4(ground, &[(head(ground, protocol::UDP, 14), shut)])
    }),
    ("SCTP to the port that is open", |ground, word| {
        let ports = [40_000_u16.to_be_bytes(), HONEST_PORT.to_be_bytes()].concat();
        let start = [&ports[..], &[0; 8], &[1, 0, 0, 32], &[0; 18], &word.marked()].concat();
        v4(ground, &[(head(ground, protocol::SCTP, 15), start)])
    }),
    ("a protocol for experiments", |ground, word| {
        v4(ground, &[(head(ground, protocol::TEST, 16), word.marked())])
    }),
    ("a tunnel of GRE", |ground, word| {
        let (from, to): (IpAddr, IpAddr) = (ground.own.v4.into(), DENIED.into());
        let inner = packet(from, to, protocol::UDP, &udp(from, to, HONEST_PORT, &word.marked()));
        let tunnel = [&[0, 0][..], &kind::IPV4.to_be_bytes(), &inner].concat();
        v4(ground, &[(head(ground, protocol::GRE, 17), tunnel)])
    }),
    ("tunnels of IPv4 and IPv6 in IPv4", |ground, word| {
        let (from, to): (IpAddr, IpAddr) = (ground.own.v4.into(), DENIED.into());
        let inner = packet(from, to, protocol::UDP, &udp(from, to, HONEST_PORT, &word.marked()));
        let (from, to) = (ground.own.v6.into(), OUTSIDE6.into());
        let six = packet(from, to, protocol::UDP, &udp(from, to, HONEST_PORT, &word.marked()));
        let (one, other) = (head(ground, protocol::IPIP, 18), head(ground, protocol::IPV6, 19));
        v4(ground, &[(one, inner), (other, six)])
    }),
    ("a route of the sender's choice", |ground, word| {
        // By way of the gateway to an address that no rule opens (RFC 791, loose source route).
        let options = [&[131, 7, 4][..], &BESIDE.octets(), &[0]].concat();
        let content = datagram(ground, HONEST_PORT, &word.marked());
        let head = head(ground, protocol::UDP, 20);
        let loose = Ipv4 { destination: ground.gateway.v4, options, ..head };
        v4(ground, &[(loose, content)])
    }),
    ("a message of another way, of no connection", |ground, word| redirect(ground, SHUT, word)),
    ("a message of another way, of a connection that there is", |ground, word| {
        let open = datagram(ground, HONEST_PORT, b"open");
        let mut frames = v4(ground, &[(head(ground, protocol::UDP, 21), open)]);
        frames.extend(redirect(ground, HONEST_PORT, word));
        frames
    }),
    ("a connection that is said to have begun", |ground, word| {
        let segment = tcp(ground.own.v4.into(), OUTSIDE.into(), SHUT, ACK, &word.marked());
        v4(ground, &[(head(ground, protocol::TCP, 22), segment)])
    }),
    ("headers before the one that counts", |ground, word| {
        let shut = udp(ground.own.v6.into(), OUTSIDE6.into(), SHUT, &word.marked());
        let content = [padding(protocol::DESTINATION), padding(protocol::UDP), shut].concat();
        vec![v6(ground, protocol::HOP_BY_HOP, &content)]
    }),
    ("fragments of IPv6", |ground, word| {
        let shut =
            udp(ground.own.v6.into(), OUTSIDE6.into(), SHUT, &[&[b'.'; 8][..], &word.marked()].concat());
        let part = |offset: u16, more: u16, content: &[u8]| {
            let place = (offset << 3 | more).to_be_bytes();
            let head = [&[protocol::UDP, 0][..], &place, &23_u32.to_be_bytes()].concat();
            v6(ground, protocol::FRAGMENT, &[&head[..], content].concat())
        };
        vec![part(0, 1, &shut[..16]), part(2, 0, &shut[16..])]
    }),
];

/// Datagrams to one port of the outside and nothing else.
fn one_port() -> ContainerSpec {
    let rule = |address: IpAddr| NetOutRule {
        protocol: Protocol::Udp,
        networks: vec![gdn_types::IpRange { start: address, end: address }],
        ports: vec![PortRange { start: HONEST_PORT, end: HONEST_PORT }],
        ..NetOutRule::default()
    };
    ContainerSpec {
        privileged: true,
        egress: Some(Egress::Deny),
        netout: vec![rule(OUTSIDE.into()), rule(OUTSIDE6.into())],
        ..ContainerSpec::default()
    }
}

pub(super) fn bypasses(stage: &mut Stage<'_>) {
    let bed = stage.bed();
    let pair = Pair::of(bed, bed.create(one_port()), &bed.create(ContainerSpec::default()));
    for (name, craft) in CRAFTED {
        stage.case(name, |bed| pair.ground(bed).outside_only().attempt(craft));
    }
    stage.control("a bridge without rules", |bed| {
        let weak = Weak::new();
        let ground = weak.ground(bed).outside_only();
        all_escape(CRAFTED.iter().map(|(name, craft)| (*name, ground.attempt(craft))))
    });
}
