//! Addresses and firewall rules, as people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gdn_types::{Error, IcmpRule, IpRange, NetOutRule, PortRange, Protocol, Result};

use super::decimal;

/// One address, a network (`10.0.0.0/8`) or a range (`10.0.0.1-10.0.0.9`), of either family.
///
/// # Errors
/// `InvalidArgument` naming the text.
pub(crate) fn ip_range(text: &str) -> Result<IpRange> {
    let bad = || Error::invalid(format!("{text:?} is no address, network (IP/LENGTH) or range (IP-IP)"));
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| bad());
    if let Some((start, end)) = text.split_once('-') {
        return Ok(IpRange { start: address(start)?, end: address(end)? });
    }
    let Some((base, length)) = text.split_once('/') else {
        let one = address(text)?;
        return Ok(IpRange { start: one, end: one });
    };
    let length = decimal(length).and_then(|number| u32::try_from(number).ok()).ok_or_else(bad)?;
    match address(base)? {
        IpAddr::V4(base) if length <= 32 => {
            let rest = u32::MAX.checked_shr(length).unwrap_or(0);
            let start = u32::from(base) & !rest;
            Ok(IpRange { start: Ipv4Addr::from(start).into(), end: Ipv4Addr::from(start | rest).into() })
        }
        IpAddr::V6(base) if length <= 128 => {
            let rest = u128::MAX.checked_shr(length).unwrap_or(0);
            let start = u128::from(base) & !rest;
            Ok(IpRange { start: Ipv6Addr::from(start).into(), end: Ipv6Addr::from(start | rest).into() })
        }
        _ => Err(bad()),
    }
}

/// A rule of what a container may reach: a protocol and further words behind commas, such as
/// `tcp,to=10.0.0.0/8,ports=80-90,log`.
///
/// # Errors
/// `InvalidArgument` naming the word that is wrong.
pub(crate) fn net_out_rule(text: &str) -> Result<NetOutRule> {
    let mut words = text.split(',');
    let protocol = match words.next().unwrap_or_default() {
        "all" => Protocol::All,
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "icmp" => Protocol::Icmp,
        "icmpv6" => Protocol::Icmpv6,
        other => {
            return Err(Error::invalid(format!(
                "rule {text:?} begins with {other:?}, not with one of all, tcp, udp, icmp, icmpv6"
            )));
        }
    };
    let mut rule = NetOutRule { protocol, ..NetOutRule::default() };
    for word in words {
        match word.split_once('=') {
            None if word == "log" => rule.log = true,
            Some(("to", range)) => rule.networks.push(ip_range(range)?),
            Some(("ports", range)) => rule.ports.push(port_range(range)?),
            Some(("type", kind)) => rule.icmp = Some(icmp_rule(kind)?),
            _ => {
                return Err(Error::invalid(format!(
                    "rule {text:?} has {word:?}, which is none of to=IP/LENGTH, ports=N[-N], type=N[/CODE], log"
                )));
            }
        }
    }
    Ok(rule)
}

/// A rule as [`net_out_rule`] reads it.
pub(crate) fn net_out_text(rule: &NetOutRule) -> String {
    let mut words = vec![
        match rule.protocol {
            Protocol::All => "all",
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
            Protocol::Icmpv6 => "icmpv6",
        }
        .to_owned(),
    ];
    words.extend(rule.networks.iter().map(|range| match range.start == range.end {
        true => format!("to={}", range.start),
        false => format!("to={}-{}", range.start, range.end),
    }));
    words.extend(rule.ports.iter().map(|range| match range.start == range.end {
        true => format!("ports={}", range.start),
        false => format!("ports={}-{}", range.start, range.end),
    }));
    words.extend(rule.icmp.map(|icmp| match icmp.code {
        Some(code) => format!("type={}/{code}", icmp.kind),
        None => format!("type={}", icmp.kind),
    }));
    words.extend(rule.log.then(|| "log".to_owned()));
    words.join(",")
}

fn port_range(text: &str) -> Result<PortRange> {
    let bad = || Error::invalid(format!("{text:?} is no port or range of ports, such as 80 or 8000-8010"));
    let port = |digits: &str| decimal(digits).and_then(|number| u16::try_from(number).ok()).ok_or_else(bad);
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    Ok(PortRange { start: port(start)?, end: port(end)? })
}

fn icmp_rule(text: &str) -> Result<IcmpRule> {
    let bad = || Error::invalid(format!("{text:?} is no ICMP type, such as 8 or 3/1"));
    let byte = |digits: &str| decimal(digits).and_then(|number| u8::try_from(number).ok()).ok_or_else(bad);
    Ok(match text.split_once('/') {
        Some((kind, code)) => IcmpRule { kind: byte(kind)?, code: Some(byte(code)?) },
        None => IcmpRule { kind: byte(text)?, code: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> IpRange {
        IpRange { start: start.parse().unwrap(), end: end.parse().unwrap() }
    }

    #[test]
    fn addresses_are_one_a_network_or_a_range() {
        for (text, start, end) in [
            ("10.0.0.7", "10.0.0.7", "10.0.0.7"),
            ("10.1.2.3/8", "10.0.0.0", "10.255.255.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("10.0.0.1/32", "10.0.0.1", "10.0.0.1"),
            ("10.0.0.1-10.0.0.9", "10.0.0.1", "10.0.0.9"),
            ("fd00::/126", "fd00::", "fd00::3"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(ip_range(text).unwrap(), range(start, end), "{text}");
        }
        for wrong in ["", "x", "10.0.0.0/33", "10.0.0.0/", "fd00::/129", "10.0.0.1-", "10.0.0.0/8/8"] {
            assert!(ip_range(wrong).unwrap_err().to_string().contains(&format!("{wrong:?}")), "{wrong}");
        }
    }

    #[test]
    fn a_rule_is_a_protocol_with_what_it_leads_to() {
        assert_eq!(net_out_rule("all").unwrap(), NetOutRule::default());
        let rule = net_out_rule("tcp,to=10.0.0.0/8,to=fd00::1,ports=80,ports=8000-8010,log").unwrap();
        assert_eq!((rule.protocol, rule.networks.len(), rule.log), (Protocol::Tcp, 2, true));
        assert_eq!(rule.ports[1], PortRange { start: 8000, end: 8010 });
        let echo = net_out_rule("icmp,type=8/0").unwrap();
        assert_eq!(echo.icmp, Some(IcmpRule { kind: 8, code: Some(0) }));
        for text in [
            "all",
            "tcp,to=10.0.0.0-10.0.0.9,to=fd00::1,ports=80,ports=1-9,log",
            "icmp,type=8/0",
            "icmpv6,type=128",
        ] {
            assert_eq!(net_out_text(&net_out_rule(text).unwrap()), text);
        }
        for wrong in
            ["", "sctp", "tcp,", "tcp,80", "tcp,ports=x", "tcp,ports=1-70000", "icmp,type=256", "tcp,to="]
        {
            assert!(net_out_rule(wrong).is_err(), "{wrong}");
        }
    }
}
