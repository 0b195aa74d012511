//! Networks, port mappings and firewall rules.

use std::net::IpAddr;

use gdn_types::{
    Egress, Error, IcmpRule, IpRange, NetIn, NetOutRule, NetworkMode, PortMapping, PortRange, Protocol,
    Result, Transport, push_address,
};

use super::{all, enumeration, narrow, octet};
use crate::garden::{self, network_mode::Mode};

impl From<garden::NetworkMode> for NetworkMode {
    fn from(wire: garden::NetworkMode) -> Self {
        match wire.mode {
            None => NetworkMode::Default,
            Some(Mode::None(garden::NoNetwork {})) => NetworkMode::None,
            Some(Mode::Pool(pool)) => NetworkMode::Pool(pool.request),
        }
    }
}

impl From<NetworkMode> for garden::NetworkMode {
    fn from(mode: NetworkMode) -> Self {
        let mode = match mode {
            NetworkMode::Default => None,
            NetworkMode::None => Some(Mode::None(garden::NoNetwork {})),
            NetworkMode::Pool(request) => Some(Mode::Pool(garden::PoolNetwork { request })),
        };
        garden::NetworkMode { mode }
    }
}

impl TryFrom<garden::PortMap> for NetIn {
    type Error = Error;

    fn try_from(wire: garden::PortMap) -> Result<Self> {
        Ok(NetIn {
            host_port: narrow("host port", wire.host_port)?,
            container_port: narrow("container port", wire.container_port)?,
            transport: match enumeration("protocol of a port", wire.protocol)? {
                garden::PortProtocol::Unspecified | garden::PortProtocol::Tcp => Transport::Tcp,
                garden::PortProtocol::Udp => Transport::Udp,
            },
        })
    }
}

impl From<NetIn> for garden::PortMap {
    fn from(netin: NetIn) -> Self {
        garden::PortMap {
            host_port: netin.host_port.into(),
            container_port: netin.container_port.into(),
            protocol: port_protocol(netin.transport).into(),
        }
    }
}

impl TryFrom<garden::PortMap> for PortMapping {
    type Error = Error;

    fn try_from(wire: garden::PortMap) -> Result<Self> {
        let NetIn { host_port, container_port, transport } = wire.try_into()?;
        Ok(PortMapping { host_port, container_port, transport })
    }
}

impl From<PortMapping> for garden::PortMap {
    fn from(mapping: PortMapping) -> Self {
        let PortMapping { host_port, container_port, transport } = mapping;
        NetIn { host_port, container_port, transport }.into()
    }
}

fn port_protocol(transport: Transport) -> garden::PortProtocol {
    match transport {
        Transport::Tcp => garden::PortProtocol::Tcp,
        Transport::Udp => garden::PortProtocol::Udp,
    }
}

/// What a container may reach by default; absent when nothing is said of it.
pub(super) fn egress(wire: i32) -> Result<Option<Egress>> {
    Ok(match enumeration("egress", wire)? {
        garden::Egress::Unspecified => None,
        garden::Egress::Allow => Some(Egress::Allow),
        garden::Egress::Deny => Some(Egress::Deny),
    })
}

impl From<Egress> for garden::Egress {
    fn from(egress: Egress) -> Self {
        match egress {
            Egress::Allow => garden::Egress::Allow,
            Egress::Deny => garden::Egress::Deny,
        }
    }
}

impl TryFrom<garden::NetOutRule> for NetOutRule {
    type Error = Error;

    fn try_from(wire: garden::NetOutRule) -> Result<Self> {
        Ok(NetOutRule {
            protocol: match enumeration("protocol", wire.protocol)? {
                garden::Protocol::Unspecified | garden::Protocol::All => Protocol::All,
                garden::Protocol::Tcp => Protocol::Tcp,
                garden::Protocol::Udp => Protocol::Udp,
                garden::Protocol::Icmp => Protocol::Icmp,
                garden::Protocol::Icmpv6 => Protocol::Icmpv6,
            },
            networks: all(wire.networks)?,
            ports: all(wire.ports)?,
            icmp: wire.icmp.map(IcmpRule::try_from).transpose()?,
            log: wire.log,
        })
    }
}

impl From<NetOutRule> for garden::NetOutRule {
    fn from(rule: NetOutRule) -> Self {
        (&rule).into()
    }
}

impl From<&NetOutRule> for garden::NetOutRule {
    fn from(rule: &NetOutRule) -> Self {
        let protocol = match rule.protocol {
            Protocol::All => garden::Protocol::All,
            Protocol::Tcp => garden::Protocol::Tcp,
            Protocol::Udp => garden::Protocol::Udp,
            Protocol::Icmp => garden::Protocol::Icmp,
            Protocol::Icmpv6 => garden::Protocol::Icmpv6,
        };
        let ip_range =
            |range: &IpRange| garden::IpRange { start: text_of(range.start), end: text_of(range.end) };
        let port_range =
            |range: &PortRange| garden::PortRange { start: range.start.into(), end: Some(range.end.into()) };
        garden::NetOutRule {
            protocol: protocol.into(),
            networks: rule.networks.iter().map(ip_range).collect(),
            ports: rule.ports.iter().map(port_range).collect(),
            icmp: rule
                .icmp
                .map(|icmp| garden::IcmpRule { r#type: icmp.kind.into(), code: icmp.code.map(Into::into) }),
            log: rule.log,
        }
    }
}

fn text_of(address: IpAddr) -> String {
    let mut text = String::with_capacity(15);
    push_address(&mut text, address);
    text
}

impl TryFrom<garden::IpRange> for IpRange {
    type Error = Error;

    fn try_from(wire: garden::IpRange) -> Result<Self> {
        let start = address(&wire.start)?;
        let end = if wire.end.is_empty() { start } else { address(&wire.end)? };
        Ok(IpRange { start, end })
    }
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Error::invalid(format!("{text:?} is not an IP address")))
}

impl TryFrom<garden::PortRange> for PortRange {
    type Error = Error;

    fn try_from(wire: garden::PortRange) -> Result<Self> {
        let start = narrow("first port", wire.start)?;
        Ok(PortRange { start, end: wire.end.map_or(Ok(start), |end| narrow("last port", end))? })
    }
}

impl TryFrom<garden::IcmpRule> for IcmpRule {
    type Error = Error;

    fn try_from(wire: garden::IcmpRule) -> Result<Self> {
        let code = wire.code.map(|code| octet("ICMP code", code)).transpose()?;
        Ok(IcmpRule { kind: octet("ICMP type", wire.r#type)?, code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_network_mode_reads_back() {
        for mode in [
            NetworkMode::Default,
            NetworkMode::None,
            NetworkMode::Pool(String::new()),
            NetworkMode::Pool("x".into()),
        ] {
            assert_eq!(NetworkMode::from(garden::NetworkMode::from(mode.clone())), mode);
        }
    }

    #[test]
    fn a_range_without_an_end_is_one_member() {
        let range =
            IpRange::try_from(garden::IpRange { start: "10.0.0.1".into(), end: String::new() }).unwrap();
        assert_eq!(range.start, range.end);
        let range = PortRange::try_from(garden::PortRange { start: 80, end: None }).unwrap();
        assert_eq!((range.start, range.end), (80, 80));
        assert_eq!(PortRange::try_from(garden::PortRange { start: 80, end: Some(0) }).unwrap().end, 0);
    }

    #[test]
    fn what_is_no_address_or_too_large_is_refused() {
        assert!(
            IpRange::try_from(garden::IpRange { start: "10.0.0.0/8".into(), end: String::new() }).is_err()
        );
        assert!(PortRange::try_from(garden::PortRange { start: 1, end: Some(65_536) }).is_err());
        assert!(IcmpRule::try_from(garden::IcmpRule { r#type: 256, code: None }).is_err());
        assert!(NetOutRule::try_from(garden::NetOutRule { protocol: 77, ..Default::default() }).is_err());
        assert!(NetIn::try_from(garden::PortMap { protocol: 77, ..Default::default() }).is_err());
        assert!(egress(77).is_err());
    }

    #[test]
    fn a_port_is_of_tcp_unless_it_says_otherwise() {
        assert_eq!(NetIn::try_from(garden::PortMap::default()).unwrap().transport, Transport::Tcp);
        for transport in [Transport::Tcp, Transport::Udp] {
            let netin = NetIn { host_port: 1, container_port: 2, transport };
            assert_eq!(NetIn::try_from(garden::PortMap::from(netin)).unwrap(), netin);
            let mapping = PortMapping { host_port: 1, container_port: 2, transport };
            assert_eq!(PortMapping::try_from(garden::PortMap::from(mapping)).unwrap(), mapping);
        }
    }

    fn rules() -> impl Strategy<Value = NetOutRule> {
        let protocol = prop::sample::select(vec![
            Protocol::All,
            Protocol::Tcp,
            Protocol::Udp,
            Protocol::Icmp,
            Protocol::Icmpv6,
        ]);
        let ip = any::<(IpAddr, IpAddr)>().prop_map(|(start, end)| IpRange { start, end });
        let port = any::<(u16, u16)>().prop_map(|(start, end)| PortRange { start, end });
        let icmp = any::<(u8, Option<u8>)>().prop_map(|(kind, code)| IcmpRule { kind, code });
        let lists =
            (prop::collection::vec(ip, 0..4), prop::collection::vec(port, 0..4), prop::option::of(icmp));
        (protocol, lists, any::<bool>()).prop_map(|(protocol, (networks, ports, icmp), log)| NetOutRule {
            protocol,
            networks,
            ports,
            icmp,
            log,
        })
    }

    proptest! {
        #[test]
        fn a_rule_reads_back_as_it_was_sent(rule in rules()) {
            prop_assert_eq!(NetOutRule::try_from(garden::NetOutRule::from(rule.clone())).unwrap(), rule);
        }
    }
}
