//! Containers on the screen.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use gdn_types::{ContainerInfo, ContainerMetrics, Error, ErrorKind, Handle, Properties};
use serde::Serialize;

use super::figures::Figures;
use super::{Show, columns, facts, time};

/// Some containers, one line each.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ContainerList(pub(crate) Vec<ContainerLine>);

/// One container in a list.
#[derive(Debug, Serialize)]
pub(crate) struct ContainerLine {
    /// Its name.
    pub(crate) handle: String,
    /// Where it is in its life.
    pub(crate) state: String,
    /// Its address; empty without a network.
    pub(crate) ip: String,
    /// How many processes run.
    pub(crate) processes: usize,
    /// When it was created, in milliseconds since 1970.
    pub(crate) created_at_ms: u64,
    /// Why the state is not an ordinary one; empty otherwise.
    pub(crate) reason: String,
}

impl ContainerLine {
    /// A container, or why nothing is known of it; `None` when it is gone by now.
    pub(crate) fn new(handle: &Handle, info: Result<ContainerInfo, Error>) -> Option<Self> {
        let handle = handle.to_string();
        match info {
            Ok(info) => Some(ContainerLine {
                handle,
                state: info.state.name().to_owned(),
                ip: info.container_ip,
                processes: info.process_ids.len(),
                created_at_ms: info.created_at_ms,
                reason: info.reason,
            }),
            Err(error) if error.kind() == ErrorKind::ContainerNotFound => None,
            Err(error) => Some(ContainerLine {
                handle,
                state: "unknown".to_owned(),
                ip: String::new(),
                processes: 0,
                created_at_ms: 0,
                reason: error.report(),
            }),
        }
    }
}

impl Show for ContainerList {
    fn text(&self) -> String {
        let now = time::unix_ms(SystemTime::now());
        columns(
            ["HANDLE", "STATE", "IP", "PROCESSES", "AGE", "REASON"],
            self.0.iter().map(|line| {
                let age = match line.created_at_ms {
                    0 => String::new(),
                    created => time::age(Duration::from_millis(now.saturating_sub(created))),
                };
                let reason = line.reason.clone();
                [
                    line.handle.clone(),
                    line.state.clone(),
                    line.ip.clone(),
                    line.processes.to_string(),
                    age,
                    reason,
                ]
            }),
        )
    }
}

/// Everything about some containers.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ContainerDetailsList(pub(crate) Vec<ContainerDetails>);

impl Show for ContainerDetailsList {
    fn text(&self) -> String {
        self.0.iter().map(ContainerDetails::facts).collect::<Vec<_>>().join("\n\n")
    }
}

/// Everything about one container.
#[derive(Debug, Serialize)]
pub(crate) struct ContainerDetails {
    handle: String,
    state: &'static str,
    reason: String,
    events: Vec<String>,
    created_at: String,
    host_ip: String,
    container_ip: String,
    container_ipv6: String,
    external_ip: String,
    container_path: String,
    init_pid: u32,
    host_ids: Option<Ids>,
    process_ids: Vec<String>,
    image_command: Vec<String>,
    mapped_ports: Vec<Port>,
    properties: BTreeMap<String, String>,
    metrics: Option<Figures>,
}

#[derive(Debug, Serialize)]
struct Ids {
    first: u32,
    count: u32,
}

#[derive(Debug, Serialize)]
struct Port {
    host_port: u16,
    container_port: u16,
    protocol: &'static str,
}

impl ContainerDetails {
    /// Gathers what is known; the figures of a container that does not run are absent.
    pub(crate) fn new(handle: &Handle, info: ContainerInfo, metrics: Option<ContainerMetrics>) -> Self {
        let port = |port: &gdn_types::PortMapping| Port {
            host_port: port.host_port,
            container_port: port.container_port,
            protocol: port.transport.name(),
        };
        ContainerDetails {
            handle: handle.to_string(),
            state: info.state.name(),
            reason: info.reason,
            events: info.events,
            created_at: time::rfc3339(info.created_at_ms),
            host_ip: info.host_ip,
            container_ip: info.container_ip,
            container_ipv6: info.container_ipv6,
            external_ip: info.external_ip,
            container_path: info.container_path,
            init_pid: info.init_pid,
            host_ids: info.host_ids.map(|ids| Ids { first: ids.first(), count: ids.count() }),
            process_ids: info.process_ids,
            image_command: info.image_command,
            mapped_ports: info.mapped_ports.iter().map(port).collect(),
            properties: property_map(&info.properties),
            metrics: metrics.map(Figures::from),
        }
    }

    /// One line per fact that there is.
    fn facts(&self) -> String {
        let list = |list: &[String]| list.join(" ");
        let mut lines: Vec<(&str, String)> = vec![
            ("handle", self.handle.clone()),
            ("state", self.state.to_owned()),
            ("reason", self.reason.clone()),
            ("events", self.events.join(", ")),
            ("created", self.created_at.clone()),
            ("init pid", if self.init_pid == 0 { String::new() } else { self.init_pid.to_string() }),
            ("host ids", self.host_ids.as_ref().map_or_else(String::new, Ids::text)),
            ("processes", list(&self.process_ids)),
            ("image command", list(&self.image_command)),
            ("path", self.container_path.clone()),
            ("address", self.container_ip.clone()),
            ("IPv6 address", self.container_ipv6.clone()),
            ("gateway", self.host_ip.clone()),
            ("external address", self.external_ip.clone()),
        ];
        let text = |port: &Port| match port.protocol {
            "tcp" => format!("{}:{}", port.host_port, port.container_port),
            other => format!("{}:{}/{other}", port.host_port, port.container_port),
        };
        let ports = self.mapped_ports.iter().map(text);
        lines.push(("ports", ports.collect::<Vec<_>>().join(" ")));
        if let Some(figures) = &self.metrics {
            lines.extend(figures.facts());
        }
        let properties =
            self.properties.iter().map(|(key, value)| ("property".to_owned(), format!("{key}={value}")));
        let lines = lines.into_iter().map(|(name, value)| (name.to_owned(), value));
        facts(lines.filter(|(_, value)| !value.is_empty()).chain(properties))
    }
}

impl Ids {
    fn text(&self) -> String {
        format!("{}-{}", self.first, self.first + (self.count - 1))
    }
}

/// Properties as a JSON object.
pub(crate) fn property_map(properties: &Properties) -> BTreeMap<String, String> {
    properties.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> ContainerInfo {
        ContainerInfo {
            init_pid: 42,
            process_ids: vec!["p1".into()],
            properties: Properties::from_pairs([("owner", "me")]).unwrap(),
            ..ContainerInfo::default()
        }
    }

    #[test]
    fn a_list_has_a_line_for_each_container() {
        let handle = Handle::parse("web-1").unwrap();
        let list = ContainerList(vec![ContainerLine::new(&handle, Ok(info())).unwrap()]);
        let text = list.text();
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[0], ["HANDLE", "STATE", "IP", "PROCESSES", "AGE", "REASON"]);
        assert_eq!(lines[1], ["web-1", "active", "1"]);
        let json = serde_json::to_value(&list).unwrap();
        assert_eq!(json[0]["handle"], "web-1");
        assert_eq!(json[0]["processes"], 1);
    }

    #[test]
    fn a_container_that_vanished_meanwhile_is_not_listed_and_a_failing_one_says_why() {
        let handle = Handle::parse("h").unwrap();
        assert!(ContainerLine::new(&handle, Err(Error::container_not_found(&handle))).is_none());
        let line = ContainerLine::new(&handle, Err(Error::internal("no keeper"))).unwrap();
        assert_eq!((line.state.as_str(), line.reason.as_str()), ("unknown", "no keeper"));
    }

    #[test]
    fn details_leave_out_what_there_is_not() {
        let handle = Handle::parse("h").unwrap();
        let details = ContainerDetailsList(vec![ContainerDetails::new(&handle, info(), None)]);
        let text = details.text();
        assert!(text.contains("init pid") && text.contains("owner=me"), "{text}");
        assert!(!text.contains("gateway") && !text.contains("memory"), "{text}");
        assert_eq!(serde_json::to_value(&details).unwrap()[0]["properties"]["owner"], "me");
    }
}
