//! What engine and plug-in tell each other: JSON in the forms of the reference engine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gdn_traits::{NetworkInfo, NetworkRequest};
use gdn_types::{
    Error, ErrorKind, NetIn, NetOutRule, PortMapping, Properties, Protocol, Result, Transport, keys,
};
use serde::{Deserialize, Serialize};

/// Properties of a client that begin with this are for the plug-in, without it.
const FOR_PLUGIN: &str = "network.";
/// This one is for the plug-in as it is.
const LOG_CONFIG: &str = "log_config";
/// A resolver reads no more domains and no longer ones.
const MOST_DOMAINS: usize = 32;
const LONGEST_DOMAIN: usize = 253;
/// The most name servers that are taken.
const MOST_SERVERS: usize = 32;

/// Input of `up`.
#[derive(Debug, Serialize)]
pub(super) struct Up<'a> {
    #[serde(rename = "Pid")]
    pid: u32,
    #[serde(rename = "Properties")]
    properties: BTreeMap<&'a str, &'a str>,
    netout_rules: Vec<Rule>,
    netin: Vec<Port>,
}

impl<'a> Up<'a> {
    pub(super) fn of(request: &'a NetworkRequest, pid: u32) -> Self {
        let for_plugin = |(key, value): (&'a str, &'a str)| match key.strip_prefix(FOR_PLUGIN) {
            Some(key) => Some((key, value)),
            None => (key == LOG_CONFIG).then_some((key, value)),
        };
        Up {
            pid,
            properties: request.properties.iter().filter_map(for_plugin).collect(),
            netout_rules: request.netout.iter().map(Rule::from).collect(),
            netin: request.netin.iter().map(Port::from).collect(),
        }
    }
}

/// Answer of `up`. Whatever is missing, or `null`, is empty.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Went {
    #[serde(default)]
    properties: Option<BTreeMap<String, String>>,
    #[serde(default)]
    dns_servers: Option<Vec<String>>,
    #[serde(default)]
    search_domains: Option<Vec<String>>,
}

impl Went {
    /// Nothing at all is an answer, too.
    pub(super) fn parse(answer: &[u8]) -> Result<Self> {
        let answer = answer.trim_ascii();
        if answer.is_empty() {
            return Ok(Went::default());
        }
        if answer.starts_with(b"[") {
            // The decoder would take a list for a structure whose members come in their order.
            return Err(nonsense("the answer to 'up' is a list".to_owned()));
        }
        let went: Option<Went> = serde_json::from_slice(answer).map_err(|error| no_answer("up", &error))?;
        Ok(went.unwrap_or_default())
    }

    /// What the answer says of the network.
    pub(super) fn info(&self) -> Result<NetworkInfo> {
        let properties = Properties::from_pairs(self.properties.iter().flatten())?;
        let told = |key: &str| properties.get(key).unwrap_or_default().to_owned();
        let mapped_ports = match properties.get(keys::MAPPED_PORTS) {
            Some(text) => mapped_ports(text)?,
            None => Vec::new(),
        };
        let (host_ip, container_ip) = (told(keys::HOST_IP), told(keys::CONTAINER_IP));
        let container_ipv6 = told(keys::CONTAINER_IPV6);
        let info = NetworkInfo { mapped_ports, host_ip, container_ip, container_ipv6, ..Default::default() };
        Ok(NetworkInfo { properties, ..info })
    }

    pub(super) fn dns_servers(&self) -> Result<Vec<IpAddr>> {
        let servers = self.dns_servers.as_deref().unwrap_or_default();
        if servers.len() > MOST_SERVERS {
            return Err(nonsense(format!("it names {} name servers, at most {MOST_SERVERS}", servers.len())));
        }
        let parse = |text: &String| {
            text.parse().map_err(|_| nonsense(format!("the name server {text:?} is no address")))
        };
        servers.iter().map(parse).collect()
    }

    pub(super) fn search_domains(&self) -> Result<Vec<String>> {
        let domains = self.search_domains.as_deref().unwrap_or_default();
        if domains.len() > MOST_DOMAINS {
            return Err(nonsense(format!("it names {} domains, at most {MOST_DOMAINS}", domains.len())));
        }
        // It becomes a word of a line of a file.
        let is_domain = |text: &str| {
            let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#' && byte != b';';
            (1..=LONGEST_DOMAIN).contains(&text.len()) && text.bytes().all(is_plain)
        };
        match domains.iter().find(|text| !is_domain(text)) {
            Some(text) => Err(nonsense(format!("the search domain {text:?} is none"))),
            None => Ok(domains.to_vec()),
        }
    }
}

/// Ports as the property has them.
fn mapped_ports(text: &str) -> Result<Vec<PortMapping>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Pair {
        host_port: u16,
        container_port: u16,
    }
    let pairs: Option<Vec<Pair>> = serde_json::from_str(text)
        .map_err(|error| nonsense(format!("{} is {text:?}: {error}", keys::MAPPED_PORTS)))?;
    let mapping = |Pair { host_port, container_port }| PortMapping {
        host_port,
        container_port,
        transport: Transport::Tcp,
    };
    Ok(pairs.unwrap_or_default().into_iter().map(mapping).collect())
}

/// Input of `net-in`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PortWish<'a> {
    #[serde(rename = "HostIP")]
    host_ip: &'a str,
    host_port: u16,
    #[serde(rename = "ContainerIP")]
    container_ip: &'a str,
    container_port: u16,
}

impl<'a> PortWish<'a> {
    pub(super) fn of(host_ip: &'a str, container_ip: &'a str, request: NetIn) -> Self {
        let NetIn { host_port, container_port, .. } = request;
        PortWish { host_ip, host_port, container_ip, container_port }
    }
}

/// Answer of `net-in`.
#[derive(Debug, Deserialize)]
pub(super) struct Mapped {
    host_port: u16,
    container_port: u16,
}

impl Mapped {
    pub(super) fn parse(answer: &[u8]) -> Result<NetIn> {
        let Mapped { host_port, container_port } =
            serde_json::from_slice(answer).map_err(|error| no_answer("net-in", &error))?;
        Ok(NetIn { host_port, container_port, transport: Transport::Tcp })
    }
}

/// Input of `net-out` and `bulk-net-out`.
#[derive(Debug, Serialize)]
pub(super) struct AllowedDestinations<'a> {
    container_ip: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    netout_rule: Option<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netout_rules: Option<Vec<Rule>>,
}

impl<'a> AllowedDestinations<'a> {
    pub(super) fn of(container_ip: &'a str, rules: &[NetOutRule]) -> Self {
        let (mut netout_rule, mut netout_rules) = (None, None);
        match rules {
            [rule] => netout_rule = Some(rule.into()),
            rules => netout_rules = Some(rules.iter().map(Rule::from).collect()),
        }
        AllowedDestinations { container_ip, netout_rule, netout_rules }
    }

    /// Which call it is the input of.
    pub(super) fn action(&self) -> &'static str {
        if self.netout_rule.is_some() { "net-out" } else { "bulk-net-out" }
    }
}

/// Garden: `NetInRequest`.
#[derive(Debug, Serialize)]
struct Port {
    host_port: u16,
    container_port: u16,
}

impl From<&NetIn> for Port {
    fn from(&NetIn { host_port, container_port, .. }: &NetIn) -> Self {
        Port { host_port, container_port }
    }
}

/// Garden: `NetOutRule`.
#[derive(Debug, Serialize)]
struct Rule {
    #[serde(skip_serializing_if = "is_zero")]
    protocol: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<Range<IpAddr>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<Range<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmps: Option<Icmp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    log: bool,
}

#[derive(Debug, Serialize)]
struct Range<T> {
    start: T,
    end: T,
}

#[derive(Debug, Serialize)]
struct Icmp {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the attribute passes a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl From<&NetOutRule> for Rule {
    fn from(rule: &NetOutRule) -> Self {
        Rule {
            protocol: match rule.protocol {
                Protocol::All => 0,
                Protocol::Tcp => 1,
                Protocol::Udp => 2,
                Protocol::Icmp => 3,
                Protocol::Icmpv6 => 4,
            },
            networks: rule
                .networks
                .iter()
                .map(|range| Range { start: range.start, end: range.end })
                .collect(),
            ports: rule.ports.iter().map(|range| Range { start: range.start, end: range.end }).collect(),
            icmps: rule.icmp.map(|icmp| Icmp { kind: icmp.kind, code: icmp.code }),
            log: rule.log,
        }
    }
}

/// The answer is no JSON of the right form.
fn no_answer(action: &str, error: &serde_json::Error) -> Error {
    nonsense(format!("the answer to '{action}' cannot be read: {error}"))
}

/// The plug-in says what makes no sense.
pub(super) fn nonsense(what: String) -> Error {
    Error::new(ErrorKind::Unavailable, format!("external networker: {what}"))
}

#[cfg(test)]
mod tests {
    use gdn_types::{Handle, IcmpRule, IpRange, NetworkMode, PortRange};

    use super::*;

    fn text(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    fn rule() -> NetOutRule {
        let address = |text: &str| text.parse().unwrap();
        NetOutRule {
            protocol: Protocol::Tcp,
            networks: vec![IpRange { start: address("10.0.0.1"), end: address("10.0.0.9") }],
            ports: vec![PortRange { start: 80, end: 80 }],
            icmp: None,
            log: true,
        }
    }

    #[test]
    fn up_is_told_the_process_and_what_its_client_wants_of_networks() {
        let pairs = [("network.policy", "open"), ("log_config", "{}"), ("app", "x"), ("network.", "odd")];
        let request = NetworkRequest {
            handle: Handle::parse("h").unwrap(),
            privileged: false,
            ids: None,
            mode: NetworkMode::Default,
            netin: vec![NetIn { host_port: 0, container_port: 8080, transport: Transport::Tcp }],
            netout: vec![rule()],
            egress: None,
            bandwidth: gdn_types::BandwidthLimits::default(),
            properties: Properties::from_pairs(pairs).unwrap(),
        };
        assert_eq!(
            text(&Up::of(&request, 42)),
            r#"{"Pid":42,"Properties":{"":"odd","log_config":"{}","policy":"open"},"netout_rules":[{"protocol":1,"networks":[{"start":"10.0.0.1","end":"10.0.0.9"}],"ports":[{"start":80,"end":80}],"log":true}],"netin":[{"host_port":0,"container_port":8080}]}"#
        );
    }

    #[test]
    fn one_rule_and_several_are_two_calls() {
        let one = AllowedDestinations::of("10.1.2.3", &[NetOutRule::default()]);
        assert_eq!(
            (one.action(), text(&one).as_str()),
            ("net-out", r#"{"container_ip":"10.1.2.3","netout_rule":{}}"#)
        );
        let icmp = NetOutRule {
            protocol: Protocol::Icmp,
            icmp: Some(IcmpRule { kind: 8, code: Some(0) }),
            ..NetOutRule::default()
        };
        let two = AllowedDestinations::of("10.1.2.3", &[icmp, NetOutRule::default()]);
        assert_eq!(two.action(), "bulk-net-out");
        assert_eq!(
            text(&two),
            r#"{"container_ip":"10.1.2.3","netout_rules":[{"protocol":3,"icmps":{"type":8,"code":0}},{}]}"#
        );
    }

    #[test]
    fn an_answer_may_say_nothing_or_everything_and_no_nonsense() {
        for nothing in ["", " \n", "{}", "null", r#"{"properties":null,"dns_servers":null}"#] {
            assert_eq!(Went::parse(nothing.as_bytes()).unwrap().info().unwrap(), NetworkInfo::default());
        }
        let all = r#"{"properties":{"garden.network.container-ip":"10.1.2.3","x":"y","garden.network.mapped-ports":"[{\"HostPort\":61001,\"ContainerPort\":80}]"},"dns_servers":["1.2.3.4"],"search_domains":["a.b"]}"#;
        let went = Went::parse(all.as_bytes()).unwrap();
        let info = went.info().unwrap();
        assert_eq!((info.container_ip.as_str(), info.properties.get("x")), ("10.1.2.3", Some("y")));
        assert_eq!((info.mapped_ports[0].host_port, info.mapped_ports.len()), (61001, 1));
        assert_eq!(went.dns_servers().unwrap().len() + went.search_domains().unwrap().len(), 2);
        for wrong in [
            "x",
            "[]",
            r#"{"properties":{"a":1}}"#,
            r#"{"dns_servers":["x"]}"#,
            r#"{"search_domains":["a b"]}"#,
            r#"{"search_domains":["a\nnameserver 1.2.3.4"]}"#,
            r#"{"properties":{"garden.network.mapped-ports":"x"}}"#,
        ] {
            let refused = Went::parse(wrong.as_bytes())
                .and_then(|went| Ok((went.info()?, went.dns_servers()?, went.search_domains()?)))
                .unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unavailable, "{wrong}");
        }
    }

    #[test]
    fn a_mapped_port_is_wished_for_and_told() {
        let wish = PortWish::of("1.2.3.4", "10.1.2.3", NetIn { container_port: 80, ..NetIn::default() });
        assert_eq!(
            text(&wish),
            r#"{"HostIP":"1.2.3.4","HostPort":0,"ContainerIP":"10.1.2.3","ContainerPort":80}"#
        );
        let mapped = Mapped::parse(br#"{"host_port":61001,"container_port":80}"#).unwrap();
        assert_eq!((mapped.host_port, mapped.container_port), (61001, 80));
        for wrong in ["", "{}", r#"{"host_port":70000,"container_port":1}"#] {
            assert_eq!(
                Mapped::parse(wrong.as_bytes()).unwrap_err().kind(),
                ErrorKind::Unavailable,
                "{wrong}"
            );
        }
    }
}
