//! Who reaches whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine_tests::host::{Host, listen_in};
use gdn_types::{ContainerSpec, Egress, Handle, NetIn, NetworkMode};

use super::ground::{Weak, all_escape};
use super::{DENIED, DENIED6, HOST, HOST6, METADATA};
use crate::{Bed, Ear, Stage, Target, Verdict, Word};

/// Where everybody listens, for connections and datagrams.
const PORT: u16 = 4000;
/// The Garden API of the bed's server.
const API: u16 = 7777;
/// A port of the host that is mapped to the peer's.
const MAPPED: u16 = 8081;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// A container that may reach what the operator does not deny.
    Free,
    /// One that may reach nothing.
    Shut,
    Host,
    Outside,
}

/// Whom, or what of whom.
#[derive(Clone, Copy, Debug)]
enum Whom {
    /// Another container.
    Peer,
    Peer6,
    /// One of the same subnet as the free one.
    Neighbour,
    Free,
    Free6,
    Shut,
    /// The host by the sender's gateway.
    Gateway,
    Gateway6,
    Is(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Tcp(u16),
    Udp,
}

struct Flow {
    name: &'static str,
    from: Who,
    to: Whom,
    how: How,
    allowed: bool,
}

const fn flow(name: &'static str, from: Who, to: Whom, how: How, allowed: bool) -> Flow {
    Flow { name, from, to, how, allowed }
}

const TCP: How = How::Tcp(PORT);

const fn v4(address: Ipv4Addr) -> Whom {
    Whom::Is(IpAddr::V4(address))
}

const fn v6(address: Ipv6Addr) -> Whom {
    Whom::Is(IpAddr::V6(address))
}

const FLOWS: [Flow; 24] = [
    flow("to a container of another subnet", Who::Free, Whom::Peer, TCP, true),
    flow("to a container of another subnet, IPv6", Who::Free, Whom::Peer6, TCP, true),
    flow("to a container of another subnet, datagrams", Who::Free, Whom::Peer, How::Udp, true),
    flow("to a container of the same subnet", Who::Free, Whom::Neighbour, TCP, true),
    flow("to one that may reach nothing itself", Who::Free, Whom::Shut, TCP, true),
    flow("to a mapped port of another", Who::Free, v4(HOST), How::Tcp(MAPPED), true),
    flow("shut in: to another container", Who::Shut, Whom::Peer, TCP, false),
    flow("shut in: to another container, IPv6", Who::Shut, Whom::Peer6, TCP, false),
    flow("shut in: to another container, datagrams", Who::Shut, Whom::Peer, How::Udp, false),
    flow("shut in: to services of a cloud", Who::Shut, v4(METADATA), TCP, false),
    flow("to the host's API by the gateway", Who::Free, Whom::Gateway, How::Tcp(API), false),
    flow("to the host's API by its address", Who::Free, v4(HOST), How::Tcp(API), false),
    flow("to the host by the gateway, IPv6", Who::Free, Whom::Gateway6, TCP, false),
    flow("to the host by its address, IPv6", Who::Free, v6(HOST6), TCP, false),
    flow("to the host, datagrams", Who::Free, v4(HOST), How::Udp, false),
    flow("to services of a cloud", Who::Free, v4(METADATA), TCP, false),
    flow("to services of a cloud, datagrams", Who::Free, v4(METADATA), How::Udp, false),
    flow("to what the operator denies", Who::Free, v4(DENIED), TCP, false),
    flow("to what the operator denies, IPv6", Who::Free, v6(DENIED6), TCP, false),
    flow("from outside to a container", Who::Outside, Whom::Free, TCP, false),
    flow("from outside to a container, IPv6", Who::Outside, Whom::Free6, TCP, false),
    flow("from outside to a container, datagrams", Who::Outside, Whom::Free, How::Udp, false),
    flow("from outside to a mapped port", Who::Outside, v4(HOST), How::Tcp(MAPPED), true),
    flow("from the host to a container, and back", Who::Host, Whom::Shut, TCP, true),
];

/// Addresses of a container: its own and its gateway's.
#[derive(Clone, Copy)]
struct Home {
    pid: u32,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    gateway: Ipv4Addr,
    gateway6: Ipv6Addr,
}

struct World<'a> {
    free: (Box<dyn Target + 'a>, Home),
    shut: (Box<dyn Target + 'a>, Home),
    peer: Home,
    neighbour: Ipv4Addr,
    host: Box<dyn Target>,
    outside: Box<dyn Target>,
    ears: Vec<Ear>,
}

impl World<'_> {
    fn address(&self, flow: &Flow) -> IpAddr {
        let sender = if flow.from == Who::Shut { &self.shut.1 } else { &self.free.1 };
        match flow.to {
            Whom::Peer => self.peer.v4.into(),
            Whom::Peer6 => self.peer.v6.into(),
            Whom::Neighbour => self.neighbour.into(),
            Whom::Free => self.free.1.v4.into(),
            Whom::Free6 => self.free.1.v6.into(),
            Whom::Shut => self.shut.1.v4.into(),
            Whom::Gateway => sender.gateway.into(),
            Whom::Gateway6 => sender.gateway6.into(),
            Whom::Is(address) => address,
        }
    }

    fn reaches(&self, flow: &Flow) -> bool {
        let (word, address) = (Word::fresh(), self.address(flow));
        let place = match flow.how {
            How::Tcp(port) => format!("tcp,{address},{port}"),
            How::Udp => format!("udp,{address},{PORT},{}", word.text()),
        };
        let sender = match flow.from {
            Who::Free => &self.free.0,
            Who::Shut => &self.shut.0,
            Who::Host => &self.host,
            Who::Outside => &self.outside,
        };
        let seen = sender.run("", &["probe", "reach", &place]);
        let heard = || self.ears.iter().any(|ear| ear.has(&word));
        seen.said().ends_with(" connected") || heard()
    }

    fn verdict(&self, flow: &Flow) -> Verdict {
        let arrived = || match flow.allowed {
            // What is sent arrives a moment later.
            true => engine_tests::eventually(engine_tests::PATIENCE, || self.reaches(flow).then_some(())),
            false => self.reaches(flow).then_some(()),
        };
        match (flow.allowed, arrived().is_some()) {
            (true, false) => Verdict::Broken("what the policy allows is not reached".into()),
            (false, true) => Verdict::Escaped("it was reached".into()),
            (true, true) | (false, false) => Verdict::Held,
        }
    }
}

fn corner(bed: &Bed, pid: u32) -> Box<dyn Target> {
    Box::new(bed.bare().with(&["mount"]).in_network(pid))
}

/// Datagrams are heard in these namespaces.
fn ears(pids: &[u32]) -> Vec<Ear> {
    pids.iter().map(|pid| Ear::open(*pid, Ipv6Addr::UNSPECIFIED.into(), PORT)).collect()
}

fn home(bed: &Bed, handle: &Handle) -> Home {
    let info = bed.engine().inspect(handle.as_str());
    let text = |key: &str| info[key].as_str().unwrap().to_owned();
    let v6: Ipv6Addr = text("container_ipv6").parse().unwrap();
    Home {
        pid: info["init_pid"].as_u64().unwrap().try_into().unwrap(),
        v4: text("container_ip").parse().unwrap(),
        v6,
        gateway: text("host_ip").parse().unwrap(),
        gateway6: Ipv6Addr::from(u128::from(v6) - 1),
    }
}

/// The containers of the row.
struct Containers {
    free: Handle,
    neighbour: Handle,
    shut: Handle,
    peer: Handle,
}

impl Containers {
    fn make(bed: &Bed) -> Self {
        let shared =
            || ContainerSpec { network: NetworkMode::Pool("10.9.0.0/24".into()), ..ContainerSpec::default() };
        let shut = ContainerSpec { egress: Some(Egress::Deny), ..ContainerSpec::default() };
        let mapped = NetIn { host_port: MAPPED, container_port: PORT, ..NetIn::default() };
        Containers {
            free: bed.create(shared()),
            neighbour: bed.create(shared()),
            shut: bed.create(shut),
            peer: bed.create(ContainerSpec { netin: vec![mapped], ..ContainerSpec::default() }),
        }
    }

    fn homes(&self, bed: &Bed) -> [Home; 4] {
        [&self.free, &self.shut, &self.peer, &self.neighbour].map(|handle| home(bed, handle))
    }

    fn world<'b>(&self, bed: &'b Bed, homes: &[Home; 4]) -> World<'b> {
        let Containers { free, shut, .. } = self;
        let host = bed.host();
        let pids = homes.map(|home| home.pid);
        let others = [host.inside.pid(), host.outside.pid()];
        World {
            free: (Box::new(bed.inside(free)), homes[0]),
            shut: (Box::new(bed.inside(shut)), homes[1]),
            peer: homes[2],
            neighbour: homes[3].v4,
            host: corner(bed, host.inside.pid()),
            outside: corner(bed, host.outside.pid()),
            ears: ears(&[&pids[..], &others].concat()),
        }
    }
}

/// Containers of a network that nobody names have a way to them from outside too.
fn lead_to_containers(host: &Host) {
    host.outside.must("ip route replace 10.9.0.0/24 via 192.0.2.2");
}

pub(super) fn between(stage: &mut Stage<'_>) {
    lead_to_containers(stage.bed().host());
    let containers = Containers::make(stage.bed());
    let homes = containers.homes(stage.bed());
    let around = [stage.bed().host().inside.pid(), stage.bed().host().outside.pid()];
    let pids = homes.iter().map(|home| home.pid).chain(around);
    let listeners: Vec<_> = pids.map(|pid| listen_in(pid, PORT)).collect();
    for flow in &FLOWS {
        stage.case(flow.name, |bed| containers.world(bed, &homes).verdict(flow));
    }
    drop(listeners);
    stage.control("a bridge without rules", |bed| {
        let weak = Weak::new();
        let world = weak_world(bed, &weak);
        let host = weak.host.inside.pid();
        let mut listeners: Vec<_> = [host, weak.host.outside.pid(), world.free.1.pid, world.peer.pid]
            .into_iter()
            .map(|pid| listen_in(pid, PORT))
            .collect();
        listeners.push(listen_in(host, API));
        let refused = FLOWS.iter().filter(|flow| !flow.allowed);
        all_escape(refused.map(|flow| {
            let reached =
                engine_tests::eventually(engine_tests::PATIENCE, || world.reaches(flow).then_some(()));
            (flow.name, Verdict::held_unless(reached.is_some(), || "reached".into()))
        }))
    });
}

/// On a host without rules nobody is shut in: the attacker is both.
fn weak_world<'b>(bed: &'b Bed, weak: &Weak) -> World<'b> {
    let ground = weak.ground(bed);
    let home = |place: &super::ground::Place| Home {
        pid: place.pid,
        v4: place.v4,
        v6: place.v6,
        gateway: ground.gateway.v4,
        gateway6: ground.gateway.v6,
    };
    let host = &weak.host;
    World {
        free: (weak.attacker(bed), home(&ground.own)),
        shut: (weak.attacker(bed), home(&ground.own)),
        peer: home(&ground.victim),
        neighbour: ground.victim.v4,
        host: corner(bed, host.inside.pid()),
        outside: corner(bed, host.outside.pid()),
        ears: ears(&[ground.own.pid, ground.victim.pid, host.inside.pid(), host.outside.pid()]),
    }
}
