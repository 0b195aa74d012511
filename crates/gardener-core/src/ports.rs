//! The property `garden.network.mapped-ports`: a JSON list of pairs, as the reference engine writes it. Ports of UDP, which
//! that engine does not have, say so by a third member.

use gdn_types::{PortMapping, Transport};

/// What a port of UDP has besides.
const UDP: &str = r#","Protocol":"udp""#;

/// The list as JSON.
pub(crate) fn to_json(ports: &[PortMapping]) -> String {
    let pairs: Vec<String> = ports
        .iter()
        .map(|port| {
            let protocol = match port.transport {
                Transport::Tcp => "",
                Transport::Udp => UDP,
            };
            format!(r#"{{"HostPort":{},"ContainerPort":{}{protocol}}}"#, port.host_port, port.container_port)
        })
        .collect();
    format!("[{}]", pairs.join(","))
}

/// Reads back what [`to_json`] wrote; absent when it is something else.
pub(crate) fn from_json(text: &str) -> Option<Vec<PortMapping>> {
    let list = text.strip_prefix('[')?.strip_suffix(']')?;
    if list.is_empty() {
        return Some(Vec::new());
    }
    list.split("},").map(pair).collect()
}

fn pair(text: &str) -> Option<PortMapping> {
    let members = text.trim_end_matches('}').strip_prefix(r#"{"HostPort":"#)?;
    let (host, container) = members.split_once(r#","ContainerPort":"#)?;
    let (container, transport) = match container.strip_suffix(UDP) {
        Some(container) => (container, Transport::Udp),
        None => (container, Transport::Tcp),
    };
    Some(PortMapping { host_port: host.parse().ok()?, container_port: container.parse().ok()?, transport })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_reads_back_as_it_was_written() {
        let ports = [
            PortMapping { host_port: 61001, container_port: 8080, transport: Transport::Tcp },
            PortMapping { host_port: 1, container_port: 65535, transport: Transport::Udp },
        ];
        let text = r#"[{"HostPort":61001,"ContainerPort":8080},{"HostPort":1,"ContainerPort":65535,"Protocol":"udp"}]"#;
        assert_eq!(to_json(&ports), text);
        assert_eq!(from_json(text).unwrap(), ports);
        assert_eq!(from_json("[]").unwrap(), []);
    }

    #[test]
    fn what_a_client_may_have_put_there_is_not_taken_for_ports() {
        for text in [
            "",
            "x",
            "[1]",
            r#"[{"HostPort":1,"ContainerPort":1,"Protocol":"x"}]"#,
            r#"[{"HostPort":70000,"ContainerPort":1}]"#,
            r#"[{"ContainerPort":1}]"#,
        ] {
            assert!(from_json(text).is_none(), "{text:?}");
        }
    }
}
