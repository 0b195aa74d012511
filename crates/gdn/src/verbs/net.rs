//! `gdn net`: ports and firewall rules of a container.

use anyhow::Context;
use clap::{Args, Subcommand};
use gdn_types::{Handle, NetIn, NetOutRule, PortMapping, Transport};
use serde::Serialize;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::{self, Show, columns};
use crate::values;

/// Map ports of a container and open destinations to it.
#[derive(Debug, Args)]
pub(crate) struct Net {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lead ports of the host into the container
    In {
        /// Container
        #[arg(value_parser = Handle::parse)]
        handle: Handle,
        /// Ports; without one of the host, the next of the server's pool
        #[arg(required = true, value_name = "[HOST:]CONTAINER[/tcp|udp]", value_parser = values::port_mapping)]
        ports: Vec<NetIn>,
    },
    /// Let the container reach further destinations, all of the rules or none
    ///
    /// A rule is a protocol (all, tcp, udp, icmp, icmpv6) with words behind commas: to=IP/LENGTH or to=IP-IP, ports=N or
    /// ports=N-N, type=N/CODE, log. What is not said is not limited: `tcp,ports=443` goes to every address.
    #[command(verbatim_doc_comment)]
    Out {
        /// Container
        #[arg(value_parser = Handle::parse)]
        handle: Handle,
        /// Rules, such as tcp,to=10.0.0.0/8,ports=80-90,log
        #[arg(required = true, value_name = "RULE", value_parser = values::net_out_rule)]
        rules: Vec<NetOutRule>,
    },
    /// Put rules in the place of all that were added, in one step; without any, only the default is left
    Replace {
        /// Container
        #[arg(value_parser = Handle::parse)]
        handle: Handle,
        /// Rules, as for `out`
        #[arg(value_name = "RULE", value_parser = values::net_out_rule)]
        rules: Vec<NetOutRule>,
        /// Only if the rules in force are of this generation
        #[arg(long, value_name = "NUMBER")]
        generation: Option<u64>,
    },
    /// Print the container's addresses, mapped ports and rules
    Show {
        /// Container
        #[arg(value_parser = Handle::parse)]
        handle: Handle,
    },
}

/// Mapped ports, one line each.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Ports(Vec<Port>);

#[derive(Debug, Serialize)]
struct Port {
    host_port: u16,
    container_port: u16,
    protocol: &'static str,
}

impl Port {
    fn of(port: PortMapping) -> Self {
        let PortMapping { host_port, container_port, transport } = port;
        Port { host_port, container_port, protocol: transport.name() }
    }

    /// TCP goes without saying.
    fn text(&self) -> String {
        let suffix = if self.protocol == Transport::Tcp.name() { "" } else { "/udp" };
        format!("{} -> {}{suffix}", self.host_port, self.container_port)
    }
}

impl Show for Ports {
    fn text(&self) -> String {
        self.0.iter().map(|port| port.text() + "\n").collect()
    }
}

/// A container's place in the network.
#[derive(Debug, Serialize)]
struct Place {
    handle: String,
    container_ip: String,
    container_ipv6: String,
    gateway: String,
    external_ip: String,
    ports: Vec<Port>,
    generation: u64,
    rules: Vec<String>,
}

/// How many times rules were replaced.
#[derive(Debug, Serialize)]
struct Generation {
    generation: u64,
}

impl Show for Generation {
    fn text(&self) -> String {
        format!("{}\n", self.generation)
    }
}

impl Show for Place {
    fn text(&self) -> String {
        let ports: Vec<String> = self.ports.iter().map(Port::text).collect();
        let row = [
            self.handle.clone(),
            self.container_ip.clone(),
            self.container_ipv6.clone(),
            self.gateway.clone(),
            self.external_ip.clone(),
            ports.join(", "),
        ];
        let place = columns(["HANDLE", "IP", "IPV6", "GATEWAY", "EXTERNAL IP", "PORTS"], [row]);
        self.rules.iter().fold(place, |text, rule| format!("{text}\nallows {rule}"))
    }
}

impl Net {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        match self.action {
            Action::In { handle, ports } => {
                let (mut mapped, mut refused) = (Vec::new(), Ok(()));
                for port in ports {
                    match client.net_in(&handle, port).await {
                        Ok(NetIn { host_port, container_port, transport }) => {
                            mapped.push(Port::of(PortMapping { host_port, container_port, transport }));
                        }
                        Err(error) => {
                            let doing = format!("cannot map port {} of \"{handle}\"", port.container_port);
                            refused = Err(anyhow::Error::new(error).context(doing));
                            break;
                        }
                    }
                }
                // Those before one that was refused are mapped, and stay so.
                output::show(global.format, &Ports(mapped))?;
                refused?;
            }
            Action::Out { handle, rules } => {
                client
                    .net_out(&handle, &rules)
                    .await
                    .with_context(|| format!("cannot open destinations to \"{handle}\""))?;
            }
            Action::Replace { handle, rules, generation } => {
                let generation = client
                    .net_replace(&handle, &rules, generation)
                    .await
                    .with_context(|| format!("cannot replace the rules of \"{handle}\""))?;
                output::show(global.format, &Generation { generation })?;
            }
            Action::Show { handle } => {
                let rules = client
                    .net_rules(&handle)
                    .await
                    .with_context(|| format!("cannot read the rules of \"{handle}\""))?;
                let info =
                    client.info(&handle).await.with_context(|| format!("cannot inspect \"{handle}\""))?;
                output::show(
                    global.format,
                    &Place {
                        handle: handle.to_string(),
                        container_ip: info.container_ip,
                        container_ipv6: info.container_ipv6,
                        gateway: info.host_ip,
                        external_ip: info.external_ip,
                        ports: info.mapped_ports.into_iter().map(Port::of).collect(),
                        generation: rules.generation,
                        rules: rules.rules.iter().map(values::net_out_text).collect(),
                    },
                )?;
            }
        }
        Ok(DONE)
    }
}
