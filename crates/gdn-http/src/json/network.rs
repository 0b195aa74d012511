//! Ports and rules.

use std::net::IpAddr;

use gdn_types::{Error, IcmpRule, IpRange, NetIn, NetOutRule, PortRange, Protocol, Result, Transport};
use serde::Serialize;

use super::fields::{Fields, list_of_objects};

/// Garden: `NetInRequest`.
pub(crate) fn net_in(mut wire: Fields) -> Result<NetIn> {
    let (host_port, container_port) = (wire.number("host_port")?, wire.number("container_port")?);
    Ok(NetIn { host_port, container_port, transport: Transport::Tcp })
}

/// Garden: `NetInResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct MappedPort {
    #[serde(skip_serializing_if = "is_zero")]
    host_port: u16,
    #[serde(skip_serializing_if = "is_zero")]
    container_port: u16,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the attribute passes a reference")]
fn is_zero(port: &u16) -> bool {
    *port == 0
}

impl From<NetIn> for MappedPort {
    fn from(NetIn { host_port, container_port, .. }: NetIn) -> Self {
        MappedPort { host_port, container_port }
    }
}

/// A rule as the body of a request.
pub(crate) fn net_out(body: &[u8]) -> Result<NetOutRule> {
    net_out_rule(Fields::parse(body)?)
}

/// A list of rules as the body of a request.
pub(crate) fn net_out_rules(body: &[u8]) -> Result<Vec<NetOutRule>> {
    list_of_objects(body)?.into_iter().map(net_out_rule).collect()
}

/// Garden: `NetOutRule`. What it says about ICMP counts for ICMP only.
pub(super) fn net_out_rule(mut wire: Fields) -> Result<NetOutRule> {
    let protocol = match wire.number::<u64>("protocol")? {
        0 => Protocol::All,
        1 => Protocol::Tcp,
        2 => Protocol::Udp,
        3 => Protocol::Icmp,
        4 => Protocol::Icmpv6,
        other => return Err(Error::invalid(format!("invalid protocol: {other}"))),
    };
    let icmp = wire.optional_object("icmps")?.map(icmp_rule).transpose()?.flatten();
    Ok(NetOutRule {
        protocol,
        networks: unless_one_is_all(wire.objects("networks", ip_range)?),
        ports: wire.objects("ports", port_range)?,
        icmp: icmp.filter(|_| matches!(protocol, Protocol::Icmp | Protocol::Icmpv6)),
        log: wire.boolean("log")?,
    })
}

/// A range of addresses without ends is everything, and so is a list that has one: an empty list says the same.
fn unless_one_is_all<T>(ranges: Vec<Option<T>>) -> Vec<T> {
    ranges.into_iter().collect::<Option<Vec<T>>>().unwrap_or_default()
}

/// Garden: `IPRange`; of one with one end only that address counts.
fn ip_range(mut wire: Fields) -> Result<Option<IpRange>> {
    let (start, end) = (wire.string("start")?, wire.string("end")?);
    let (start, end) = (address(&start)?, address(&end)?);
    let range = match (start, end) {
        (None, None) => return Ok(None),
        (Some(one), None) | (None, Some(one)) => IpRange { start: one, end: one },
        (Some(start), Some(end)) => IpRange { start, end },
    };
    Ok(Some(range))
}

fn address(text: &str) -> Result<Option<IpAddr>> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| Error::invalid(format!("invalid IP address: {text}")))?;
    Ok(Some(address.to_canonical()))
}

/// Garden: `PortRange`. A number that is left out is 0, and one that is 0 may be left out: without any it is port 0 alone, and
/// never all of them.
fn port_range(mut wire: Fields) -> Result<PortRange> {
    match (wire.number("start")?, wire.number("end")?) {
        (start, 0) => Ok(PortRange { start, end: start }),
        (start, end) => Ok(PortRange { start, end }),
    }
}

/// In the place of a type or a code it means all of them: clients of this protocol write the -1 of security groups so.
const ANY_ICMP: u8 = 255;

/// Garden: `ICMPControl`. Absent where it means every message.
fn icmp_rule(mut wire: Fields) -> Result<Option<IcmpRule>> {
    let (kind, code) = (wire.number("type")?, wire.optional_number("code")?);
    let code = code.filter(|code| *code != ANY_ICMP);
    Ok((kind != ANY_ICMP).then_some(IcmpRule { kind, code }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Result<NetOutRule> {
        net_out(text.as_bytes())
    }

    #[test]
    fn the_empty_rule_allows_everything() {
        assert_eq!(rule("{}").unwrap(), NetOutRule::default());
        assert_eq!(rule(r#"{"networks":null,"ports":[],"icmps":null}"#).unwrap(), NetOutRule::default());
    }

    #[test]
    fn a_range_with_one_end_is_one_address_and_one_with_none_is_all() {
        let one = |text| rule(text).unwrap().networks;
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let expected = [IpRange { start: address, end: address }];
        assert_eq!(one(r#"{"networks":[{"start":"10.0.0.1"}]}"#), expected);
        assert_eq!(one(r#"{"networks":[{"end":"::ffff:10.0.0.1"}]}"#), expected);
        assert_eq!(one(r#"{"networks":[{"start":"10.0.0.1"},{}]}"#), []);
        assert_eq!(
            rule(r#"{"protocol":1,"ports":[{"start":80}]}"#).unwrap().ports,
            [PortRange { start: 80, end: 80 }]
        );
    }

    #[test]
    fn a_range_of_ports_without_numbers_opens_no_other_port() {
        let (none, one) = (PortRange { start: 0, end: 0 }, PortRange { start: 443, end: 443 });
        for (text, expected) in [
            (r#"{"protocol":1,"ports":[{}]}"#, vec![none]),
            (r#"{"protocol":1,"ports":[{"start":0,"end":0}]}"#, vec![none]),
            (r#"{"protocol":1,"ports":[{"start":443,"end":443},{}]}"#, vec![one, none]),
        ] {
            assert_eq!(rule(text).unwrap().ports, expected, "{text}");
        }
    }

    #[test]
    fn what_is_said_about_icmp_counts_for_icmp_only() {
        assert_eq!(rule(r#"{"protocol":1,"icmps":{"type":8}}"#).unwrap().icmp, None);
        assert_eq!(
            rule(r#"{"protocol":4,"icmps":{"type":128}}"#).unwrap().icmp,
            Some(IcmpRule { kind: 128, code: None })
        );
    }

    #[test]
    fn unknown_protocols_and_addresses_are_named() {
        assert_eq!(rule(r#"{"protocol":9}"#).unwrap_err().message(), "invalid protocol: 9");
        assert!(rule(r#"{"networks":[{"start":"x"}]}"#).unwrap_err().message().contains('x'));
        assert!(rule(r#"{"protocol":3,"icmps":{"type":256}}"#).is_err());
        for (wire, icmp) in [
            (r#"{"type":255,"code":255}"#, None),
            (r#"{"type":255}"#, None),
            (r#"{"type":8,"code":255}"#, Some(IcmpRule { kind: 8, code: None })),
            (r#"{"type":8,"code":0}"#, Some(IcmpRule { kind: 8, code: Some(0) })),
        ] {
            assert_eq!(rule(&format!(r#"{{"protocol":3,"icmps":{wire}}}"#)).unwrap().icmp, icmp, "{wire}");
        }
    }

    #[test]
    fn a_list_of_rules_may_be_null() {
        assert!(net_out_rules(b"null").unwrap().is_empty());
        assert_eq!(net_out_rules(b"[{},{}]").unwrap().len(), 2);
        net_out_rules(b"{}").unwrap_err();
    }
}
