//! What an engine is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use containerizer::{Policy, Runtime};
use gardener_core::{AfterReboot, Config, CpuThrottling, Entitlement, IdPool};
use gdn_grpc::{GrpcConfig, TlsConfig, UnixListenerSpec};
use gdn_types::{ApparmorProfile, IpRange, SeccompProfile};
use networker::{DnsConfig, Egress, Plugin, Prefix, Subnet};

use super::debug::DebugSettings;
use super::garden::GardenSettings;
use crate::cli::Global;

/// Without another, this image: the one that is always there.
pub(crate) const DEFAULT_IMAGE: &str = "builtin:hello";

/// What an engine is started with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The directory that holds everything.
    pub(crate) root: PathBuf,
    /// The socket to listen on.
    pub(crate) socket: PathBuf,
    /// The port to listen on beside.
    pub(crate) tls: Option<TlsSettings>,
    /// The front door for Garden's clients.
    pub(crate) garden: Option<GardenSettings>,
    /// The port for operators.
    pub(crate) debug: Option<DebugSettings>,
    /// The most containers; 0 = no limit.
    pub(crate) max_containers: u64,
    /// For how long a container may go without a request when its client says nothing; zero = for ever.
    pub(crate) default_grace_time: Duration,
    /// Whether clients may have privileged containers.
    pub(crate) allow_privileged: bool,
    /// The image of a container whose client names none.
    pub(crate) default_image: String,
    /// What happens to containers of an earlier life of the host.
    pub(crate) after_reboot: AfterReboot,
    /// Whether all containers are destroyed at the start.
    pub(crate) destroy_on_start: bool,
    /// Whether names of processes that were waited for may be taken again.
    pub(crate) release_names_on_wait: bool,
    /// What each share of a container's weight entitles it to; absent: a part of the machine.
    pub(crate) cpu_entitlement: Option<Entitlement>,
    /// Whether containers that used more than that give way, and how.
    pub(crate) cpu_throttling: Option<CpuThrottling>,
    /// Out of which unprivileged containers get host ids of their own.
    pub(crate) id_pool: Option<IdPool>,
    /// What holds for every container.
    pub(crate) policy: Policy,
    /// Which system calls are allowed where a client says nothing.
    pub(crate) seccomp: SeccompProfile,
    /// Which AppArmor profile confines containers where a client says nothing.
    pub(crate) apparmor: ApparmorProfile,
    /// Kernel settings of containers whose client does not name them.
    pub(crate) sysctls: Vec<(String, String)>,
    /// The network of containers; absent: they have loopback only.
    pub(crate) network: Option<NetworkSettings>,
    /// The network in which containers of an earlier run that have one are looked after, where `network` is absent.
    pub(crate) network_of_old: Option<NetworkSettings>,
    /// The program that makes containers and starts processes, if not the engine itself.
    pub(crate) runtime: Option<Runtime>,
}

/// The network of containers.
#[derive(Clone, Debug)]
pub(crate) enum NetworkSettings {
    /// The engine makes it.
    Own(OwnNetwork),
    /// A program makes it.
    Plugin { plugin: Plugin, dns: DnsConfig, external_ip: Option<Ipv4Addr> },
}

/// A network that the engine makes.
#[derive(Clone, Debug)]
pub(crate) struct OwnNetwork {
    pub(crate) pool: Subnet,
    pub(crate) pool6: Option<(Prefix, u8)>,
    pub(crate) port_pool_start: u16,
    pub(crate) port_pool_size: u16,
    pub(crate) default_egress: Egress,
    pub(crate) deny_networks: Vec<IpRange>,
    pub(crate) allow_host_access: bool,
    pub(crate) dns: DnsConfig,
    pub(crate) external_ip: Option<Ipv4Addr>,
    pub(crate) mtu: Option<u32>,
}

impl OwnNetwork {
    /// A network for nobody but containers that go.
    fn of_pool(pool: Subnet) -> Self {
        OwnNetwork {
            pool,
            pool6: None,
            port_pool_start: 61001,
            port_pool_size: 4534,
            default_egress: Egress::default(),
            deny_networks: Vec::new(),
            allow_host_access: false,
            dns: DnsConfig::default(),
            external_ip: None,
            mtu: None,
        }
    }
}

/// A port for clients of other hosts.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: PathBuf,
}

impl Settings {
    /// An engine that nobody configured.
    pub(crate) fn embedded(global: &Global) -> Self {
        Settings {
            root: global.root().to_owned(),
            socket: global.socket(),
            tls: None,
            garden: None,
            debug: None,
            max_containers: 0,
            default_grace_time: Duration::ZERO,
            allow_privileged: true,
            default_image: DEFAULT_IMAGE.to_owned(),
            after_reboot: AfterReboot::Keep,
            destroy_on_start: false,
            release_names_on_wait: false,
            cpu_entitlement: None,
            cpu_throttling: None,
            id_pool: None,
            policy: Policy::default(),
            seccomp: SeccompProfile::Engine,
            apparmor: ApparmorProfile::Engine,
            sysctls: Vec::new(),
            network: None,
            network_of_old: None,
            runtime: None,
        }
    }

    /// An engine that destroys all its containers and listens to nobody.
    pub(crate) fn cleanup(global: &Global, pool: Subnet) -> Self {
        Settings {
            socket: global.root().join("cleanup.sock"),
            destroy_on_start: true,
            release_names_on_wait: false,
            network_of_old: Some(NetworkSettings::Own(OwnNetwork::of_pool(pool))),
            ..Settings::embedded(global)
        }
    }

    /// The gate's part of it.
    pub(crate) fn gate(&self) -> GrpcConfig {
        let tls = self.tls.clone().map(|tls| TlsConfig {
            addr: tls.listen,
            cert: tls.certificate,
            key: tls.key,
            client_ca: tls.client_ca,
        });
        GrpcConfig { unix: Some(UnixListenerSpec::new(&self.socket)), tcp: tls }
    }

    /// The orchestrator's part of it, with what it must know of the host.
    pub(crate) fn orchestrator(&self, boot_id: String) -> anyhow::Result<Config> {
        let memory_bytes = memory_bytes()?;
        let cpu_entitlement = match self.cpu_entitlement {
            Some(given) => given,
            None => Entitlement::of_machine(processors()?, memory_bytes)?,
        };
        Ok(Config {
            max_containers: self.max_containers,
            default_grace_time: self.default_grace_time,
            allow_privileged: self.allow_privileged,
            default_image: self.default_image.clone(),
            default_sysctls: self.sysctls.clone(),
            after_reboot: self.after_reboot,
            destroy_on_start: self.destroy_on_start,
            release_names_on_wait: self.release_names_on_wait,
            boot_id,
            memory_bytes,
            cpu_entitlement,
            cpu_throttling: self.cpu_throttling,
            id_pool: self.id_pool,
        })
    }
}

/// The name of this life of the host.
pub(crate) fn boot_id() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.trim().to_owned())
}

/// The number of processors that the machine has switched on, whichever of them this process may use.
fn processors() -> anyhow::Result<u32> {
    let path = "/sys/devices/system/cpu/online";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    count(text.trim()).with_context(|| format!("cannot read {text:?} in {path}"))
}

/// The length of a list such as `0-3,8`.
fn count(list: &str) -> Option<u32> {
    let length = |range: &str| -> Option<u32> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
    };
    list.split(',').map(length).sum()
}

/// The memory of the machine.
fn memory_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .context("/proc/meminfo has no MemTotal")?;
    let kib: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .with_context(|| format!("cannot read MemTotal {line:?}"))?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        for (list, expected) in [("0", Some(1)), ("0-3", Some(4)), ("0-1,4,8-11", Some(7))] {
            assert_eq!(count(list), expected, "{list}");
        }
        for wrong in ["", "x", "3-1", "0-", "0,,1"] {
            assert_eq!(count(wrong), None, "{wrong}");
        }
        assert!(processors().unwrap() > 0);
    }

    #[test]
    fn this_host_has_memory_and_a_boot_id() {
        assert!(memory_bytes().unwrap() > 1 << 20);
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
