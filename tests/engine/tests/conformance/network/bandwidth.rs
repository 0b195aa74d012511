//! Limits of what containers send and receive.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::time::{Duration, Instant};

use gdn_types::{BandwidthChange, BandwidthLimits, Handle, LimitChange};

use super::*;

const RATE: &str = "512K";
const MIB: usize = 1 << 20;
/// What a mebibyte takes at least at that rate: a burst goes at once, and the clock of the kernel is not the test's.
const LIMITED: Duration = Duration::from_secs(1);
/// So much would take two minutes and more at that rate, and what waits for it gives up long before.
const MUCH: usize = 64 * MIB;

impl Bed {
    /// How long a container takes to send bytes to the outside.
    fn sends(&self, handle: &str, bytes: usize) -> Duration {
        let script = format!("head -c {bytes} /dev/zero | nc 192.0.2.1 9000");
        self.transfer(handle, &script, |listener| {
            let (mut stream, _) = listener.accept().unwrap();
            assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), bytes);
        })
    }

    /// How long it takes to receive them from there.
    fn receives(&self, handle: &str, bytes: usize) -> Duration {
        let script = format!("test $(nc 192.0.2.1 9000 < /dev/null | wc -c) = {bytes}");
        self.transfer(handle, &script, |listener| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&vec![0; bytes]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        })
    }

    fn transfer(&self, handle: &str, script: &str, serve: impl FnOnce(&TcpListener) + Send) -> Duration {
        let listener = self.host.outside.within(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9000)).unwrap());
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&listener));
            self.engine.shell(handle, script).expect_status(0);
        });
        begun.elapsed()
    }

    #[track_caller]
    fn expect_limited(&self, handle: &str) {
        let (sent, received) = (self.sends(handle, MIB), self.receives(handle, MIB));
        assert!(sent > LIMITED && received > LIMITED, "sent in {sent:?}, received in {received:?}");
    }

    fn limits(&self, handle: &str) -> BandwidthLimits {
        let handle = Handle::parse(handle).unwrap();
        self.engine.with_client(async |client| client.limits(&handle).await.unwrap().bandwidth)
    }

    /// The intermediate links that there are.
    fn intermediate_links(&self) -> usize {
        self.host.inside.must("ip -o link show type ifb").lines().count()
    }
}

/// Both directions, read back, over a kill of the server, changed in use, and taken away again.
///
/// Conformance: G30
#[test]
fn what_a_container_sends_and_receives_is_limited_for_as_long_as_it_is_asked() {
    let mut bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "slow", "--network-rate", RATE, "--network-burst", "32K"]);
    bed.engine.create(&["--handle", "free"]);
    let limits = BandwidthLimits { rate: 512 << 10, burst: 32 << 10 };
    assert_eq!((bed.limits("slow"), bed.limits("free")), (limits, BandwidthLimits::default()));
    assert_eq!(bed.intermediate_links(), 1, "who has no limit has no link for it");
    bed.expect_limited("slow");
    bed.sends("free", MUCH);
    bed.receives("free", MUCH);

    // Somebody takes the limits away while no server runs: the next puts them back.
    let link =
        bed.engine.inspect("slow")["properties"]["garden.network.interface"].as_str().unwrap().to_owned();
    bed.engine.kill_server();
    bed.host.inside.must(&format!(
        "tc qdisc del dev {link} root; tc qdisc del dev {link} ingress; ip link del i{}",
        &link[1..]
    ));
    bed.serve();
    assert_eq!(bed.limits("slow"), limits);
    bed.expect_limited("slow");

    bed.engine.gdn(["update", "free", "--network-rate", RATE]).expect_status(0);
    bed.expect_limited("free");
    let shown = bed.engine.gdn(["update", "slow", "--network-rate", "0"]).expect_status(0).text();
    assert!(shown.contains("network") && !shown.contains("512.0 KiB a second"), "{shown}");
    bed.sends("slow", MUCH);
    bed.receives("slow", MUCH);
    assert_eq!(bed.limits("slow"), BandwidthLimits::default());
    assert_eq!(bed.intermediate_links(), 1);
    bed.restart();
    assert_eq!((bed.limits("slow").rate, bed.limits("free").rate), (0, 512 << 10));
    bed.engine.gdn(["destroy", "free"]).expect_status(0);
    until("the link of the limit to be gone", || bed.intermediate_links() == 0);
    bed.finish();
}

/// Whatever root of a container does with its link, what gets through is limited.
#[test]
fn a_container_cannot_take_its_limits_away() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "slow", "--privileged", "--network-rate", RATE]);
    let attempts = "ip link; for end in root ingress; do tc qdisc del dev eth0 $end; done; \
                    ip link set eth0 txqueuelen 100000; ip link set eth0 mtu 9000; ip link set eth0 mtu 1500; true";
    let shown = bed.engine.shell("slow", attempts).text();
    assert!(shown.contains("eth0") && !shown.contains("ifb"), "{shown}");
    bed.expect_limited("slow");
    bed.finish();
}

/// Where there is no network there is nothing to limit, which is said; and a change that is refused changes nothing.
#[test]
fn limits_that_cannot_be_are_refused() {
    let bed = Bed::start(&[]);
    let refused =
        bed.engine.gdn(["create", "--image", bed.engine.image(), "--network", "none", "--network-rate", "7"]);
    assert!(refused.stderr.contains("a rate of 7 bytes a second"), "{}", refused.stderr);
    let refused = bed.engine.gdn(["create", "--image", bed.engine.image(), "--network-burst", "7K"]);
    refused.expect_error("--network-rate");
    bed.engine.create(&["--handle", "none", "--network", "none"]);
    bed.engine.gdn(["update", "none", "--network-rate", "7"]).expect_error("no network");
    bed.engine.gdn(["update", "none", "--network-rate", "0"]).expect_status(0);

    bed.engine.create(&["--handle", "one"]);
    bed.engine.shell("one", "dd if=/dev/zero of=/dev/shm/x bs=1M count=20").expect_status(0);
    let one = Handle::parse("one").unwrap();
    let change = LimitChange {
        memory_bytes: Some(8 << 20),
        bandwidth: BandwidthChange { rate: Some(1 << 20), burst: None },
        ..LimitChange::default()
    };
    let error = bed.engine.with_client(async |client| client.change_limits(&one, change).await.unwrap_err());
    assert!(error.report().contains("8388608"), "{}", error.report());
    assert_eq!((bed.limits("one"), bed.intermediate_links()), (BandwidthLimits::default(), 0));
    bed.finish();
}
