//! The network of containers, on a host of the test's own: rows of the groups networking, net, port_pool and restart.

use std::process::Command;

use engine_tests::host::{GREETING, Host};
use engine_tests::{Engine, Gdn, until};

mod bandwidth;
mod counters;
mod cycles;
mod egress;
mod kills;
mod logs;
mod mapped_ports;
mod neighbours;
mod orphans;
mod plugin;
mod restarts;
mod spoofing;
mod strangers;
mod streams;
mod tables;

const POOL: &str = "10.254.0.0/22";
const POOL6: &str = "fd00:77::/48";

/// An engine on a host with an outside.
struct Bed {
    // Dropped first: what a failed test leaves is swept in the host's namespace.
    engine: Engine,
    host: Host,
    options: Vec<String>,
}

impl Bed {
    /// An engine that gives containers addresses of both families.
    fn start(options: &[&str]) -> Self {
        let fixed = ["--network-pool", POOL, "--network-pool6", POOL6];
        Bed::start_with(&[&fixed[..], options].concat())
    }

    fn start_with(options: &[&str]) -> Self {
        let mut bed = Bed {
            host: Host::new(),
            engine: Engine::new(),
            options: options.iter().map(ToString::to_string).collect(),
        };
        bed.serve();
        bed
    }

    fn serve(&mut self) {
        self.begin();
        self.engine.wait_for_server();
    }

    /// Starts the server and leaves it to itself.
    fn begin(&mut self) {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        self.engine.begin_server_in(&self.host.inside, &options);
    }

    /// Kills the server and starts another.
    fn restart(&mut self) {
        self.engine.kill_server();
        self.serve();
    }

    /// The container's addresses of both families.
    fn addresses(&self, handle: &str) -> (String, String) {
        let told = self.engine.inspect(handle);
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        (text("container_ip"), text("container_ipv6"))
    }

    /// Whether a process of the container reaches a listener.
    fn reaches(&self, handle: &str, address: &str, port: u16) -> bool {
        let port = port.to_string();
        let outcome = self.engine.gdn(["exec", handle, "nc", "-w", "1", address, &port]);
        outcome.text().contains(GREETING)
    }

    /// Whether a process of the container gets an answer to a ping.
    fn pings(&self, handle: &str, address: &str) -> bool {
        self.engine.gdn(["exec", handle, "ping", "-c", "1", "-W", "1", address]).status == 0
    }

    /// A process of the container that greets whoever connects to a port.
    fn greeter(&self, handle: &str, port: u16) -> Gdn {
        let port = port.to_string();
        let greeter = self.engine.begin(["exec", handle, "nc", "-ll", "-p", &port, "-e", "echo", GREETING]);
        until("the greeter to listen", || {
            self.engine.gdn(["exec", handle, "netstat", "-ltn"]).text().contains(&format!(":{port} "))
        });
        greeter
    }

    /// Destroys every container; then nothing of them is left, in the host's namespace neither.
    fn finish(mut self) {
        if !self.engine.server_runs() {
            self.engine.wait_for_server_to_be_killed();
            self.serve();
        }
        let handles = self.engine.handles();
        if !handles.is_empty() {
            let words = ["destroy"].into_iter().chain(handles.iter().map(String::as_str));
            self.engine.gdn(words).expect_status(0);
        }
        until("the links to be gone", || self.links().is_empty());
        self.engine.stop_server();
        self.engine.expect_nothing_left();
        assert_eq!(self.host.inside.must("nft list tables"), "");
    }

    /// The host's ends of containers' links, and what limits them.
    fn links(&self) -> Vec<String> {
        let told = self.host.inside.must("ip -o link show type veth; ip -o link show type ifb");
        let names = told.lines().filter_map(|line| line.split(": ").nth(1));
        names.filter(|name| !name.starts_with("up")).map(str::to_owned).collect()
    }
}

/// Q211, Q212, Q214, Q221 to Q225: loopback, an address, both reachable from the host, the gateway answers.
///
/// Conformance: Q211-212, Q214, Q221-225
#[test]
fn containers_have_addresses_and_reach_their_gateway_and_each_other() {
    let bed = Bed::start(&[]);
    for (handle, address) in [("one", "10.254.0.2"), ("two", "10.254.0.6")] {
        bed.engine.create(&["--handle", handle]);
        assert_eq!(bed.addresses(handle).0, address);
        bed.host.inside.must(&format!("busybox ping -c 1 -W 2 {address}"));
        bed.host.inside.must(&format!("busybox ping -6 -c 1 -W 2 {}", bed.addresses(handle).1));
        let links = bed.engine.shell(handle, "ip -o addr show lo; ip -o addr show eth0").text();
        assert!(links.contains("127.0.0.1/8") && links.contains(&format!("{address}/32")), "{links}");
    }
    assert!(bed.pings("one", "10.254.0.1") && bed.pings("one", "fd00:77::1"));
    assert!(bed.pings("one", "10.254.0.6") && bed.pings("two", "10.254.0.2"));
    assert!(bed.pings("two", "192.0.2.1") && bed.pings("two", "2001:db8::1"), "what is outside is reached");
    // The host itself is not.
    assert!(!bed.pings("one", "192.0.2.2"));
    bed.finish();
}

/// Q213, Q167, G133, G134: networks that clients name, shared and used again.
///
/// Conformance: G133-134, Q167, Q213
#[test]
fn clients_name_networks_and_share_them() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "short", "--network", "10.252.0.2"]);
    let told = bed.engine.inspect("short");
    assert_eq!(
        (told["container_ip"].as_str(), told["host_ip"].as_str()),
        (Some("10.252.0.2"), Some("10.252.0.1"))
    );
    for (handle, network, address) in [
        ("one", "10.9.0.0/24", "10.9.0.2"),
        ("two", "10.9.0.0/24", "10.9.0.3"),
        ("seven", "10.9.0.7/24", "10.9.0.7"),
    ] {
        bed.engine.create(&["--handle", handle, "--network", network]);
        assert_eq!(bed.addresses(handle).0, address);
    }
    assert!(bed.pings("one", "10.9.0.7") && bed.pings("seven", "10.9.0.3"));
    bed.engine.gdn(["destroy", "two"]).expect_status(0);
    assert!(
        bed.pings("one", "10.9.0.7") && bed.pings("seven", "10.9.0.1"),
        "a neighbour's end disturbs nobody"
    );
    for (network, said) in [
        ("10.9.0.7/24", "the requested IP is already allocated"),
        ("10.9.0.1/24", "gateway"),
        ("10.9.0.0/16", "overlaps an existing subnet"),
        ("10.254.0.0/30", "overlaps the dynamic allocation range"),
        ("10.9.0.300", "10.9.0.300"),
        ("x; rm -rf /", "x; rm -rf /"),
    ] {
        let created = bed.engine.gdn(["create", "--image", bed.engine.image(), "--network", network]);
        assert!(created.status != 0 && created.stderr.contains(said), "{network}: {}", created.stderr);
    }
    bed.engine.gdn(["destroy", "one", "seven"]).expect_status(0);
    // An address is free when its link is gone and nothing is known of its connections, a moment after the destroy.
    until("the addresses to be handed out again", || {
        bed.engine.create(&["--handle", "again", "--network", "10.9.0.0/24"]);
        let first = bed.addresses("again").0 == "10.9.0.2";
        bed.engine.gdn(["destroy", "again"]).expect_status(0);
        first
    });
    bed.finish();
}

/// Q226, Q227 and the end of the pool: an address comes back when its last holder's namespace is gone.
///
/// Conformance: Q226-227
#[test]
fn addresses_are_handed_out_again_and_run_out_with_a_typed_error() {
    let bed = Bed::start_with(&["--network-pool", "10.254.0.0/29"]);
    bed.engine.create(&["--handle", "one"]);
    bed.engine.create(&["--handle", "two"]);
    let full = bed.engine.gdn(["create", "--image", bed.engine.image()]);
    assert!(full.stderr.contains("insufficient subnets remaining in the pool"), "{}", full.stderr);
    assert_eq!(bed.engine.handles().len(), 2);
    let told = bed.engine.gdn(["capacity"]).expect_status(0).text();
    assert!(told.contains("2 of 2 in use, refused calls: 1"), "{told}");
    let doctor = bed.engine.gdn(["doctor"]).expect_status(0).text();
    assert!(doctor.contains("subnets (2 of 2 in use, refused calls: 1)"), "{doctor}");
    for _ in 0..5 {
        bed.engine.gdn(["destroy", "two"]).expect_status(0);
        // It waits for the address, and does not fail.
        bed.engine.create(&["--handle", "two"]);
        assert_eq!(bed.addresses("two").0, "10.254.0.6");
        assert!(bed.pings("two", "10.254.0.5"));
    }
    bed.finish();
}

/// G124 to G129, Q215 to Q220, Q247, Q248: the files of names.
///
/// Conformance: G124-129, Q215-220, Q247-248
#[test]
fn names_are_in_files_that_root_may_write_and_users_may_not() {
    let bed = Bed::start(&[
        "--dns-server",
        "192.0.2.7",
        "--additional-dns-server",
        "2001:db8::7",
        "--additional-host-entry",
        "192.0.2.9 nine",
    ]);
    let long = format!("{}end", "h".repeat(252));
    for (handle, privileged) in [(long.as_str(), None), ("plain", Some("--privileged"))] {
        let options: Vec<&str> = ["--handle", handle].into_iter().chain(privileged).collect();
        bed.engine.create(&options);
        let (address, address6) = bed.addresses(handle);
        let name = &handle[handle.len().saturating_sub(49)..];
        let hosts = bed.engine.shell(handle, "cat /etc/hosts").text();
        assert_eq!(
            hosts,
            format!(
                "127.0.0.1 localhost\n::1 localhost\n{address} {name}\n{address6} {name}\n192.0.2.9 nine\n"
            )
        );
        let resolver = bed.engine.shell(handle, "cat /etc/resolv.conf").text();
        assert_eq!(resolver, "nameserver 192.0.2.7\nnameserver 2001:db8::7\n");
        bed.engine.shell(handle, "ping -c 1 -W 1 localhost").expect_status(0);
        bed.engine.shell(handle, &format!("ping -c 1 -W 1 {name}")).expect_status(0);
        bed.engine.shell(handle, "echo x >> /etc/hosts && echo x >> /etc/resolv.conf").expect_status(0);
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            let refused =
                bed.engine.gdn(["exec", "--user", "alice", handle, "sh", "-c", &format!("echo y >> {file}")]);
            assert!(
                refused.status == 1 && refused.stderr.contains("Permission denied"),
                "{}",
                refused.stderr
            );
        }
    }
    bed.finish();
}

/// Q241 to Q246: the largest packet.
///
/// Conformance: Q241-246
#[test]
fn the_largest_packet_is_the_uplinks_or_the_operators() {
    let mtu = |bed: &Bed, handle: &str| {
        bed.engine.create(&["--handle", handle]);
        let inside = bed.engine.shell(handle, "cat /sys/class/net/eth0/mtu").text().trim().to_owned();
        let outside =
            bed.host.inside.must(&format!("ip -o link show {}", bed.links()[0].split('@').next().unwrap()));
        assert!(outside.contains(&format!("mtu {inside} ")), "{outside}");
        inside
    };
    let bed = Bed::start(&["--mtu", "1400"]);
    assert_eq!(mtu(&bed, "given"), "1400");
    bed.finish();
    let bed = Bed::start(&[]);
    bed.host.inside.must("ip link set up0 mtu 1380");
    assert_eq!(mtu(&bed, "small"), "1380");
    bed.engine.gdn(["destroy", "small"]).expect_status(0);
    until("the link to be gone", || bed.links().is_empty());
    bed.host.inside.must("ip link set up0 mtu 9000");
    assert_eq!(mtu(&bed, "large"), "1500");
    bed.finish();

    // Not the link of the default route, but the one by whose address others know the host.
    let bed = Bed::start(&["--external-ip", "198.51.100.1"]);
    bed.host.inside.must(
        "ip link set up0 mtu 1400; ip link add up1 type veth peer name up2; ip link set up1 mtu 1300 up",
    );
    assert_eq!(mtu(&bed, "nowhere"), "1400");
    bed.host.inside.must("ip addr add 198.51.100.1/24 dev up1");
    for round in 0..2 {
        bed.engine.gdn(["destroy", if round == 0 { "nowhere" } else { "there" }]).expect_status(0);
        until("the link to be gone", || bed.links().is_empty());
        assert_eq!(mtu(&bed, "there"), "1300");
    }
    bed.finish();
}

/// A container of the mode none is as it was: loopback, and no way to map a port.
#[test]
fn a_container_may_have_no_network_beside_others_that_have() {
    let bed = Bed::start(&[]);
    bed.engine.create(&["--handle", "alone", "--network", "none"]);
    let links = bed.engine.shell("alone", "ip -o link").text();
    assert_eq!(links.lines().count(), 1, "{links}");
    bed.engine.gdn(["net", "in", "alone", "80"]).expect_error("no network");
    bed.engine.gdn(["net", "out", "alone", "all"]).expect_status(0);
    bed.finish();
}

/// Whether this host's kernel has what the firewall needs; the guest's has not.
#[test]
fn networked_creates_are_refused_where_the_kernel_has_no_firewall() {
    let has_tables =
        Command::new("unshare").args(["--net", "nft", "add", "table", "inet", "x"]).output().unwrap();
    if has_tables.status.success() {
        // Nothing to refuse here; the guest shows it.
        return;
    }
    let bed = Bed::start(&[]);
    let refused = bed.engine.gdn(["create", "--image", bed.engine.image()]);
    assert!(refused.stderr.contains("nftables"), "{}", refused.stderr);
    bed.engine.create(&["--network", "none"]);
    bed.engine.finish();
}
