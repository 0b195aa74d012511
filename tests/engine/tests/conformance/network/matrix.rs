//! S6.04: every kind of rule, of both families, before and after a restart: exactly what it allows is reached.
//!
//! By default every fifth case; `GDN_NETWORK_MATRIX=all` for all 120.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use engine_tests::host::Namespace;

use super::*;

/// A rule, with a place that it leads to and places that it does not.
struct Case {
    rule: String,
    protocol: &'static str,
    address: &'static str,
    port: u16,
    elsewhere: Vec<(&'static str, &'static str, u16)>,
}

/// Addresses of the outside: one that rules name, one beside it.
const V4: (&str, &str) = ("192.0.2.1", "192.0.2.7");
const V6: (&str, &str) = ("2001:db8::1", "2001:db8::7");
const OPEN: u16 = 4000;
const SHUT: u16 = 5000;

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (address, beside) in [V4, V6] {
        let networks = match address {
            "192.0.2.1" => ["192.0.2.1", "192.0.2.0-192.0.2.3", "192.0.2.0/30"],
            _ => ["2001:db8::1", "2001:db8::-2001:db8::3", "2001:db8::/126"],
        };
        for network in networks {
            for log in ["", ",log"] {
                for protocol in ["tcp", "udp"] {
                    let other = if protocol == "tcp" { "udp" } else { "tcp" };
                    for ports in [",ports=4000", ",ports=3999-4001", ",ports=4000,ports=6000-6001", ""] {
                        let mut elsewhere = vec![(protocol, beside, OPEN), (other, address, OPEN)];
                        if !ports.is_empty() {
                            elsewhere.push((protocol, address, SHUT));
                        }
                        let rule = format!("{protocol},to={network}{ports}{log}");
                        cases.push(Case { rule, protocol, address, port: OPEN, elsewhere });
                    }
                }
                let icmp = if address == V4.0 { "icmp" } else { "icmpv6" };
                let echo = if address == V4.0 { ",type=8" } else { ",type=128" };
                cases.push(Case {
                    rule: format!("{icmp},to={network}{echo}{log}"),
                    protocol: "ping",
                    address,
                    port: 0,
                    elsewhere: vec![("ping", beside, 0), ("tcp", address, OPEN)],
                });
                cases.push(Case {
                    rule: format!("all,to={network}{log}"),
                    protocol: "tcp",
                    address,
                    port: SHUT,
                    elsewhere: vec![("tcp", beside, OPEN), ("ping", beside, 0)],
                });
            }
        }
    }
    cases
}

/// Notes the datagrams that arrive on both ports of every address.
struct Sink {
    over: Arc<AtomicBool>,
    arrived: Arc<Mutex<Vec<Vec<u8>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sink {
    fn open(namespace: &Namespace) -> Self {
        let (over, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let threads = [V4.0, V4.1, V6.0, V6.1]
            .into_iter()
            .flat_map(|address| [OPEN, SHUT].map(|port| (address, port)))
            .map(|(address, port)| {
                let socket = namespace.within(|| UdpSocket::bind((address, port)).unwrap());
                socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                let (over, arrived) = (over.clone(), arrived.clone());
                std::thread::spawn(move || {
                    let mut packet = [0; 512];
                    while !over.load(Ordering::Relaxed) {
                        if let Ok(bytes) = socket.recv(&mut packet) {
                            arrived.lock().unwrap().push(packet[..bytes].to_vec());
                        }
                    }
                })
            })
            .collect();
        Sink { over, arrived, threads }
    }

    /// Whether a datagram with a word in it has arrived.
    fn has(&self, word: &str) -> bool {
        let arrived = self.arrived.lock().unwrap();
        arrived.iter().any(|packet| packet.windows(word.len()).any(|part| part == word.as_bytes()))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn reached(bed: &Bed, sink: &Sink, handle: &str, (protocol, address, port): (&str, &str, u16)) -> bool {
    match protocol {
        "ping" => bed.pings(handle, address),
        "tcp" => bed.reaches(handle, address, port),
        _ => {
            // A question for a name of its own, which is found in the datagram.
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let word = format!("word{:06}", NEXT.fetch_add(1, Ordering::Relaxed));
            let server = if address.contains(':') {
                format!("[{address}]:{port}")
            } else {
                format!("{address}:{port}")
            };
            bed.engine.shell(handle, &format!("timeout 1 nslookup {word} {server}"));
            sink.has(&word)
        }
    }
}

fn check(bed: &Bed, sink: &Sink, handle: &str, case: &Case) {
    let Case { rule, protocol, address, port, elsewhere } = case;
    assert!(
        reached(bed, sink, handle, (protocol, address, *port)),
        "{rule} does not lead to {address} {port}"
    );
    for place in elsewhere {
        assert!(!reached(bed, sink, handle, *place), "{rule} leads to {place:?}");
    }
}

/// S6.04.
#[test]
fn every_kind_of_rule_opens_exactly_what_it_says_before_and_after_a_restart() {
    let mut bed = Bed::start(&["--default-egress", "deny"]);
    bed.host.outside.must("ip -6 addr add 2001:db8::7/64 dev down0 nodad");
    let _listeners = [OPEN, SHUT].map(|port| bed.host.outside.listen(port));
    let sink = Sink::open(&bed.host.outside);
    let all = cases();
    assert_eq!(all.len(), 120);
    let step = if std::env::var_os("GDN_NETWORK_MATRIX").is_some() { 1 } else { 5 };
    let chosen: Vec<(String, &Case)> =
        all.iter().step_by(step).enumerate().map(|(number, case)| (format!("c{number}"), case)).collect();
    for (number, (handle, case)) in chosen.iter().enumerate() {
        // Half of the rules come with the create, half later.
        if number % 2 == 0 {
            bed.engine.create(&["--handle", handle, "--allow", &case.rule]);
        } else {
            bed.engine.create(&["--handle", handle]);
            bed.engine.gdn(["net", "out", handle, &case.rule]).expect_status(0);
        }
    }
    let check_all = |bed: &Bed| {
        std::thread::scope(|scope| {
            for part in 0..4 {
                let (chosen, sink) = (&chosen, &sink);
                scope.spawn(move || {
                    for (handle, case) in chosen.iter().skip(part).step_by(4) {
                        check(bed, sink, handle, case);
                    }
                });
            }
        });
    };
    check_all(&bed);
    bed.restart();
    check_all(&bed);
    bed.finish();
}
