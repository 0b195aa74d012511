//! What a container's list of name servers is made of.

use std::net::{IpAddr, Ipv4Addr};

/// Between the host's list and the operator's servers, where both are written down.
const THEN_GIVEN: char = '\0';

/// What containers' lists of name servers are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Servers {
    /// The host's list; empty where the operator named servers.
    pub(super) host: String,
    /// Lines of the operator's servers.
    pub(super) given: String,
}

impl Servers {
    /// Reads what [`Servers::text`] wrote. Builds before did not write down what the operator gave.
    pub(super) fn parse(text: &str, given_now: &str) -> Self {
        let (host, given) = text.rsplit_once(THEN_GIVEN).unwrap_or((text, given_now));
        Servers { host: host.to_owned(), given: given.to_owned() }
    }

    pub(super) fn text(&self) -> String {
        format!("{}{THEN_GIVEN}{}", self.host, self.given)
    }

    /// The list of a container that reaches the host by this gateway.
    pub(super) fn rendered(&self, gateway: Option<Ipv4Addr>) -> String {
        from_host(&self.host, gateway) + &self.given
    }
}

/// Whether a line of a list of name servers names domains to search.
pub(super) fn is_search(line: &str) -> bool {
    matches!(line.split_whitespace().next(), Some("search" | "domain"))
}

pub(super) fn name_servers<'a>(servers: impl Iterator<Item = &'a IpAddr>) -> String {
    servers.map(|server| format!("nameserver {server}\n")).collect()
}

/// The host's list as a container can use it. A name server on the host's loopback interface is not there inside: where it
/// is the only line, the host runs one for itself, and is asked through the gateway, if there is one; else such lines are left
/// out.
fn from_host(text: &str, gateway: Option<Ipv4Addr>) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let [only] = lines[..]
        && server_of(only).is_some_and(is_hosts_own)
        && let Some(gateway) = gateway
    {
        return format!("nameserver {gateway}\n");
    }
    let usable = lines.into_iter().filter(|line| {
        !line.starts_with("nameserver") || server_of(line).is_some_and(|server| !is_hosts_own(server))
    });
    usable.map(|line| format!("{line}\n")).collect()
}

/// Whether a list names a resolver on the host and nobody else, and has more to say: containers cannot ask it, and are not meant
/// to ask it through their gateway, where it does not listen. So it is with systemd-resolved.
pub(super) fn names_a_stub(text: &str) -> bool {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    let mut servers = servers_of(text).peekable();
    lines > 1 && servers.peek().is_some() && servers.all(is_hosts_own)
}

/// Whether a list names a server that a container can ask.
pub(super) fn names_another(text: &str) -> bool {
    servers_of(text).any(|server| !is_hosts_own(server))
}

fn servers_of(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| server_of(line.trim()))
}

/// Whether an address is of whoever uses it: the loopback interface, or none at all, which stands for it.
fn is_hosts_own(server: IpAddr) -> bool {
    let server = server.to_canonical();
    server.is_loopback() || server.is_unspecified()
}

fn server_of(line: &str) -> Option<IpAddr> {
    let mut words = line.split_whitespace();
    if words.next() != Some("nameserver") {
        return None;
    }
    let address = words.next()?;
    // A link-local server is named with its interface, which a container does not have.
    address.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 254, 0, 1);

    /// Q249 to Q254, S6.10.
    ///
    /// Conformance: Q249-254
    #[test]
    fn the_hosts_name_servers_are_taken_over_as_far_as_a_container_reaches_them() {
        for (host, inside) in [
            ("", ""),
            ("nameserver 127.0.0.53\n", "nameserver 10.254.0.1\n"),
            ("nameserver ::1\n", "nameserver 10.254.0.1\n"),
            (
                "nameserver 127.0.0.1\nnameserver 10.0.0.2\nsearch a.example b.example\n",
                "nameserver 10.0.0.2\nsearch a.example b.example\n",
            ),
            (
                "options ndots:5\nnameserver ::1\nnameserver fd00::2\n",
                "options ndots:5\nnameserver fd00::2\n",
            ),
            (
                "nameserver 0.0.0.0\nnameserver ::\nnameserver ::ffff:127.0.0.1\nnameserver 10.0.0.2\n",
                "nameserver 10.0.0.2\n",
            ),
            (
                "nameserver\nnameserver x\nnameserver fe80::1%eth0\nnameserver 10.0.0.2 \n",
                "nameserver 10.0.0.2\n",
            ),
        ] {
            assert_eq!(from_host(host, Some(GATEWAY)), inside, "{host:?}");
        }
    }

    #[test]
    fn a_list_that_names_only_the_host_and_more_is_of_a_stub() {
        for (list, stub, another) in [
            ("", false, false),
            ("search a.example\n", false, false),
            ("nameserver 127.0.0.53\n", false, false),
            ("# made by a resolver\nnameserver 127.0.0.53\noptions edns0\n", true, false),
            ("nameserver 127.0.0.53\nnameserver ::1\n", true, false),
            ("nameserver 127.0.0.53\nnameserver 10.0.0.2\n", false, true),
            ("nameserver 10.0.0.2\n", false, true),
        ] {
            assert_eq!((names_a_stub(list), names_another(list)), (stub, another), "{list:?}");
        }
    }

    #[test]
    fn what_lists_are_made_of_reads_back() {
        let servers = Servers { host: "search a.example\n".into(), given: "nameserver 10.0.0.9\n".into() };
        assert_eq!(Servers::parse(&servers.text(), "other"), servers);
        let of_earlier_builds = Servers { host: "nameserver 10.0.0.2\n".into(), given: "now".into() };
        assert_eq!(Servers::parse("nameserver 10.0.0.2\n", "now"), of_earlier_builds);
    }
}
