//! Every kind of rule.

use std::net::IpAddr;
use std::sync::Mutex;

use engine_tests::host::Listener;
use gdn_types::{ContainerSpec, Egress, Handle, IcmpRule, IpRange, NetOutRule, PortRange, Protocol};

use super::ground::Weak;
use super::{BESIDE, BESIDE6, OUTSIDE, OUTSIDE6};
use crate::{Bed, Seen, Sniffer, Stage, Target, Verdict, Word};

const OPEN: u16 = 4000;
const SHUT: u16 = 5000;
/// How many are tried at once.
const AT_ONCE: usize = 4;

/// What is tried: a protocol, an address and a port.
type Trial = (&'static str, IpAddr, u16);

/// A rule, with a place that it leads to and places that it does not.
struct Case {
    name: String,
    rule: NetOutRule,
    leads_to: Trial,
    elsewhere: Vec<Trial>,
}

/// The ways to name the outside's first address and not the one beside it.
fn networks(address: IpAddr) -> [(&'static str, IpRange); 3] {
    let below = |last: &str| last.parse::<IpAddr>().expect("it is an address");
    let range = |start: IpAddr, end: IpAddr| IpRange { start, end };
    match address {
        IpAddr::V4(_) => [
            ("one address", range(address, address)),
            ("a range", range(below("192.0.2.0"), below("192.0.2.2"))),
            ("a network", range(below("192.0.2.0"), below("192.0.2.3"))),
        ],
        IpAddr::V6(_) => [
            ("one address", range(address, address)),
            ("a range", range(below("2001:db8::"), below("2001:db8::2"))),
            ("a network", range(below("2001:db8::"), below("2001:db8::3"))),
        ],
    }
}

fn ports() -> [(&'static str, Vec<PortRange>); 4] {
    let range = |start, end| PortRange { start, end };
    [
        ("a port", vec![range(OPEN, OPEN)]),
        ("ports", vec![range(OPEN - 1, OPEN + 1)]),
        ("several ports", vec![range(OPEN, OPEN), range(6000, 6001)]),
        ("all ports", Vec::new()),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let families: [(&str, IpAddr, IpAddr); 2] =
        [("IPv4", OUTSIDE.into(), BESIDE.into()), ("IPv6", OUTSIDE6.into(), BESIDE6.into())];
    for (family, address, beside) in families {
        for (named, network) in networks(address) {
            for (logged, log) in [("", false), (", logged", true)] {
                let base = || NetOutRule { networks: vec![network], log, ..NetOutRule::default() };
                let name = |what: &str| format!("{family}, {named}: {what}{logged}");
                for (protocol, word, other) in [(Protocol::Tcp, "tcp", "udp"), (Protocol::Udp, "udp", "tcp")]
                {
                    for (some, ports) in ports() {
                        let mut elsewhere = vec![(word, beside, OPEN), (other, address, OPEN)];
                        if !ports.is_empty() {
                            elsewhere.push((word, address, SHUT));
                        }
                        cases.push(Case {
                            name: name(&format!("{word}, {some}")),
                            rule: NetOutRule { protocol, ports, ..base() },
                            leads_to: (word, address, OPEN),
                            elsewhere,
                        });
                    }
                }
                let (protocol, kind) =
                    if address.is_ipv4() { (Protocol::Icmp, 8) } else { (Protocol::Icmpv6, 128) };
                let icmp = Some(IcmpRule { kind, code: None });
                cases.push(Case {
                    name: name("pings"),
                    rule: NetOutRule { protocol, icmp, ..base() },
                    leads_to: ("ping", address, 0),
                    elsewhere: vec![("ping", beside, 0), ("tcp", address, OPEN)],
                });
                cases.push(Case {
                    name: name("everything"),
                    rule: base(),
                    leads_to: ("tcp", address, SHUT),
                    elsewhere: vec![("tcp", beside, OPEN), ("ping", beside, 0)],
                });
            }
        }
    }
    cases
}

/// Tries all of them at once, and tells of each whether it was reached.
fn reached(target: &dyn Target, sniffer: &Sniffer, trials: &[Trial]) -> Vec<bool> {
    let words: Vec<Word> = trials.iter().map(|_| Word::fresh()).collect();
    let places: Vec<String> = trials
        .iter()
        .zip(&words)
        .map(|((protocol, address, port), word)| match *protocol {
            "tcp" => format!("tcp,{address},{port}"),
            "udp" => format!("udp,{address},{port},{}", word.text()),
            _ => format!("ping,{address},{}", word.text()),
        })
        .collect();
    let arguments: Vec<&str> =
        ["probe", "reach"].into_iter().chain(places.iter().map(String::as_str)).collect();
    let seen: Seen = target.run("", &arguments);
    let connected: Vec<bool> = seen.said().lines().map(|line| line.ends_with(" connected")).collect();
    connected.into_iter().zip(&words).map(|(tcp, word)| tcp || sniffer.count(word) > 0).collect()
}

fn verdict(target: &dyn Target, sniffer: &Sniffer, case: &Case) -> Verdict {
    let trials: Vec<Trial> = [case.leads_to].into_iter().chain(case.elsewhere.iter().copied()).collect();
    let mut reached_now = Vec::new();
    // What arrives is told by another process, a moment later.
    let first = engine_tests::eventually(engine_tests::PATIENCE, || {
        reached_now = reached(target, sniffer, &trials);
        reached_now[0].then_some(())
    });
    if first.is_none() {
        return Verdict::Broken(format!("the rule does not lead to {:?}", case.leads_to));
    }
    let wrong: Vec<&Trial> =
        case.elsewhere.iter().zip(&reached_now[1..]).filter(|(_, got)| **got).map(|(to, _)| to).collect();
    Verdict::held_unless(!wrong.is_empty(), || format!("the rule leads to {wrong:?}"))
}

/// A container with a rule and one that says nothing of what is tried, in this order or the other; given at the create or
/// later.
fn create(bed: &Bed, number: usize, case: &Case) -> Handle {
    let other = NetOutRule {
        protocol: Protocol::Tcp,
        networks: vec![IpRange { start: BESIDE.into(), end: BESIDE.into() }],
        ports: vec![PortRange { start: 1, end: 1 }],
        ..NetOutRule::default()
    };
    let mut rules = vec![other, case.rule.clone()];
    if number % 4 >= 2 {
        rules.reverse();
    }
    let egress = Some(Egress::Deny);
    if number.is_multiple_of(2) {
        return bed.create(ContainerSpec { egress, netout: rules, ..ContainerSpec::default() });
    }
    let handle = bed.create(ContainerSpec { egress, ..ContainerSpec::default() });
    bed.engine().with_client(async |client| client.net_out(&handle, &rules).await.unwrap());
    handle
}

/// Does something with each, some at once.
fn each<T: Send, U: Sync>(items: &[U], work: impl Fn(usize, &U) -> T + Sync) -> Vec<T> {
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in 0..AT_ONCE {
            let (done, work) = (&done, &work);
            scope.spawn(move || {
                for (number, item) in items.iter().enumerate().skip(part).step_by(AT_ONCE) {
                    let outcome = work(number, item);
                    done.lock().unwrap().push((number, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

pub(super) fn rules(stage: &mut Stage<'_>) {
    let cases = cases();
    let wanted: Vec<usize> = (0..cases.len()).filter(|number| stage.wants(number + 1)).collect();
    let bed = stage.bed();
    let sniffer = Sniffer::open(bed.host().outside.pid(), "down0");
    let listeners: Vec<Listener> =
        [OPEN, SHUT].map(|port| bed.host().outside.listen(port)).into_iter().collect();
    let handles = {
        let bed: &Bed = bed;
        each(&wanted, |_, number| create(bed, *number, &cases[*number]))
    };
    let check = |bed: &Bed| {
        each(&wanted, |index, number| verdict(&bed.inside(&handles[index]), &sniffer, &cases[*number]))
    };
    let before = check(bed);
    bed.engine_mut().kill_server();
    bed.serve();
    let after = check(bed);
    let mut verdicts = before.into_iter().zip(after).map(|(before, after)| {
        Verdict::all([before.at("before the restart"), after.at("after the restart")])
    });
    for case in &cases {
        stage.case(case.name.clone(), |_| verdicts.next().expect("each wanted case was tried"));
    }
    drop((sniffer, listeners));
    stage.control("a host without rules", |bed| {
        let weak = Weak::new();
        let sniffer = Sniffer::open(weak.host.outside.pid(), "down0");
        let _listeners = [OPEN, SHUT].map(|port| weak.host.outside.listen(port));
        let attacker = weak.attacker(bed);
        // One of each kind of rule and family.
        let some = cases.iter().step_by(5);
        super::ground::all_escape(
            some.map(|case| (case.name.as_str(), verdict(attacker.as_ref(), &sniffer, case))),
        )
    });
}
