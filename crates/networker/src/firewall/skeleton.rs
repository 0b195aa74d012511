//! What the table holds before the first container.
//!
//! ```text
//! guard    prerouting  drops what a container sends from an address or a hardware address that is not its own
//! forward  forward     from a container: rules of its own, found by the link, then those for all; to one: answers and mapped
//!                      ports only
//! input    input       from a container to the host
//! dstnat   prerouting  mapped ports, for others; and hostout, on output, for the host itself
//! srcnat   postrouting masquerades what leaves, and what a container sends to itself through its host port
//! ```

use gdn_nft::{
    Batch, Chain, ChainType, CtState, CtStatus, Field, Hook, Load, Protocol, Reject, Rule, Set, Table,
    ct_state, ct_status, destination_in, destination_is_local, icmp_type, icmp6_type, iifname_begins,
    l4proto, nfproto, oifname_begins,
};
use gdn_types::Transport;

use crate::netout::Family;

/// Before the kernel tracks connections: a forged packet begins none.
const BEFORE_TRACKING: i32 = -290;
/// A little before ordinary filters, so that a chain of somebody else sees only what may pass.
const BEFORE_FILTERS: i32 = -10;
/// Where destinations and sources are translated by custom.
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;

/// Numbers of protocols, as in the header of a packet.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The number of a protocol that has ports.
pub(super) fn number_of(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    }
}

const FROM_CONTAINER: &str = "from_container";
const TO_CONTAINER: &str = "to_container";
const TO_HOST: &str = "to_host";
const UNLESS_DENIED: &str = "unless_denied";

/// Chains at hooks: name, type, hook, priority.
pub(super) const HOOKS: [(&str, ChainType, Hook, i32); 6] = [
    ("guard", ChainType::Filter, Hook::Prerouting, BEFORE_TRACKING),
    ("forward", ChainType::Filter, Hook::Forward, BEFORE_FILTERS),
    ("input", ChainType::Filter, Hook::Input, BEFORE_FILTERS),
    ("dstnat", ChainType::Nat, Hook::Prerouting, DSTNAT),
    ("hostout", ChainType::Nat, Hook::Output, DSTNAT),
    ("srcnat", ChainType::Nat, Hook::Postrouting, SRCNAT),
];

/// What the operator decides for all containers.
pub(super) struct Policy {
    /// Whether they may use the host wholly.
    pub(super) host_allowed: bool,
    /// Whether they may use it as a name server, by the gateway's address.
    pub(super) host_resolves: bool,
    /// Whether there are networks that only rules of their own open to them.
    pub(super) denies: bool,
}

/// The table's fixed sets of one family.
pub(super) struct Shared {
    /// Link, hardware address and address: who may send.
    pub(super) guests: Set,
    /// Protocol and host port: the address and port behind it.
    pub(super) mapped: Set,
    /// Addresses that leave under the host's.
    pub(super) masked: Set,
    /// A container's address twice: what it sends to itself, through its host port.
    pub(super) hairpins: Set,
    /// Link and address: the gateway that answers there.
    pub(super) gateways: Set,
    /// What no container may reach.
    pub(super) denied: Set,
    /// Name servers of the operator, which may be the host.
    pub(super) resolvers: Set,
}

impl Shared {
    pub(super) fn of(family: Family) -> Self {
        let (digit, address) = match family {
            Family::V4 => ('4', Field::Ipv4),
            Family::V6 => ('6', Field::Ipv6),
        };
        let named = |name: &str, key: &[Field]| Set::new(&format!("{name}{digit}"), key.iter().copied());
        Shared {
            guests: named("guests", &[Field::IfName, Field::Ether, address]),
            mapped: named("mapped", &[Field::Protocol, Field::Port]).map_to([address, Field::Port]),
            masked: named("masked", &[address]),
            hairpins: named("hairpins", &[address, address]),
            gateways: named("gateways", &[Field::IfName, address]),
            denied: named("denied", &[address]).intervals(),
            resolvers: named("resolvers", &[address]),
        }
    }

    pub(super) fn all(&self) -> [&Set; 7] {
        let Shared { guests, mapped, masked, hairpins, gateways, denied, resolvers } = self;
        [guests, mapped, masked, hairpins, gateways, denied, resolvers]
    }
}

/// The chain of each container's link that has rules of its own.
pub(super) fn owners() -> Set {
    Set::new("owners", [Field::IfName]).map_to_verdicts()
}

/// Links of containers that reach everything that the operator does not deny.
pub(super) fn open() -> Set {
    Set::new("open", [Field::IfName])
}

/// Links of containers that reach nobody, the host neither.
pub(super) fn hermetic() -> Set {
    Set::new("hermetic", [Field::IfName])
}

/// The packet's fields of one family, in the order of the sets' keys.
struct Loads {
    protocol: Protocol,
    source: Load,
    destination: Load,
    echo: (u8, gdn_nft::Match),
}

impl Loads {
    fn of(family: Family) -> Self {
        match family {
            Family::V4 => Loads {
                protocol: Protocol::Ipv4,
                source: Load::IpSource,
                destination: Load::IpDestination,
                echo: (ICMP, icmp_type(8)),
            },
            Family::V6 => Loads {
                protocol: Protocol::Ipv6,
                source: Load::Ip6Source,
                destination: Load::Ip6Destination,
                echo: (ICMPV6, icmp6_type(128)),
            },
        }
    }
}

/// Makes chains and sets; those that are there stay as they are.
pub(super) fn make(batch: &mut Batch, table: &Table) {
    batch.add_table(table);
    for name in [FROM_CONTAINER, TO_CONTAINER, TO_HOST, UNLESS_DENIED] {
        batch.add_chain(table, &Chain::new(name));
    }
    for (name, kind, hook, priority) in HOOKS {
        batch.add_chain(table, &Chain::base(name, kind, hook, priority));
    }
    batch.add_set(table, &owners()).add_set(table, &open()).add_set(table, &hermetic());
    for family in [Family::V4, Family::V6] {
        for set in Shared::of(family).all() {
            batch.add_set(table, set);
        }
    }
}

/// The rules of those chains.
pub(super) fn rules(batch: &mut Batch, table: &Table, prefix: &str, policy: &Policy) {
    let mut add = |rule: Rule| {
        batch.add_rule(table, &rule);
    };
    add(Rule::new("forward").matches(iifname_begins(prefix)).goto(FROM_CONTAINER));
    add(Rule::new("forward").matches(oifname_begins(prefix)).goto(TO_CONTAINER));
    add(Rule::new("input").matches(iifname_begins(prefix)).goto(TO_HOST));
    for chain in [FROM_CONTAINER, TO_CONTAINER] {
        // Such packets are not translated: they would leave with an address that nobody outside knows.
        add(Rule::new(chain).matches(ct_state(CtState::INVALID)).drop());
    }
    from_container(&mut add, prefix, policy);
    add(answers(TO_CONTAINER));
    add(Rule::new(TO_CONTAINER).matches(ct_status(CtStatus::DNAT)).accept());
    add(Rule::new(TO_CONTAINER).drop());
    add(answers(TO_HOST));
    let shut_in = || Rule::new(TO_HOST).in_set(hermetic().name(), [Load::IifName]);
    add(refuse_tcp(shut_in()));
    add(shut_in().reject(Reject::AdminProhibited));
    for family in [Family::V4, Family::V6] {
        for rule in family_rules(family, prefix, policy.host_resolves) {
            add(rule);
        }
    }
    if policy.host_allowed {
        add(Rule::new(TO_HOST).accept());
    } else {
        add(refuse_tcp(Rule::new(TO_HOST)));
        add(Rule::new(TO_HOST).reject(Reject::AdminProhibited));
    }
    add(Rule::new(UNLESS_DENIED).accept());
}

/// Decides over what a container sends to others than the host. What comes here has a container's address: `guard` dropped
/// everything else.
fn from_container(add: &mut impl FnMut(Rule), prefix: &str, policy: &Policy) {
    let rule = || Rule::new(FROM_CONTAINER);
    add(answers(FROM_CONTAINER));
    for family in [Family::V4, Family::V6] {
        let Loads { protocol, source, destination, .. } = Loads::of(family);
        let itself = rule().matches(oifname_begins(prefix)).matches(nfproto(protocol));
        add(itself.in_set(Shared::of(family).hairpins.name(), [source, destination]).accept());
    }
    add(rule().verdict_from(owners().name(), [Load::IifName]));
    let open = rule().in_set(open().name(), [Load::IifName]);
    add(if policy.denies { open.goto(UNLESS_DENIED) } else { open.accept() });
    add(refuse_tcp(rule()));
    add(rule().reject(Reject::AdminProhibited));
}

fn family_rules(family: Family, prefix: &str, resolves: bool) -> Vec<Rule> {
    let sets = Shared::of(family);
    let Loads { protocol, source, destination, echo: (icmp, echo) } = Loads::of(family);
    let of_family = |chain: &str| Rule::new(chain).matches(nfproto(protocol));
    let mapped = |rule: Rule| {
        rule.matches(destination_is_local()).dnat_from(
            sets.mapped.name(),
            protocol,
            [Load::L4Proto, Load::DestinationPort],
        )
    };
    let loopback = match family {
        Family::V4 => destination_in(std::net::Ipv4Addr::LOCALHOST.into(), 8),
        Family::V6 => destination_in(std::net::Ipv6Addr::LOCALHOST.into(), 128),
    };
    // Loopback is nobody's to reach from a link, and no way to mapped ports.
    let by_address = |chain: &str| of_family(chain).matches(loopback.clone().negated());
    let by_gateway = |transport| {
        of_family(TO_HOST)
            .matches(l4proto(transport))
            .matches(gdn_nft::destination_port(53))
            .in_set(sets.gateways.name(), [Load::IifName, destination])
            .accept()
    };
    let resolver = |transport| {
        of_family(TO_HOST)
            .matches(l4proto(transport))
            .matches(gdn_nft::destination_port(53))
            .in_set(sets.resolvers.name(), [destination])
            .accept()
    };
    let mut rules = vec![
        of_family("guard")
            .matches(iifname_begins(prefix))
            .not_in_set(sets.guests.name(), [Load::IifName, Load::EtherSource, source])
            .drop(),
        mapped(by_address("dstnat")),
        mapped(by_address("hostout")),
        of_family("srcnat").in_set(sets.hairpins.name(), [source, destination]).masquerade(),
        of_family("srcnat")
            .matches(oifname_begins(prefix).negated())
            .in_set(sets.masked.name(), [source])
            .masquerade(),
        of_family(TO_HOST)
            .matches(l4proto(icmp))
            .matches(echo)
            .in_set(sets.gateways.name(), [Load::IifName, destination])
            .accept(),
        resolver(UDP),
        resolver(TCP),
        refuse_tcp(of_family(UNLESS_DENIED).in_set(sets.denied.name(), [destination])),
        of_family(UNLESS_DENIED).in_set(sets.denied.name(), [destination]).reject(Reject::AdminProhibited),
    ];
    if resolves {
        rules.extend([by_gateway(UDP), by_gateway(TCP)]);
    }
    rules
}

/// Refuses connections at once. The ICMP message that other packets are refused with comes to a program that is just
/// connecting too early to be heard: it would wait a second for the next attempt.
fn refuse_tcp(rule: Rule) -> Rule {
    rule.matches(l4proto(TCP)).reject(Reject::TcpReset)
}

/// What belongs to a connection that was allowed when it began.
fn answers(chain: &str) -> Rule {
    Rule::new(chain).matches(ct_state(CtState::ESTABLISHED | CtState::RELATED)).accept()
}
