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
    /// It is granted, and the container has no chain and no set of its own.
    Granted,
    /// It is granted, and the container has a chain with one rule, which looks into one set with a name that begins so and may
    /// log. Nothing else is there that was not.
    Opened { set: &'static str, log: Option<&'static str> },
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
    use Answer::{Granted, Opened, Refused};
    use Asked::Rule;
    // Twenty-eight bytes of a handle and a space.
    let begins = |log| Opened { set: "ls4", log: Some(log) };
    let create = |spec| Asked::Create(Box::new(spec));
    let long = "l".repeat(255);
    vec![
        case("a handle that ends a text", create(named("x\"; flush ruleset; #")), Refused),
        case("a handle of two lines", create(named("x\nflush ruleset")), Refused),
        case("a handle that a shell would run", create(named("$(nft flush ruleset)")), Refused),
        case("a handle that is a pattern of a link's name", create(named("gdn%d")), Refused),
        case("a handle that is an option", create(named("-f")), Refused),
        case(
            "the longest handle as the prefix of a log",
            create(logging(&long)),
            begins("llllllllllllllllllllllllllll "),
        ),
        case(
            "every sign of a handle in the prefix of a log",
            create(logging("a.b:c@d_e-f")),
            begins("a.b:c@d_e-f "),
        ),
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
        case(
            "a range of everything",
            Rule(tcp("0.0.0.0", "255.255.255.255")),
            Opened { set: "s4", log: None },
        ),
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

/// What stands in a chain, without its braces.
fn chain_of<'a>(rules: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("chain {name} {{");
    let lines = rules.lines().map(str::trim).skip_while(|line| *line != begin).skip(1);
    lines.take_while(|line| *line != "}").collect()
}

/// The host's end of a container's link, which is its own in the shared sets.
fn link_of(bed: &Bed, handle: &str) -> String {
    let properties = bed.engine().inspect(handle)["properties"].clone();
    properties["garden.network.interface"].as_str().unwrap().to_owned()
}

/// Whether a link's packets are led to a chain.
fn leads(rules: &str, link: &str, chain: &str) -> bool {
    let verdict = format!(": jump {chain}");
    rules.lines().any(|line| line.contains(link) && line.contains(&verdict))
}

/// Whether a container has of the rules what the answer says, and nobody else has anything that was not there before.
fn owns(answer: Answer, link: &str, before: &str, after: &str) -> Verdict {
    let (known, now) = (frame_of(before), frame_of(after));
    let differ = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    // Links of one engine have four signs before the container's id.
    let id = &link[4..];
    let Answer::Opened { set, log } = answer else {
        return Verdict::equal(differ(&now, &known), Vec::<String>::new()).at("chains and sets");
    };
    let (chain, set) = (format!("c-{id}"), format!("{set}-{id}-0"));
    let own = [format!("set {set} {{"), format!("chain {chain} {{")];
    let logged = log.map(|prefix| format!(" log prefix \"{prefix}\"")).unwrap_or_default();
    let (rule, looked) = (chain_of(after, &chain), format!("@{set}{logged} accept comment "));
    Verdict::all([
        Verdict::equal(differ(&now, &known), own).at("chains and sets"),
        Verdict::equal(differ(&known, &now), Vec::<String>::new()).at("chains and sets that are gone"),
        Verdict::held_unless(rule.len() != 1 || !rule[0].contains(&looked), || {
            format!("{rule:?} and not one rule with {looked:?}")
        }),
        Verdict::held_unless(!leads(after, link, &chain), || format!("nothing leads from {link} to {chain}")),
    ])
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
        (granted @ (Answer::Granted | Answer::Opened { .. }), Ok(made)) => {
            let whose = if made.is_empty() { handle } else { &made };
            let own = owns(granted, &link_of(bed, whose), &before, &rules(host));
            let left = !made.is_empty() && {
                bed.engine().gdn(["destroy", &made]).expect_status(0);
                settled().is_none()
            };
            Verdict::all([own, Verdict::held_unless(left, || "something is left".into())])
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

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "table inet t {\n\tmap owners {\n\t}\n\tchain all {\n\t\taccept\n\t}\n}\n";
    const AFTER: &str = "table inet t {\n\tmap owners {\n\t\telements = { \"gabcxyz\" comment \"web\" : jump c-xyz }\n\t}\n\
        \tset ls4-xyz-0 {\n\t}\n\tchain all {\n\t\taccept\n\t}\n\tchain c-xyz {\n\
        \t\tip daddr @ls4-xyz-0 log prefix \"web \" accept comment \"web\"\n\t}\n}\n";

    #[test]
    fn whatever_is_not_a_containers_own_rule_is_seen() {
        let opened = Answer::Opened { set: "ls4", log: Some("web ") };
        let owns = |answer, after: &str| owns(answer, "gabcxyz", BEFORE, after) == Verdict::Held;
        assert!(owns(opened, AFTER) && owns(Answer::Granted, BEFORE));
        assert!(!owns(opened, BEFORE) && !owns(Answer::Granted, AFTER));
        for (of, becomes) in [
            ("log prefix \"web \" ", ""),
            ("prefix \"web \"", "prefix \"other \""),
            (" : jump c-xyz", ""),
            ("\t\tip daddr", "\t\taccept\n\t\tip daddr"),
            ("chain all {\n\t\taccept\n\t}\n", ""),
            ("\tset ls4", "\tset a4-xyz-0 {\n\t}\n\tset ls4"),
        ] {
            assert!(
                AFTER.contains(of) && !owns(opened, &AFTER.replace(of, becomes)),
                "{of:?} as {becomes:?}"
            );
        }
    }
}
