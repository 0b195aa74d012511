//! Words and numbers of requests that would be rules if anybody read them so.

use engine_tests::eventually;
use engine_tests::host::Namespace;
use gdn_proto::garden;
use gdn_proto::garden::garden_client::GardenClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::{Bed, Stage, Verdict};

/// What a case asks for, unchecked by any client of ours.
enum Asked {
    /// A container.
    Create(Box<garden::ContainerSpec>),
    /// A rule for a container that is there.
    Rule(garden::NetOutRule),
    /// A port of it.
    Port(garden::PortMap),
}

/// What must come of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// `InvalidArgument`, and no rule changes.
    Refused,
    /// It is granted, and changes nothing but what is the container's own.
    Granted,
}

struct Case {
    name: &'static str,
    asked: Asked,
    answer: Answer,
}

fn case(name: &'static str, asked: Asked, answer: Answer) -> Case {
    Case { name, asked, answer }
}

fn named(handle: &str) -> garden::ContainerSpec {
    garden::ContainerSpec { handle: handle.into(), ..garden::ContainerSpec::default() }
}

/// A container whose rule logs with its handle as the prefix.
fn logging(handle: &str) -> garden::ContainerSpec {
    garden::ContainerSpec {
        netout: vec![garden::NetOutRule { log: true, ..tcp("10.0.0.1", "") }],
        ..named(handle)
    }
}

fn in_network(request: &str) -> Asked {
    let pool = garden::PoolNetwork { request: request.into() };
    let network = Some(garden::NetworkMode { mode: Some(garden::network_mode::Mode::Pool(pool)) });
    Asked::Create(Box::new(garden::ContainerSpec { network, ..garden::ContainerSpec::default() }))
}

fn with_property(key: &str, value: &str) -> Asked {
    let properties = [(key.to_owned(), value.to_owned())].into_iter().collect();
    Asked::Create(Box::new(garden::ContainerSpec { properties, ..garden::ContainerSpec::default() }))
}

fn tcp(start: &str, end: &str) -> garden::NetOutRule {
    let networks = vec![garden::IpRange { start: start.into(), end: end.into() }];
    garden::NetOutRule { protocol: garden::Protocol::Tcp.into(), networks, ..garden::NetOutRule::default() }
}

fn to_ports(start: u32, end: u32) -> Asked {
    let ports = vec![garden::PortRange { start, end: Some(end) }];
    Asked::Rule(garden::NetOutRule { ports, ..tcp("10.0.0.1", "10.0.0.1") })
}

fn port(host_port: u32, container_port: u32, protocol: i32) -> Asked {
    Asked::Port(garden::PortMap { host_port, container_port, protocol })
}

fn cases() -> Vec<Case> {
    use Answer::{Granted, Refused};
    use Asked::Rule;
    let create = |spec| Asked::Create(Box::new(spec));
    let long = "l".repeat(255);
    vec![
        case("a handle that ends a text", create(named("x\"; flush ruleset; #")), Refused),
        case("a handle of two lines", create(named("x\nflush ruleset")), Refused),
        case("a handle that a shell would run", create(named("$(nft flush ruleset)")), Refused),
        case("a handle that is a pattern of a link's name", create(named("gdn%d")), Refused),
        case("a handle that is an option", create(named("-f")), Refused),
        case("the longest handle as the prefix of a log", create(logging(&long)), Granted),
        case("every sign of a handle in the prefix of a log", create(logging("a.b:c@d_e-f")), Granted),
        case("a network that ends a command", in_network("10.9.0.0/24; flush ruleset"), Refused),
        case("a network of two lines", in_network("10.9.0.0/24\nflush ruleset"), Refused),
        case("a network of everything", in_network("0.0.0.0/0"), Refused),
        case("a network of IPv4 as IPv6", in_network("::ffff:10.9.0.0/120"), Refused),
        case("a network longer than an address", in_network("10.9.0.0/33"), Refused),
        case("a network of less than nothing", in_network("10.9.0.0/-1"), Refused),
        case(
            "an egress that ends a text",
            with_property("garden.network.egress", "allow\"; flush ruleset; #"),
            Refused,
        ),
        case(
            "a property that ends a text",
            with_property("x\"; flush ruleset; #", "y\"\n; flush ruleset\n"),
            Granted,
        ),
        case("an address that ends a command", Rule(tcp("10.0.0.1; flush ruleset", "")), Refused),
        case("an address with a length", Rule(tcp("10.0.0.0/8", "")), Refused),
        case("a range that ends before it begins", Rule(tcp("10.0.0.9", "10.0.0.1")), Refused),
        case("a range of everything", Rule(tcp("0.0.0.0", "255.255.255.255")), Granted),
        case("a range of IPv4 as IPv6", Rule(tcp("::ffff:10.0.0.1", "::ffff:10.0.0.9")), Refused),
        case("a range of two families", Rule(tcp("10.0.0.1", "fd00::1")), Refused),
        case("port 0", to_ports(0, 0), Refused),
        case("port 65536", to_ports(65_536, 65_536), Refused),
        case("ports that end before they begin", to_ports(9, 7), Refused),
        case("a mapped port 65536", port(65_536, 80, 0), Refused),
        case("a mapped port of no protocol", port(9000, 80, 99), Refused),
    ]
}

/// Asks as a client would that checks nothing; answers with the handle of a new container.
async fn ask(
    client: &mut GardenClient<Channel>,
    asked: &Asked,
    image: &str,
    handle: &str,
) -> Result<String, Status> {
    let handle = handle.to_owned();
    match asked {
        Asked::Create(spec) => {
            let image = Some(garden::ImageRef { uri: image.to_owned(), ..garden::ImageRef::default() });
            let spec = Some(garden::ContainerSpec { image, ..(**spec).clone() });
            let made = client.create(garden::CreateRequest { spec }).await?;
            Ok(made.into_inner().handle)
        }
        Asked::Rule(rule) => {
            client.net_out(garden::NetOutRequest { handle, rules: vec![rule.clone()] }).await?;
            Ok(String::new())
        }
        Asked::Port(port) => {
            client.net_in(garden::NetInRequest { handle, port: Some(*port) }).await?;
            Ok(String::new())
        }
    }
}

fn rules(host: &Namespace) -> String {
    host.must("nft list ruleset")
}

/// Lines that begin tables, chains and sets: all that there is but what is in them.
fn frame_of(rules: &str) -> Vec<String> {
    let begins =
        |line: &&str| ["table", "chain", "set", "map"].contains(&line.split(' ').next().unwrap_or(""));
    rules.lines().map(str::trim).filter(begins).map(str::to_owned).collect()
}

/// What names of a container's own chain and sets have in them.
fn id_of(bed: &Bed, handle: &str) -> String {
    let properties = bed.engine().inspect(handle)["properties"].clone();
    let link = properties["garden.network.interface"].as_str().unwrap();
    // Links of one engine have four signs before it.
    link[4..].to_owned()
}

fn play(bed: &Bed, case: &Case, handle: &str) -> Verdict {
    let host = &bed.host().inside;
    let before = rules(host);
    let address = format!("unix:{}", bed.engine().root().join("grpc.sock").display());
    let answer = bed.engine().with_client(async |_| {
        let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        ask(&mut GardenClient::new(channel), &case.asked, bed.image(), handle).await
    });
    let settled = || eventually(engine_tests::PATIENCE, || (rules(host) == before).then_some(()));
    match (case.answer, answer) {
        (Answer::Refused, Err(status)) if status.code() == Code::InvalidArgument => {
            Verdict::held_unless(settled().is_none(), || "rules have changed".into())
        }
        (Answer::Granted, Ok(made)) => {
            let whose = if made.is_empty() { handle } else { &made };
            let id = id_of(bed, whose);
            let after = rules(host);
            let (known, now) = (frame_of(&before), frame_of(&after));
            let differ = |one: &[String], other: &[String]| {
                let new = one.iter().filter(|line| !other.contains(line) && !line.contains(&id));
                new.cloned().collect::<Vec<_>>()
            };
            let (strange, gone) = (differ(&now, &known), differ(&known, &now));
            let own = after.contains(&id);
            let left = !made.is_empty() && {
                bed.engine().gdn(["destroy", &made]).expect_status(0);
                settled().is_none()
            };
            Verdict::held_unless(left || !own || !strange.is_empty() || !gone.is_empty(), || {
                format!("of others, new: {strange:?}, gone: {gone:?}; something is left: {left}")
            })
        }
        (_, answer) => Verdict::Escaped(format!("the answer was {answer:?}")),
    }
}

pub(super) fn words(stage: &mut Stage<'_>) {
    for case in cases() {
        stage.case(case.name, |bed| {
            let handle = bed.create(gdn_types::ContainerSpec::default());
            let verdict = play(bed, &case, handle.as_str());
            bed.engine().gdn(["destroy", handle.as_str()]).expect_status(0);
            verdict
        });
    }
    stage.control("rules that are written as text", |_| {
        let host = Namespace::new();
        host.must("nft add table inet weak; nft add chain inet weak out");
        // As engines do that call a program for each rule.
        let handle = "x\"; flush ruleset; #";
        let rule = format!("add rule inet weak out ip saddr 10.0.0.1 accept comment \"{handle}\"");
        host.command("nft").arg(rule).status().unwrap();
        Verdict::held_unless(!rules(&host).contains("weak"), || "all rules are gone".into())
    });
}
