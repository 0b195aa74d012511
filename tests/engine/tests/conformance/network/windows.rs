//! No moment without rules: what is denied never arrives, whatever happens meanwhile; and what is established goes on.
//!
//! Each test does little by default; `GDN_NETWORK_ROUNDS` says how often it does what it does (the issue asks for 200 creates,
//! 200 changes, 50 restarts and 50 flushes).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use engine_tests::host::Namespace;

use super::*;

/// Where packets are sent that must not arrive.
const SINK: &str = "192.0.2.1";
const SINK_PORT: u16 = 9999;

/// Sends datagrams (questions for a name) every few milliseconds until it is killed.
const SENDER: &str = "while :; do timeout 1 nslookup x 192.0.2.1:9999 > /dev/null 2>&1 & usleep 20000; done";

fn rounds(usual: usize) -> usize {
    std::env::var("GDN_NETWORK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Counts the datagrams that arrive in a namespace.
struct Sink {
    count: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Sink {
    fn open(namespace: &Namespace) -> Self {
        let socket = namespace.within(|| UdpSocket::bind((SINK, SINK_PORT)).unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (count, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, told) = (count.clone(), over.clone());
        let reader = std::thread::spawn(move || {
            let mut packet = [0; 2048];
            while !told.load(Ordering::Relaxed) {
                if socket.recv(&mut packet).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Sink { count, over, reader: Some(reader) }
    }

    fn arrived(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// S6.05: the first thing that runs in a container sends to a denied sink.
#[test]
fn no_packet_gets_out_while_containers_are_made() {
    let bed = Bed::start(&["--deny-network", "192.0.2.1"]);
    let sink = Sink::open(&bed.host.outside);
    let once =
        "for n in 1 2 3 4 5; do timeout 1 nslookup x 192.0.2.1:9999 > /dev/null 2>&1 & done; usleep 100000";
    for _ in 0..rounds(6) {
        bed.engine.gdn(["run", "--image", bed.engine.image(), "--", "sh", "-c", once]).expect_status(0);
    }
    assert_eq!(sink.arrived(), 0);
    // The positive control: with a rule the same packets arrive.
    let allowed =
        ["run", "--allow", "udp,to=192.0.2.1", "--image", bed.engine.image(), "--", "sh", "-c", once];
    bed.engine.gdn(allowed).expect_status(0);
    until("packets to arrive", || sink.arrived() > 0);
    bed.finish();
}

/// S6.05: rules are added and replaced, the server is stopped and killed, others flush, while a container sends all the time.
#[test]
fn no_packet_gets_out_while_rules_change_servers_restart_and_others_flush() {
    let mut bed = Bed::start(&["--deny-network", "192.0.2.1"]);
    let sink = Sink::open(&bed.host.outside);
    bed.engine.create(&["--handle", "one"]);
    // It goes on when the server and its client are gone.
    let _sender = bed.engine.begin(["exec", "one", "sh", "-c", SENDER]);
    for round in 0..rounds(8) {
        let port = format!("tcp,to=192.0.2.1,ports={}", round + 1);
        bed.engine.gdn(["net", "out", "one", &port]).expect_status(0);
        bed.engine.gdn(["net", "replace", "one", &port, "icmp"]).expect_status(0);
        bed.host.inside.must("nft flush ruleset");
        if round % 4 == 0 {
            bed.restart();
        }
        if round % 4 == 2 {
            bed.engine.stop_server();
            bed.serve();
        }
    }
    assert_eq!(sink.arrived(), 0);
    bed.engine.gdn(["net", "out", "one", "udp,to=192.0.2.1"]).expect_status(0);
    until("packets to arrive once they are allowed", || sink.arrived() > 0);
    bed.engine.gdn(["net", "replace", "one"]).expect_status(0);
    let so_far = sink.arrived();
    bed.engine.gdn(["exec", "one", "sleep", "1"]).expect_status(0);
    // What was on its way when the answer came may still have arrived.
    assert!(sink.arrived() - so_far < 64, "what was allowed goes on: {} more", sink.arrived() - so_far);
    bed.finish();
}

/// Streams through a mapped port go on while servers stop, are killed and start.
#[test]
fn established_streams_outlive_servers() {
    let mut bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "web", "--publish", "8080:80"]);
    let _echo = bed.engine.begin(["exec", "web", "nc", "-ll", "-p", "80", "-e", "cat"]);
    until("the echo to listen", || bed.engine.shell("web", "netstat -ltn").text().contains(":80 "));
    let mut streams: Vec<(TcpStream, BufReader<TcpStream>)> = ["192.0.2.2", "2001:db8::2"]
        .into_iter()
        .map(|address| {
            let address = SocketAddr::new(address.parse().unwrap(), 8080);
            let stream = bed.host.outside.within(|| TcpStream::connect(address).unwrap());
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            (stream.try_clone().unwrap(), BufReader::new(stream))
        })
        .collect();
    let mut talk = |what: &str| {
        for (writer, reader) in &mut streams {
            writeln!(writer, "{what}").unwrap();
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line.trim_end(), what);
        }
    };
    talk("begin");
    for round in 0..rounds(4) {
        if round % 2 == 0 {
            bed.engine.kill_server();
        } else {
            bed.engine.stop_server();
        }
        talk(&format!("without a server {round}"));
        bed.serve();
        talk(&format!("with the next {round}"));
    }
    drop(streams);
    bed.finish();
}

/// Many at once: nobody gets an address or a port twice, and afterwards the pools are whole.
#[test]
fn of_many_creates_at_once_each_has_an_address_and_a_port_of_its_own() {
    const AT_ONCE: usize = 24;
    let mut bed = Bed::start_with(&[
        "--network-pool",
        "10.254.0.0/25",
        "--port-pool-start",
        "7001",
        "--port-pool-size",
        "32",
    ]);
    for round in 0..rounds(2) {
        let begun: Vec<Gdn> = (0..AT_ONCE)
            .map(|number| {
                let handle = format!("c{number}");
                bed.engine.begin([
                    "create",
                    "--handle",
                    &handle,
                    "--image",
                    bed.engine.image(),
                    "--publish",
                    "80",
                ])
            })
            .collect();
        for create in begun {
            create.finish().expect_status(0);
        }
        let (mut addresses, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..AT_ONCE {
            let told = bed.engine.inspect(&format!("c{number}"));
            assert!(addresses.insert(told["container_ip"].as_str().unwrap().to_owned()), "{told}");
            assert!(ports.insert(told["mapped_ports"][0]["host_port"].as_u64().unwrap()), "{told}");
        }
        if round % 2 == 1 {
            bed.restart();
        }
        let handles: Vec<String> = (0..AT_ONCE).map(|number| format!("c{number}")).collect();
        let words = ["destroy"].into_iter().chain(handles.iter().map(String::as_str));
        bed.engine.gdn(words).expect_status(0);
    }
    // All 32 subnets and all 32 ports are there again.
    let all: Vec<Gdn> = (0..32)
        .map(|_| bed.engine.begin(["create", "--image", bed.engine.image(), "--publish", "80"]))
        .collect();
    all.into_iter().for_each(|create| drop(create.finish().expect_status(0)));
    let full = bed.engine.gdn(["create", "--image", bed.engine.image()]);
    assert!(full.stderr.contains("insufficient subnets"), "{}", full.stderr);
    bed.finish();
}
