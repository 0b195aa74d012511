//! A server that is killed in the middle of network work: what clients were told is so, nobody has what another one has, and
//! nothing is lost from the pools.
//!
//! Some rounds by default; `GDN_NETWORK_ROUNDS=100` makes so many, `GDN_SEED` repeats a run's choices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine_tests::host::Namespace;
use gdn_client::Client;
use gdn_types::{
    BandwidthLimits, ContainerSpec, Egress, Error, ErrorKind, Handle, ImageRef, Limits, NetIn, NetOutRule,
    NetworkMode, PortRange, Protocol, Result, Transport,
};
use serde_json::Value;

use super::*;

const ROUNDS: u64 = 8;
/// Clients at work at the same time.
const WORKERS: u64 = 4;
/// Ports of what is outside; the first is open to every container from its create on.
const OUTSIDE: [u16; 4] = [80, 81, 82, 83];
/// A network that some containers name, beside the pool.
const NAMED: &str = "10.9.0.0/24";
/// Host ports that clients name, so few that they are in each other's way; those that are handed out come behind.
const NAMED_PORTS: (u16, u64) = (7000, 24);
const FIRST_OF_THE_POOL: u16 = 61001;
/// Containers that are looked at closely after each kill.
const PROBED: usize = 3;

/// A protocol, a port of the host and one of the container.
type Port = (String, u16, u16);

/// What a client knows of its container.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Whether the create and the destroy were acknowledged, and whether the destroy was asked for.
    created: bool,
    leaving: bool,
    destroyed: bool,
    /// Ports that were acknowledged.
    ports: BTreeSet<Port>,
    /// Ports of what is outside that it reaches for certain; absent while a change of them is not acknowledged.
    open: Option<BTreeSet<u16>>,
}

#[derive(Clone, Default)]
struct Ledger {
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    acknowledged: Arc<AtomicU64>,
}

impl Ledger {
    fn note(&self, handle: &Handle, change: impl FnOnce(&mut Known)) {
        change(self.known.lock().unwrap().entry(handle.to_string()).or_default());
    }

    fn acknowledge(&self, handle: &Handle, change: impl FnOnce(&mut Known)) {
        self.note(handle, change);
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    fn of(&self, handle: &str) -> Known {
        self.known.lock().unwrap()[handle].clone()
    }
}

/// A small generator (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn rule(port: u16) -> NetOutRule {
    let ports = vec![PortRange { start: port, end: port }];
    NetOutRule { protocol: Protocol::Tcp, ports, ..NetOutRule::default() }
}

/// One client: containers that come, change and go, until the server is gone.
struct Worker {
    client: Client,
    image: String,
    ledger: Ledger,
    name: String,
    random: Random,
}

impl Worker {
    async fn work(mut self) {
        for number in 0.. {
            let handle = Handle::parse(&format!("{}-{number}", self.name)).unwrap();
            if let Err(error) = self.one(&handle).await {
                return expect_lost_connection(&error);
            }
        }
    }

    async fn one(&mut self, handle: &Handle) -> Result<()> {
        let Worker { client, ledger, random, .. } = self;
        let mut spec = ContainerSpec {
            handle: Some(handle.clone()),
            image: ImageRef::uri(&self.image),
            netin: vec![NetIn { container_port: 80, ..NetIn::default() }],
            netout: vec![rule(OUTSIDE[0])],
            egress: Some(Egress::Deny),
            ..ContainerSpec::default()
        };
        if random.below(3) == 0 {
            let bandwidth = BandwidthLimits { rate: 10 << 20, burst: 0 };
            spec.limits = Limits { bandwidth, ..Limits::default() };
        }
        if random.below(3) == 0 {
            spec.network = NetworkMode::Pool(NAMED.to_owned());
        }
        ledger.note(handle, |_| {});
        client.create(spec).await?;
        let first = client.info(handle).await?.mapped_ports[0];
        let first = ("tcp".to_owned(), first.host_port, first.container_port);
        ledger.acknowledge(handle, |known| {
            known.created = true;
            known.ports.insert(first);
            known.open = Some(BTreeSet::from([OUTSIDE[0]]));
        });
        for _ in 0..random.below(6) {
            let port = OUTSIDE[random.below(4) as usize];
            if random.below(3) == 0 {
                let host_port = match random.below(2) {
                    0 => 0,
                    _ => NAMED_PORTS.0 + random.below(NAMED_PORTS.1) as u16,
                };
                let transport = if random.below(3) == 0 { Transport::Udp } else { Transport::Tcp };
                match client.net_in(handle, NetIn { host_port, container_port: 80, transport }).await {
                    Ok(NetIn { host_port, container_port, transport }) => {
                        let mapped = (transport.name().to_owned(), host_port, container_port);
                        ledger.acknowledge(handle, |known| {
                            known.ports.insert(mapped);
                        });
                    }
                    // Somebody has the port that was named.
                    Err(error) if host_port != 0 && error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
                continue;
            }
            let mut open = ledger.of(handle.as_str()).open.expect("every change is acknowledged by now");
            ledger.note(handle, |known| known.open = None);
            if random.below(2) == 0 {
                client.net_out(handle, &[rule(port)]).await?;
            } else {
                client.net_replace(handle, &[rule(port)], None).await?;
                open.clear();
            }
            open.insert(port);
            ledger.acknowledge(handle, |known| known.open = Some(open));
        }
        if random.below(2) == 0 {
            ledger.note(handle, |known| known.leaving = true);
            client.destroy(handle).await?;
            ledger.acknowledge(handle, |known| known.destroyed = true);
        }
        Ok(())
    }
}

fn expect_lost_connection(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
}

impl Bed {
    /// Lets clients work, kills the server at some moment, and starts another.
    fn kill_at_work(&mut self, random: &mut Random, ledger: &Ledger, round: u64) {
        let before = ledger.acknowledged.load(Ordering::SeqCst);
        let (acks, extra) = (before + 1 + random.below(40), Duration::from_micros(random.below(8000)));
        println!("round {round}: killed {extra:?} after {} acknowledgements", acks - before);
        let seeds: Vec<u64> = (0..WORKERS).map(|_| random.below(u64::MAX) | 1).collect();
        let image = self.engine.image().to_owned();
        let workers: Vec<_> = self.engine.with_client(async |client| {
            let start = |(number, seed): (usize, u64)| {
                let worker = Worker {
                    client: client.clone(),
                    image: image.clone(),
                    ledger: ledger.clone(),
                    name: format!("r{round}-w{number}"),
                    random: Random(seed),
                };
                tokio::spawn(worker.work())
            };
            seeds.into_iter().enumerate().map(start).collect()
        });
        until("acknowledgements", || {
            ledger.acknowledged.load(Ordering::SeqCst) >= acks
                || workers.iter().all(|worker| worker.is_finished())
        });
        // Part of the random moment, not a wait for anything.
        std::thread::park_timeout(extra);
        self.engine.kill_server();
        if random.below(2) == 0 {
            // The next one does not come to its end either.
            self.begin();
            std::thread::park_timeout(Duration::from_micros(random.below(200_000)));
            self.engine.kill_server();
        }
        self.serve();
        self.engine.with_client(async |_| {
            for worker in workers {
                worker.await.unwrap();
            }
        });
    }

    /// What was acknowledged is so, and what is told agrees with itself and with the pools.
    fn expect_in_order(&self, ledger: &Ledger) -> Vec<String> {
        let standing: Vec<String> =
            self.engine.gdn(["list", "-q"]).expect_status(0).text().lines().map(str::to_owned).collect();
        until("everything half done to be gone", || {
            self.engine.handles().iter().all(|handle| standing.contains(handle))
        });
        for (handle, known) in ledger.known.lock().unwrap().iter() {
            let stands = standing.contains(handle);
            assert!(stands || !known.created || known.leaving, "{handle} was acknowledged: {known:?}");
            assert!(!stands || !known.destroyed, "{handle} was acknowledged to be gone");
        }
        let mut held = BTreeSet::new();
        let mut wanted = [0, standing.len() as u64, 0, 0];
        for handle in &standing {
            let (told, known) = (self.engine.inspect(handle), ledger.of(handle));
            let shown = self.engine.gdn(["--format", "json", "net", "show", handle]).expect_status(0).text();
            let shown: Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(told["mapped_ports"], shown["ports"]);
            for key in ["container_ip", "container_ipv6"] {
                assert_eq!(told[key], shown[key]);
                assert!(held.insert(told[key].to_string()), "{} is held twice: {told}", told[key]);
            }
            let mapped = ports_of(&shown);
            wanted[0] += u64::from(told["container_ip"].as_str().unwrap().starts_with("10.254."));
            for (protocol, port, _) in &mapped {
                assert!(held.insert(format!("{protocol} {port}")), "{protocol} {port} is held twice: {told}");
                let pool = if protocol == "tcp" { 2 } else { 3 };
                wanted[pool] += u64::from(*port >= FIRST_OF_THE_POOL);
            }
            assert!(known.ports.is_subset(&mapped), "{handle}: {known:?} {shown}");
            if let Some(open) = known.open {
                assert_eq!(allowed(&shown), open, "{handle}: {shown}");
            }
        }
        until("the pools to be what is in use", || self.engine.in_use() == wanted);
        let table = self.host.inside.must("nft list ruleset");
        let named = table.split("comment \"").skip(1).filter_map(|rest| rest.split('"').next());
        let named: BTreeSet<&str> =
            named.filter(|name| ledger.known.lock().unwrap().contains_key(*name)).collect();
        let wanted: BTreeSet<&str> = standing.iter().map(String::as_str).collect();
        assert_eq!(named, wanted, "whose rules there are: {table}");
        standing
    }

    /// What is told of a container's network is what its processes and those outside find.
    fn probe(&self, handle: &str) {
        let shown = self.engine.gdn(["--format", "json", "net", "show", handle]).expect_status(0).text();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let allowed = allowed(&shown);
        for port in OUTSIDE {
            let is_open = allowed.contains(&port);
            assert_eq!(self.reaches(handle, "192.0.2.1", port), is_open, "{handle} {port}: {shown}");
        }
        assert!(self.reaches(handle, "2001:db8::1", *allowed.first().unwrap()), "{handle}: {shown}");
        let greeting = format!("I am {handle}");
        let greeter = self.engine.begin(["exec", handle, "nc", "-ll", "-p", "80", "-e", "echo", &greeting]);
        for (_, port, _) in ports_of(&shown).into_iter().filter(|(protocol, ..)| protocol == "tcp") {
            until(&format!("port {port} to lead to {handle}"), || {
                greeted(&self.host.outside, port).contains(&greeting)
            });
        }
        drop(greeter);
    }
}

/// What a port of the host says to who connects from outside.
fn greeted(outside: &Namespace, port: u16) -> String {
    let said = outside.shell(&format!("busybox nc -w 1 192.0.2.2 {port} < /dev/null"));
    String::from_utf8_lossy(&said.stdout).into_owned()
}

fn ports_of(shown: &Value) -> BTreeSet<Port> {
    let number = |port: &Value, key: &str| u16::try_from(port[key].as_u64().unwrap()).unwrap();
    let ports = shown["ports"].as_array().unwrap().iter();
    let protocol = |port: &Value| port["protocol"].as_str().unwrap().to_owned();
    ports.map(|port| (protocol(port), number(port, "host_port"), number(port, "container_port"))).collect()
}

/// The ports that rules of the test's kind allow.
fn allowed(shown: &Value) -> BTreeSet<u16> {
    let rules = shown["rules"].as_array().unwrap().iter();
    rules.map(|rule| rule.as_str().unwrap().strip_prefix("tcp,ports=").unwrap().parse().unwrap()).collect()
}

#[test]
fn a_server_killed_at_network_work_loses_and_doubles_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let seed = number("GDN_SEED").unwrap_or_else(|| u64::try_from(clock).unwrap() | 1);
    println!("GDN_SEED={seed}");
    let mut random = Random(seed);
    let mut bed = Bed::start(&[]);
    let _listeners = OUTSIDE.map(|port| bed.host.outside.listen(port));
    let ledger = Ledger::default();
    for round in 0..number("GDN_NETWORK_ROUNDS").unwrap_or(ROUNDS) {
        bed.kill_at_work(&mut random, &ledger, round);
        let standing = bed.expect_in_order(&ledger);
        // The youngest are those that a kill may have met.
        for handle in standing.iter().rev().take(PROBED) {
            bed.probe(handle);
        }
        if standing.len() > 16 || random.below(3) == 0 {
            ledger.known.lock().unwrap().values_mut().for_each(|known| known.leaving = true);
            let words = ["destroy"].into_iter().chain(standing.iter().map(String::as_str));
            if !standing.is_empty() {
                bed.engine.gdn(words).expect_status(0);
            }
            bed.expect_in_order(&ledger);
        }
    }
    let standing = bed.engine.handles();
    if !standing.is_empty() {
        bed.engine.gdn(["destroy"].into_iter().chain(standing.iter().map(String::as_str))).expect_status(0);
    }
    until("the pools to be whole", || bed.engine.in_use() == [0; 4]);
    bed.finish();
}
