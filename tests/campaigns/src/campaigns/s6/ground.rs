//! Where rows about the network are played: an attacker, a victim, a host and an outside, of the engine or of a weak host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine_tests::host::{Host, Namespace};
use engine_tests::images::path_text;
use engine_tests::until;
use gdn_types::{ContainerSpec, Handle};

use super::OUTSIDE;
use crate::packets::{Mac, frame, kind_of, packet, protocol, udp};
use crate::{Bed, Seen, Sniffer, Target, Verdict, Word, probe};

/// Where honest packets go that show that what was sent before them has been dealt with.
pub(super) const HONEST_PORT: u16 = 4000;

/// One end of a link.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// A process of its network namespace.
    pub(super) pid: u32,
    pub(super) mac: Mac,
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
}

/// Who attacks whom, with watchers where nothing must arrive.
pub(super) struct Ground<'a> {
    sender: Box<dyn Target + 'a>,
    /// The attacker.
    pub(super) own: Place,
    pub(super) victim: Place,
    /// The host, as the attacker's link shows it.
    pub(super) gateway: Place,
    watched: Vec<Watched>,
    /// What undoes on a weak host what an earlier attempt did to it.
    repair: Option<Repair>,
}

type Repair = Box<dyn Fn()>;

/// A place where nothing forged must arrive, and how an honest packet gets there.
struct Watched {
    name: &'static str,
    address: Ipv4Addr,
    mac: Mac,
    sniffer: Sniffer,
}

/// Two containers of the engine, one of which attacks the other.
pub(super) struct Pair {
    attacker: Handle,
    own: Place,
    victim: Place,
    gateway: Place,
}

impl Pair {
    /// Creates both. Frames are sent from a privileged one.
    pub(super) fn create(bed: &Bed) -> Self {
        let attacker = bed.create(ContainerSpec { privileged: true, ..ContainerSpec::default() });
        Pair::of(bed, attacker, &bed.create(ContainerSpec::default()))
    }

    /// Two that are there.
    pub(super) fn of(bed: &Bed, attacker: Handle, victim: &Handle) -> Self {
        let (own, gateway) = place_of(bed, &attacker);
        let gateway =
            Place { pid: bed.host().inside.pid(), mac: HOST_MAC, v4: gateway, v6: first_of(own.v6) };
        Pair { attacker, own, victim: place_of(bed, victim).0, gateway }
    }

    /// Watches where nothing forged must arrive.
    pub(super) fn ground<'b>(&self, bed: &'b Bed) -> Ground<'b> {
        let sender = Box::new(bed.inside(&self.attacker));
        let [own, victim, gateway] = [&self.own, &self.victim, &self.gateway].map(Place::clone);
        Ground::watched(sender, own, victim, gateway, bed.host())
    }
}

impl<'a> Ground<'a> {
    fn watched(sender: Box<dyn Target + 'a>, own: Place, victim: Place, gateway: Place, host: &Host) -> Self {
        let watch = |name, address, pid, link| Watched {
            name,
            address,
            mac: gateway.mac,
            sniffer: Sniffer::open(pid, link),
        };
        let watched = vec![
            watch("the outside", OUTSIDE, host.outside.pid(), "down0"),
            watch("the victim", victim.v4, victim.pid, "eth0"),
        ];
        Ground { sender, own, victim, gateway, watched, repair: None }
    }

    /// The same without a watcher at the victim, which the attacker may not reach at all.
    pub(super) fn outside_only(mut self) -> Self {
        self.watched.truncate(1);
        self
    }

    /// Runs a script where the attacker is.
    pub(super) fn shell(&self, script: &str) -> Seen {
        self.sender.shell("", script)
    }

    /// A frame from the attacker to the host as it should be, around anything.
    pub(super) fn frame(&self, source: IpAddr, destination: IpAddr, protocol: u8, content: &[u8]) -> Vec<u8> {
        let packet = packet(source, destination, protocol, content);
        frame(self.gateway.mac, self.own.mac, kind_of(source), &packet)
    }

    /// A datagram in a frame that is as it should be, but for its addresses.
    pub(super) fn datagram(&self, source: IpAddr, destination: IpAddr, port: u16, word: &Word) -> Vec<u8> {
        self.frame(source, destination, protocol::UDP, &udp(source, destination, port, &word.marked()))
    }

    /// Sends frames from the attacker's link.
    pub(super) fn send(&self, frames: &[Vec<u8>]) {
        let frames = digits(frames);
        let words: Vec<&str> =
            ["probe", "send", "eth0"].into_iter().chain(frames.iter().map(String::as_str)).collect();
        self.sender.run("", &words).said();
    }

    /// Sends a datagram of the host's to the attacker, past every rule.
    pub(super) fn send_as_host(&self, datagram: &[u8]) {
        let packet = packet(self.gateway.v4.into(), self.own.v4.into(), protocol::UDP, datagram);
        let frame = frame(self.own.mac, self.gateway.mac, kind_of(self.own.v4.into()), &packet);
        let told = output(self.gateway.pid, &format!("ip -o route get {}", self.own.v4));
        let link = told.split_whitespace().skip_while(|word| *word != "dev").nth(1);
        send_at(self.gateway.pid, link.expect("the host knows the way"), &[frame]);
    }

    /// Sends frames, then honest ones, and tells where the word has arrived once those have. All of them are sent by one
    /// processor, which hands them on in order.
    pub(super) fn arrivals(&self, word: &Word, mut frames: Vec<Vec<u8>>) -> Verdict {
        let honest: Vec<Word> = self.watched.iter().map(|_| Word::fresh()).collect();
        for (Watched { address, mac, .. }, honest) in self.watched.iter().zip(&honest) {
            let (from, to) = (self.own.v4.into(), (*address).into());
            let packet = packet(from, to, protocol::UDP, &udp(from, to, HONEST_PORT, &honest.marked()));
            frames.push(frame(*mac, self.own.mac, kind_of(from), &packet));
        }
        self.send(&frames);
        for (Watched { name, sniffer, .. }, honest) in self.watched.iter().zip(&honest) {
            until(&format!("an honest packet to arrive at {name}"), || sniffer.count(honest) > 0);
        }
        Verdict::all(self.watched.iter().map(|Watched { name, sniffer, .. }| {
            Verdict::held_unless(sniffer.count(word) > 0, || format!("it arrived at {name}"))
        }))
    }

    /// What the host and the victim have learnt: neighbours with their hardware addresses, addresses and routes.
    pub(super) fn learnt(&self) -> Vec<String> {
        [("host", &self.gateway), ("victim", &self.victim)]
            .into_iter()
            .flat_map(|(name, place)| {
                let told = tables(place.pid);
                told.lines().filter_map(steady).map(|line| format!("{name}: {line}")).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Plays an attempt; escaped when its word arrived or when anybody learnt from it.
    pub(super) fn attempt(&self, frames: impl FnOnce(&Self, &Word) -> Vec<Vec<u8>>) -> Verdict {
        if let Some(repair) = &self.repair {
            repair();
        }
        let (word, before) = (Word::fresh(), self.learnt());
        let arrived = self.arrivals(&word, frames(self, &word));
        let after = self.learnt();
        let differ: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
        let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
        let learnt = Verdict::held_unless(!differ.is_empty() || !gone.is_empty(), || {
            format!("learnt {differ:?}, forgot {gone:?}")
        });
        match (&arrived, &learnt) {
            (Verdict::Escaped(one), Verdict::Escaped(other)) => Verdict::Escaped(format!("{one}; {other}")),
            _ => Verdict::all([arrived, learnt]),
        }
    }
}

/// The hardware address of the host's ends.
const HOST_MAC: Mac = Mac([0x0a, 0x67, 0x64, 0x6e, 0x00, 0x01]);

/// The gateway's address beside a container's.
fn first_of(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(address) - 1)
}

/// Where a container is, and its gateway's address.
fn place_of(bed: &Bed, handle: &Handle) -> (Place, Ipv4Addr) {
    let info = bed.engine().inspect(handle.as_str());
    let text = |key: &str| info[key].as_str().unwrap().to_owned();
    let place = Place {
        pid: info["init_pid"].as_u64().unwrap().try_into().unwrap(),
        mac: Mac::parse(bed.inside(handle).run("", &["cat", "/sys/class/net/eth0/address"]).said()),
        v4: text("container_ip").parse().unwrap(),
        v6: text("container_ipv6").parse().unwrap(),
    };
    (place, text("host_ip").parse().unwrap())
}

fn tables(pid: u32) -> String {
    let script = "ip neigh show; ip -6 addr show; ip -4 route show; ip -6 route show; \
                  cat /proc/sys/net/ipv6/conf/*/mtu";
    output(pid, script)
}

/// What a script of the host's prints in the network namespace of a process.
fn output(pid: u32, script: &str) -> String {
    let output = Namespace::command_in(pid, "sh").args(["-c", script]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn digits(frames: &[Vec<u8>]) -> Vec<String> {
    frames.iter().map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

/// Sends frames from a link of the network namespace of a process.
pub(super) fn send_at(pid: u32, link: &str, frames: &[Vec<u8>]) {
    let mut command = Namespace::command_in(pid, &path_text(&probe()));
    let sent = command.args(["send", link]).args(digits(frames)).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

/// The hardware address of a link.
pub(super) fn mac_in(namespace: &Namespace, link: &str) -> Mac {
    let told = namespace.must(&format!("ip -o link show {link}"));
    Mac::parse(told.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap())
}

/// A line without what changes by itself: states of neighbours and times; nothing of a neighbour whose address nobody knows, or
/// that is not a container's.
fn steady(line: &str) -> Option<String> {
    if ["FAILED", "INCOMPLETE", "dev up0 lladdr"].iter().any(|text| line.contains(text)) {
        return None;
    }
    let mut words = Vec::new();
    let mut all = line.split_whitespace();
    while let Some(word) = all.next() {
        match word {
            "REACHABLE" | "STALE" | "DELAY" | "PROBE" | "router" => {}
            "expires" | "valid_lft" | "preferred_lft" => drop(all.next()),
            _ => words.push(word),
        }
    }
    Some(words.join(" "))
}

/// Gives the outside its further addresses, and the way to containers.
pub(super) fn equip_outside(host: &Host) {
    host.outside.must(
        "ip -6 addr add 2001:db8::7/64 dev down0 nodad; ip addr add 192.0.2.9/24 dev down0; \
         ip -6 addr add 2001:db8::9/64 dev down0 nodad; ip addr add 169.254.169.254/32 dev down0; \
         ip route add 10.254.0.0/22 via 192.0.2.2; ip -6 route add fd00:77::/48 via 2001:db8::2",
    );
}

/// A host as it should not be: its containers are on a bridge, it passes on whatever comes, believes whoever says that he is a
/// router, and has no rules.
pub(super) struct Weak {
    /// Its namespace, and what is outside.
    pub(super) host: Host,
    attacker: Namespace,
    victim: Namespace,
}

impl Weak {
    pub(super) fn new() -> Self {
        let host = Host::new();
        equip_outside(&host);
        let (attacker, victim) = (Namespace::new(), Namespace::new());
        host.inside.must(
            "ip link add br0 address 0a:67:64:6e:00:01 type bridge mcast_snooping 0; ip link set br0 up; \
             ip addr add 10.254.0.1/24 dev br0; ip -6 addr add fd00:77::1/64 dev br0 nodad; \
             cd /proc/sys/net; echo 1 > ipv4/ip_forward; echo 1 > ipv6/conf/all/forwarding; \
             for link in all br0 up0; do cd /proc/sys/net/ipv4/conf/$link; echo 0 > rp_filter; \
             for setting in accept_source_route route_localnet accept_redirects accept_local arp_accept; \
             do echo 1 > $setting; done; echo 0 > secure_redirects; done; \
             echo 2 > /proc/sys/net/ipv6/conf/br0/accept_ra; \
             echo 64 > /proc/sys/net/ipv6/conf/br0/accept_ra_rt_info_max_plen",
        );
        for (number, namespace) in [(2, &attacker), (6, &victim)] {
            host.inside.must(&format!(
                "ip link add v{number} type veth peer name eth0 netns {}; ip link set v{number} master br0 up",
                namespace.pid()
            ));
            namespace.must(&format!(
                "ip link set eth0 address 0a:58:0a:fe:00:0{number} up; ip addr add 10.254.0.{number}/24 dev eth0; \
                 ip -6 addr add fd00:77::{number}/64 dev eth0 nodad; ip route add default via 10.254.0.1; \
                 ip -6 route add default via fd00:77::1; echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_accept; \
                 echo 64 > /proc/sys/net/ipv6/conf/eth0/accept_ra_rt_info_max_plen"
            ));
        }
        for namespace in [&attacker, &victim] {
            until("the links of the weak host to carry both families", || {
                let pings = "busybox ping -c 1 -W 1 10.254.0.1 && busybox ping -6 -c 1 -W 1 fd00:77::1 && \
                             busybox ping -6 -c 1 -W 1 2001:db8::1";
                namespace.shell(pings).status.success()
            });
        }
        Weak { host, attacker, victim }
    }

    /// A process in the attacker's place.
    pub(super) fn attacker_pid(&self) -> u32 {
        self.attacker.pid()
    }

    /// The attacker's place, whose programs are those of the bed's image.
    pub(super) fn attacker(&self, bed: &Bed) -> Box<dyn Target> {
        Box::new(bed.bare().with(&["mount"]).in_network(self.attacker.pid()))
    }

    pub(super) fn ground(&self, bed: &Bed) -> Ground<'static> {
        let place = |namespace: &Namespace, number: u8| Place {
            pid: namespace.pid(),
            mac: Mac([0x0a, 0x58, 0x0a, 0xfe, 0, number]),
            v4: Ipv4Addr::new(10, 254, 0, number),
            v6: Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number.into()),
        };
        let gateway = Place { mac: HOST_MAC, ..place(&self.host.inside, 1) };
        let (own, victim) = (place(&self.attacker, 2), place(&self.victim, 6));
        let pids = [gateway.pid, own.pid, victim.pid];
        let mut ground = Ground::watched(self.attacker(bed), own, victim, gateway, &self.host);
        // To everybody: whatever has been forged, it arrives.
        ground.watched[1].mac = Mac::ALL;
        ground.repair = Some(Box::new(move || {
            for pid in pids {
                output(pid, "ip neigh flush all; ip -6 neigh flush all");
            }
            for pid in &pids[1..] {
                output(*pid, "busybox ping -c 1 -W 1 10.254.0.1; busybox ping -6 -c 1 -W 1 fd00:77::1");
            }
        }));
        ground
    }
}

/// The verdict on a weak target: escaped when all attempts did.
pub(super) fn all_escape<'n>(attempts: impl IntoIterator<Item = (&'n str, Verdict)>) -> Verdict {
    let mut told = Vec::new();
    for (name, verdict) in attempts {
        match verdict {
            Verdict::Escaped(evidence) => {
                told.push(format!("{name}: {}", evidence.chars().take(100).collect::<String>()));
            }
            // What is not red has shown nothing, whatever the others did.
            other => {
                return Verdict::Broken(format!("{name} did not escape: {other:?}; escaped: {told:?}"));
            }
        }
    }
    Verdict::Escaped(told.join("; "))
}
