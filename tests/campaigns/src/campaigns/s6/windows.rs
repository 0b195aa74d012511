//! Moments in which a rule could be missing.

use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use engine_tests::host::Namespace;
use engine_tests::images::path_text;
use engine_tests::{Gdn, eventually, until};
use gdn_types::{ContainerSpec, Handle, IpRange, NetOutRule, PortRange, Protocol};

use super::ground::Weak;
use super::stalker::Stalker;
use super::{DENIED, DENIED6};
use crate::{Bed, Sniffer, Stage, Target, Verdict, Word, probe};

/// Of the sinks.
const PORT: u16 = 4000;
const PORT_TEXT: &str = "4000";
/// For how long a container sends from its first moment on, in milliseconds.
const FIRST: &str = "25";
/// For how long a weak host is given chances.
const CHANCES: Duration = Duration::from_secs(20);

const SINKS: [IpAddr; 2] = [IpAddr::V4(DENIED), IpAddr::V6(DENIED6)];

fn family(sink: IpAddr) -> &'static str {
    if sink.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Datagrams to an address that is denied.
fn open(sink: IpAddr) -> NetOutRule {
    NetOutRule {
        protocol: Protocol::Udp,
        networks: vec![IpRange { start: sink, end: sink }],
        ..NetOutRule::default()
    }
}

/// Something about the same address that does not matter.
fn unrelated(sink: IpAddr, port: u16) -> NetOutRule {
    let ports = vec![PortRange { start: port, end: port }];
    NetOutRule { protocol: Protocol::Tcp, ports, ..open(sink) }
}

fn sniffer(bed: &Bed) -> Sniffer {
    Sniffer::open(bed.host().outside.pid(), "down0")
}

fn nothing_arrived(sniffer: &Sniffer, word: &Word) -> Verdict {
    let count = sniffer.count(word);
    Verdict::held_unless(count > 0, || format!("{count} packets arrived"))
}

fn beacon<'w>(sink: &'w str, word: &'w Word, time: &'w str) -> [&'w str; 6] {
    ["probe", "beacon", sink, PORT_TEXT, word.text(), time]
}

/// Containers whose first program sends from its first instruction on, while somebody else does so from their networks before
/// they are theirs.
fn created(bed: &Bed, sink: IpAddr, attempts: u32) -> Verdict {
    let (sniffer, words, allowed) = (sniffer(bed), [Word::fresh(), Word::fresh()], Word::fresh());
    let place = sink.to_string();
    let stalker = Stalker::start(bed.engine().mark(), SocketAddr::new(sink, PORT), &words[0]);
    // Answers whether the stalker was in the network before the create was answered.
    let once = |spec: ContainerSpec, word: &Word, stalker: Option<&Stalker>| {
        let begin = Instant::now();
        let handle = bed.create(spec);
        let early = stalker.is_some_and(|stalker| stalker.joined_between(begin, Instant::now()));
        let said = bed.inside(&handle).run("", &beacon(&place, word, FIRST)).said().to_owned();
        assert!(said.starts_with("sending"), "{said}");
        bed.engine().gdn(["destroy", handle.as_str()]).expect_status(0);
        early
    };
    let mut early = 0;
    for _ in 0..attempts {
        early += u32::from(once(ContainerSpec::default(), &words[1], Some(&stalker)));
    }
    // On a busy machine it may come too late every time.
    until("somebody to be in a network before its create is answered", || {
        early > 0 || once(ContainerSpec::default(), &words[1], Some(&stalker))
    });
    drop(stalker);
    // The same arrives where a rule allows it.
    once(ContainerSpec { netout: vec![open(sink)], ..ContainerSpec::default() }, &allowed, None);
    until("what is allowed to arrive", || sniffer.count(&allowed) > 0);
    Verdict::all(words.iter().map(|word| nothing_arrived(&sniffer, word)))
}

/// A container that sends all the time, to both.
struct Sender {
    handle: Handle,
    words: [Word; 2],
    _processes: Vec<Gdn>,
}

impl Sender {
    fn start(bed: &Bed) -> Self {
        let handle = bed.create(ContainerSpec::default());
        let words = [Word::fresh(), Word::fresh()];
        let processes = SINKS.iter().zip(&words).map(|(sink, word)| {
            let sink = sink.to_string();
            let words = beacon(&sink, word, "0");
            bed.engine().begin(["exec", handle.as_str()].into_iter().chain(words))
        });
        let processes = processes.collect();
        let pid = bed.engine().init_pid(handle.as_str());
        until("both senders to run", || engine_tests::inside::processes_beside(pid).len() == 2);
        Sender { handle, words, _processes: processes }
    }

    /// What is sent arrives once it is allowed, which shows that it was sent all the time.
    fn verdict(&self, bed: &Bed, sniffer: &Sniffer) -> Verdict {
        let verdict = Verdict::all(self.words.iter().map(|word| nothing_arrived(sniffer, word)));
        let rules = SINKS.map(open);
        bed.engine().with_client(async |client| client.net_out(&self.handle, &rules).await.unwrap());
        for (sink, word) in SINKS.iter().zip(&self.words) {
            until(&format!("what is sent to {sink} to arrive"), || sniffer.count(word) > 0);
        }
        verdict
    }
}

/// Rules come, go and are replaced, and somebody else takes away all rules that he can.
fn changed(bed: &Bed, sink: IpAddr, attempts: u32) -> Verdict {
    let (sniffer, sender) = (sniffer(bed), Sender::start(bed));
    for attempt in 0..attempts {
        let port = u16::try_from(attempt % 60_000).expect("it is small") + 1;
        let rules = [unrelated(sink, port), NetOutRule { protocol: Protocol::Icmp, ..NetOutRule::default() }];
        bed.engine().with_client(async |client| {
            client.net_out(&sender.handle, &rules).await.unwrap();
            client.net_replace(&sender.handle, &rules[..1], None).await.unwrap();
        });
        bed.host().inside.must("nft flush ruleset");
    }
    sender.verdict(bed, &sniffer)
}

fn restarted(bed: &mut Bed, attempts: u32, kill: bool) -> Verdict {
    let (sniffer, sender) = (sniffer(bed), Sender::start(bed));
    for _ in 0..attempts.div_ceil(4) {
        if kill {
            bed.engine_mut().kill_server();
        } else {
            bed.engine_mut().stop_server();
        }
        bed.serve();
    }
    sender.verdict(bed, &sniffer)
}

pub(super) fn watched(stage: &mut Stage<'_>) {
    let attempts = stage.attempts();
    for sink in SINKS {
        stage
            .case(format!("while containers are made, {}", family(sink)), |bed| created(bed, sink, attempts));
    }
    for sink in SINKS {
        stage.case(format!("while rules change and others flush theirs, {}", family(sink)), |bed| {
            changed(bed, sink, attempts)
        });
    }
    stage.case("while servers are killed and started", |bed| restarted(bed, attempts, true));
    stage.case("while servers stop and start", |bed| restarted(bed, attempts, false));
    let table = "nft add table inet weak; \
                 nft 'add chain inet weak out { type filter hook forward priority 0; }'";
    let rule = "nft add rule inet weak out ip daddr 192.0.2.9 drop";
    stage.control("a link that is up before its rules are there", |_| {
        weak_host(
            table,
            |host| drop(host.must(&format!("ip link set v2 master br0; {rule}"))),
            |host| {
                host.must(&format!("ip link set v2 nomaster; nft flush ruleset; {table}"));
            },
        )
    });
    stage.control("rules that are taken out before others are put in", |_| {
        let change = format!("nft flush chain inet weak out; {rule}");
        weak_host(&format!("{table}; {rule}"), |host| drop(host.must(&change)), |_| {})
    });
    stage.control("rules that go with their server", |_| {
        weak_host(
            &format!("{table}; {rule}"),
            |host| {
                host.must(&format!("nft delete table inet weak; {table}; {rule}"));
            },
            |_| {},
        )
    });
}

/// A program sends through a weak host while that changes its rules, again and again until something has arrived.
fn weak_host(first: &str, change: impl Fn(&Namespace), back: impl Fn(&Namespace)) -> Verdict {
    let weak = Weak::new();
    let sniffer = Sniffer::open(weak.host.outside.pid(), "down0");
    let host = &weak.host.inside;
    host.must(first);
    back(host);
    let (word, sink) = (Word::fresh(), DENIED.to_string());
    let time = CHANCES.as_millis().to_string();
    let mut command = Namespace::command_in(weak.attacker_pid(), &path_text(&probe()));
    command.args(&beacon(&sink, &word, &time)[1..]).stdout(Stdio::null());
    let mut sender = command.spawn().unwrap();
    let arrived = eventually(CHANCES, || {
        change(host);
        back(host);
        Some(sniffer.count(&word)).filter(|count| *count > 0)
    });
    // It may have ended by itself.
    let _ = sender.kill();
    sender.wait().unwrap();
    Verdict::held_unless(arrived.is_some(), || format!("{} packets arrived", arrived.unwrap_or(0)))
}
