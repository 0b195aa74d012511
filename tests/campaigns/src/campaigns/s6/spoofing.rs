//! Forged frames.

use std::net::Ipv4Addr;

use super::ground::{Ground, Pair, Weak, all_escape};
use super::{OUTSIDE, OUTSIDE6};
use crate::packets::{Mac, arp, frame, icmp6, ipv6, kind, kind_of, packet, protocol, udp};
use crate::{Stage, Word};

/// ARP: questions and answers. ICMPv6: the same.
const ASK: u8 = 1;
const TELL: u8 = 2;
const SOLICIT: u8 = 135;
const ADVERTISE: u8 = 136;
/// Asked for, and put in the place of what was known.
const OVERRIDE: [u8; 4] = [0x60, 0, 0, 0];
/// A neighbour's message comes from no further than this link.
const ON_LINK: u8 = 255;

type Forge = fn(&Ground<'_>, &Word) -> Vec<Vec<u8>>;

fn arp_frame(
    ground: &Ground<'_>,
    to: Mac,
    operation: u8,
    as_whom: Ipv4Addr,
    whom: Ipv4Addr,
    word: &Word,
) -> Vec<u8> {
    let content = arp(operation, (ground.own.mac, as_whom), (to, whom), &word.marked());
    frame(to, ground.own.mac, kind::ARP, &content)
}

/// A message about neighbours: of this kind about an address, with the attacker's hardware address. The word is in an option
/// that nobody knows.
fn neighbour(
    ground: &Ground<'_>,
    to: Mac,
    kind_of_message: u8,
    (source, about): (std::net::Ipv6Addr, std::net::Ipv6Addr),
    destination: std::net::Ipv6Addr,
    word: &Word,
) -> Vec<u8> {
    let flags = if kind_of_message == ADVERTISE { OVERRIDE } else { [0; 4] };
    let option = if kind_of_message == ADVERTISE { 2 } else { 1 };
    let mut body = [&flags[..], &about.octets(), &[option, 1], &ground.own.mac.0].concat();
    body.extend(unknown_option(word));
    let message = icmp6(source, destination, kind_of_message, 0, &body);
    let packet = ipv6(source, destination, protocol::ICMPV6, ON_LINK, &message);
    frame(to, ground.own.mac, kind::IPV6, &packet)
}

/// An option of neighbour discovery for experiments, which holds the word.
pub(super) fn unknown_option(word: &Word) -> Vec<u8> {
    let mut option = vec![253, 2];
    option.extend(word.marked());
    option.resize(16, 0);
    option
}

/// What is sent, as whom to whom.
const FORGED: [(&str, Forge); 12] = [
    ("ARP: the victim's address is here, to all", |ground, word| {
        let victim = ground.victim.v4;
        vec![arp_frame(ground, Mac::ALL, TELL, victim, victim, word)]
    }),
    ("ARP: the gateway's address is here, to all", |ground, word| {
        let gateway = ground.gateway.v4;
        vec![arp_frame(ground, Mac::ALL, TELL, gateway, gateway, word)]
    }),
    ("ARP: a question to the host as the victim", |ground, word| {
        vec![arp_frame(ground, Mac::ALL, ASK, ground.victim.v4, ground.gateway.v4, word)]
    }),
    ("ARP: an answer to the victim as the gateway", |ground, word| {
        vec![arp_frame(ground, ground.victim.mac, TELL, ground.gateway.v4, ground.victim.v4, word)]
    }),
    ("ND: the victim's address is here, to the host", |ground, word| {
        let (victim, gateway) = (ground.victim.v6, ground.gateway.v6);
        vec![neighbour(ground, ground.gateway.mac, ADVERTISE, (victim, victim), gateway, word)]
    }),
    ("ND: the gateway's address is here, to all", |ground, word| {
        let gateway = ground.gateway.v6;
        let all = "ff02::1".parse().expect("it is an address");
        vec![neighbour(ground, Mac::ALL_NODES, ADVERTISE, (gateway, gateway), all, word)]
    }),
    ("ND: a question to the host as the victim", |ground, word| {
        let (victim, gateway) = (ground.victim.v6, ground.gateway.v6);
        vec![neighbour(ground, ground.gateway.mac, SOLICIT, (victim, gateway), gateway, word)]
    }),
    ("IPv4 as the victim, to the outside", |ground, word| {
        vec![ground.datagram(ground.victim.v4.into(), OUTSIDE.into(), 4000, word)]
    }),
    ("IPv4 as the gateway, to the victim", |ground, word| {
        vec![ground.datagram(ground.gateway.v4.into(), ground.victim.v4.into(), 4000, word)]
    }),
    ("IPv6 as the victim, to the outside", |ground, word| {
        vec![ground.datagram(ground.victim.v6.into(), OUTSIDE6.into(), 4000, word)]
    }),
    ("IPv6 as the gateway, to the victim", |ground, word| {
        vec![ground.datagram(ground.gateway.v6.into(), ground.victim.v6.into(), 4000, word)]
    }),
    ("with the victim's hardware address, to the outside", |ground, word| {
        let (from, to) = (ground.own.v4.into(), OUTSIDE.into());
        let packet = packet(from, to, protocol::UDP, &udp(from, to, 4000, &word.marked()));
        vec![frame(ground.gateway.mac, ground.victim.mac, kind_of(from), &packet)]
    }),
];

pub(super) fn forged(stage: &mut Stage<'_>) {
    let pair = Pair::create(stage.bed());
    for (name, forge) in FORGED {
        stage.case(name, |bed| pair.ground(bed).attempt(forge));
    }
    stage.control("a bridge without rules", |bed| {
        let weak = Weak::new();
        let ground = weak.ground(bed);
        all_escape(FORGED.iter().map(|(name, forge)| (*name, ground.attempt(forge))))
    });
}
