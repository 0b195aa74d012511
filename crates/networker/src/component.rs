//! The component.

mod changes;
mod restore;

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gdn_ipam::Network;
use gdn_links::LinkIndex;
use gdn_state::Store;
use gdn_traits::{NetworkInfo, NetworkRequest, Networker, Sandbox};
use gdn_types::{
    BandwidthChange, BandwidthLimits, ContainerId, Error, ErrorKind, NetIn, NetOutRule, NetRules,
    NetworkMode, NetworkStat, PoolUsage, PortMapping, Properties, Result, Transport, keys,
};

use crate::config::NetworkerConfig;
use crate::files::Files;
use crate::firewall::{Firewall, check_ranges};
use crate::leaving::{Leaver, Leaving, Looker, SharedPools};
use crate::links::Links;
use crate::netout::Destinations;
use crate::pools::{Addresses, Pools, refused};
use crate::record::Reservation;
use crate::store::{LastPorts, Ledger};
use crate::watch::Watch;

/// How long a create waits for the address of a container that is just leaving when there is no other.
const FOR_ADDRESSES: Duration = Duration::from_secs(3);
/// How long an engine that stops waits for links of containers that are gone: longer than a namespace that somebody holds
/// open is let be.
const FOR_LEAVERS: Duration = Duration::from_secs(3);
/// Mapped ports of one container: its property that lists them has room for half as many again.
const MOST_PORTS: usize = 1000;
/// The largest packet where the host has no link that leads out.
const USUAL_MTU: u32 = 1500;

/// The engine's own network: addresses out of a pool, a link to the host, a firewall.
#[derive(Debug)]
pub struct KernelNetworker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: NetworkerConfig,
    ledger: Ledger,
    pools: Arc<SharedPools>,
    files: Arc<Files>,
    links: Arc<Links>,
    firewall: Arc<Firewall>,
    leaving: Leaving,
    _watch: Watch,
    networks: Arc<Networks>,
}

/// Networks by container.
type Networks = Mutex<HashMap<ContainerId, Entry>>;

/// A container's network. The orchestrator sees to it that only one call at a time changes it.
#[derive(Debug)]
struct Entry {
    reservation: Reservation,
    destinations: Destinations,
    /// How often rules were added since all of them were replaced, or the container was made.
    added_rules: u64,
    /// The number of the next rules in the ledger.
    next_rules: u32,
    /// The largest packet of its link, in bytes.
    mtu: u32,
    /// Its link, once it is made. The firewall has its rules from a moment before.
    link: Option<LinkIndex>,
    /// Whether the firewall knows it.
    guarded: bool,
    /// Whether the kernel may track connections of it.
    tracked: bool,
    /// Whether there may be an intermediate link of it, through which its own is limited.
    limited: bool,
}

impl Entry {
    /// Grows with every change of the rules.
    fn generation(&self) -> u64 {
        self.reservation.generation + self.added_rules
    }
}

impl KernelNetworker {
    /// A networker whose records lie in the engine's store. Nothing is made before the first container.
    ///
    /// # Errors
    /// `InvalidArgument` for pools that are none; `Internal` when a thread cannot be started.
    pub fn open(config: NetworkerConfig, store: Arc<Store>) -> Result<Self> {
        check_ranges(&config.deny_networks)?;
        let ledger = Ledger::new(store);
        let pools = Arc::new(SharedPools::new(Pools::new(&config, ledger.last_ports())?));
        let links = Arc::new(Links::new(config.engine));
        let firewall = Arc::new(Firewall::new(&config, links.prefix()));
        let files = Arc::new(Files::new(config.directory.clone(), config.dns.clone()));
        let leaving = Leaving::start(Looker {
            links: links.clone(),
            firewall: firewall.clone(),
            pools: pools.clone(),
            ledger: ledger.clone(),
            files: files.clone(),
        })?;
        let networks = Arc::new(Networks::default());
        let (table, known) = (firewall.clone(), networks.clone());
        let watch = Watch::start(firewall.clone(), files.clone(), move || restore::put_back(&table, &known))?;
        Ok(KernelNetworker(Arc::new(Shared {
            config,
            ledger,
            pools,
            files,
            links,
            firewall,
            leaving,
            _watch: watch,
            networks,
        })))
    }

    /// Waits a little for what is leaving and lets go of the firewall: where no container has a network it is removed, else
    /// it stays in force.
    ///
    /// # Errors
    /// What the kernel answers.
    pub async fn close(&self) -> Result<()> {
        self.blocking(|shared| {
            if !shared.pools.wait_for_leavers(FOR_LEAVERS) {
                tracing::warn!(patience = ?FOR_LEAVERS, "links of containers that are gone stay; the next engine goes on with them");
            }
            if shared.networks().is_empty() { shared.firewall.remove() } else { Ok(()) }
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(|error| Error::internal(format!("the networker failed: {error}")))?
    }
}

#[async_trait]
impl Networker for KernelNetworker {
    async fn reserve(&self, id: &ContainerId, request: &NetworkRequest) -> Result<NetworkInfo> {
        let wanted = match &request.mode {
            NetworkMode::None => return without_network(request),
            NetworkMode::Default => Network::Dynamic,
            NetworkMode::Pool(text) => Network::parse(text).map_err(refused)?,
        };
        let (id, request) = (*id, request.clone());
        self.blocking(move |shared| shared.reserve(&id, &wanted, &request)).await
    }

    async fn attach(&self, id: &ContainerId, sandbox: &Sandbox) -> Result<Option<NetworkInfo>> {
        if !self.0.networks().contains_key(id) {
            return Ok(None);
        }
        let netns = sandbox.netns.try_clone().map_err(|error| {
            Error::caused(ErrorKind::Internal, "hold the network namespace of a sandbox", error)
        })?;
        let id = *id;
        self.blocking(move |shared| shared.attach(&id, &netns)).await?;
        Ok(None)
    }

    async fn destroy(&self, id: &ContainerId) -> Result<()> {
        let id = *id;
        self.blocking(move |shared| shared.destroy(&id)).await
    }

    async fn restore(&self, known: &[(ContainerId, Properties)]) -> Result<()> {
        let known: Vec<ContainerId> = known.iter().map(|(id, _)| *id).collect();
        self.blocking(move |shared| shared.restore(&known)).await
    }

    async fn net_in(&self, id: &ContainerId, request: NetIn) -> Result<NetIn> {
        let id = *id;
        self.blocking(move |shared| shared.net_in(&id, request)).await
    }

    async fn unmap(&self, id: &ContainerId, mapping: NetIn) -> Result<()> {
        let id = *id;
        self.blocking(move |shared| shared.unmap(&id, mapping)).await
    }

    async fn net_out(&self, id: &ContainerId, rules: Vec<NetOutRule>) -> Result<()> {
        let id = *id;
        self.blocking(move |shared| shared.net_out(&id, &rules)).await
    }

    async fn net_replace(
        &self,
        id: &ContainerId,
        rules: Vec<NetOutRule>,
        expected: Option<u64>,
    ) -> Result<u64> {
        let id = *id;
        self.blocking(move |shared| shared.net_replace(&id, &rules, expected)).await
    }

    async fn net_rules(&self, id: &ContainerId) -> Result<NetRules> {
        let generation = match self.0.networks().get(id) {
            Some(entry) => entry.generation(),
            None => return Ok(NetRules::default()),
        };
        Ok(NetRules { generation, rules: self.0.ledger.rules(id)? })
    }

    async fn limit_bandwidth(&self, id: &ContainerId, limits: BandwidthLimits) -> Result<()> {
        let id = *id;
        self.blocking(move |shared| shared.limit_bandwidth(&id, limits)).await
    }

    async fn bandwidth(&self, id: &ContainerId) -> Result<BandwidthLimits> {
        Ok(self.0.networks().get(id).map(|entry| entry.reservation.bandwidth).unwrap_or_default())
    }

    async fn metrics(&self, id: &ContainerId) -> Result<Option<NetworkStat>> {
        let link = self.0.networks().get(id).and_then(|entry| entry.link);
        let Some(link) = link else { return Ok(None) };
        // A look-up by number: less than handing it to another thread.
        self.0.links.counters(link)
    }

    fn mapped_ports(&self, id: &ContainerId) -> Option<Vec<PortMapping>> {
        Some(self.0.networks().get(id)?.reservation.ports.clone())
    }

    fn capacity(&self) -> u64 {
        self.0.pools.with(|pools| pools.capacity())
    }

    fn pools(&self) -> Vec<PoolUsage> {
        self.0.pools.with(|pools| pools.usage())
    }

    fn netns(&self, _id: &ContainerId) -> Option<OwnedFd> {
        None
    }
}

/// A container with loopback only: there is nothing to map, and nothing leaves whatever the rules say.
pub(crate) fn without_network(request: &NetworkRequest) -> Result<NetworkInfo> {
    request.wanted_egress()?;
    match request.netin.first() {
        Some(port) => Err(no_port(*port)),
        None if request.bandwidth.rate > 0 => Err(no_rate(request.bandwidth)),
        None => Ok(NetworkInfo::default()),
    }
}

fn no_rate(limits: BandwidthLimits) -> Error {
    Error::new(
        ErrorKind::FailedPrecondition,
        format!("a rate of {} bytes a second cannot be set: the container has no network", limits.rate),
    )
}

fn no_port(request: NetIn) -> Error {
    // Of the two one may be left to the engine.
    let port = if request.container_port == 0 { request.host_port } else { request.container_port };
    Error::new(
        ErrorKind::FailedPrecondition,
        format!("port {port} cannot be mapped: the container has no network"),
    )
}

impl Shared {
    fn networks(&self) -> MutexGuard<'_, HashMap<ContainerId, Entry>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, id: &ContainerId, wanted: &Network, request: &NetworkRequest) -> Result<NetworkInfo> {
        self.firewall.must_work()?;
        let egress = request.wanted_egress()?.unwrap_or(self.config.default_egress);
        let mut destinations = Destinations::default();
        destinations.add(&request.netout)?;
        if request.netin.len() > MOST_PORTS {
            return Err(too_many_ports());
        }
        if let Network::Subnet(subnet) | Network::Address(subnet, _) = wanted
            && !self.pools.with(|pools| pools.has(*subnet))
        {
            self.links.refuse_taken(subnet.base().into(), subnet.prefix_length())?;
        }
        let outside = self.outside()?;
        let addresses = self.pools.take_addresses(FOR_ADDRESSES, wanted)?;
        let ports = self.pools.with(|pools| {
            pools.take_ports(&request.netin).inspect_err(|_| pools.give_back_addresses(addresses))
        })?;
        let last = handed_out(&request.netin, &ports);
        let Addresses { lease, prefix } = addresses;
        let reservation = Reservation {
            handle: request.handle.clone(),
            lease,
            prefix,
            ports,
            egress,
            generation: 0,
            bandwidth: request.bandwidth.changed(BandwidthChange::default()),
        };
        let entry = Entry {
            reservation: reservation.clone(),
            destinations,
            added_rules: 0,
            next_rules: 1,
            mtu: outside.mtu,
            link: None,
            guarded: false,
            tracked: false,
            limited: false,
        };
        self.networks().insert(*id, entry);
        // From here on the destroy that follows a failed create takes everything back.
        self.ledger.reserve(id, &reservation, &request.netout, last)?;
        let bind_mounts = self.files.write(id, &reservation, self.owner(request))?;
        let external_ip = outside.address;
        Ok(NetworkInfo {
            properties: properties(&reservation, &external_ip, &self.links.name(id))?,
            bind_mounts,
            mapped_ports: reservation.ports.clone(),
            host_ip: reservation.lease.gateway().to_string(),
            container_ip: reservation.lease.address.to_string(),
            container_ipv6: reservation.address6().map(|address| address.to_string()).unwrap_or_default(),
            external_ip,
        })
    }

    /// The host's ids of the container's root.
    fn owner(&self, request: &NetworkRequest) -> (u32, u32) {
        if request.privileged {
            return (0, 0);
        }
        request.ids.map_or(self.config.container_root, |ids| (ids.first(), ids.first()))
    }

    /// What containers need to know of the link that leads out of the host. It may change; each create asks anew.
    fn outside(&self) -> Result<Outside> {
        let NetworkerConfig { external_ip, mtu, .. } = self.config;
        if let (Some(address), Some(mtu)) = (external_ip, mtu) {
            return Ok(Outside { address: address.to_string(), mtu });
        }
        let (found_mtu, found_address) = match external_ip {
            Some(address) => (self.links.mtu_at(address.into())?, None),
            None => self.links.outbound()?,
        };
        let address = external_ip.map(IpAddr::V4).or(found_address);
        Ok(Outside {
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            mtu: mtu.or(found_mtu).unwrap_or(USUAL_MTU),
        })
    }

    fn attach(&self, id: &ContainerId, netns: &OwnedFd) -> Result<()> {
        let (reservation, destinations, mtu) = {
            let networks = self.networks();
            let entry = networks.get(id).ok_or_else(|| unknown(id))?;
            (entry.reservation.clone(), entry.destinations.clone(), entry.mtu)
        };
        let changing = self.firewall.changes();
        self.firewall.guard(id, &reservation, &destinations)?;
        self.change(id, |entry| (entry.guarded, entry.tracked) = (true, true));
        drop(changing);
        self.firewall.lead_here(id, &reservation.ports);
        let link = self.links.attach(id, netns.as_fd(), &reservation, mtu)?;
        self.change(id, |entry| (entry.link, entry.limited) = (Some(link), reservation.is_limited()));
        if reservation.is_limited() {
            self.links.limit(id, link, reservation.bandwidth)?;
        }
        Ok(())
    }

    fn change(&self, id: &ContainerId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.networks().get_mut(id) {
            change(entry);
        }
    }

    /// Every step can be taken again after a later one failed.
    fn destroy(&self, id: &ContainerId) -> Result<()> {
        self.withdraw(id)?;
        if self.let_go(id)? {
            return Ok(());
        }
        // Last: a file that cannot be removed must not keep rules and addresses.
        self.files.remove(id)
    }

    /// Takes a container's rules out of the kernel.
    fn withdraw(&self, id: &ContainerId) -> Result<()> {
        let known = self.networks().get(id).map(|entry| {
            let Entry { reservation, guarded, link, destinations, .. } = entry;
            (reservation.clone(), *guarded, *link, destinations.kinds())
        });
        let Some((reservation, guarded, link, sets)) = known else { return Ok(()) };
        if guarded {
            let _changing = self.firewall.changes();
            self.firewall.release(id, &reservation, &sets)?;
            self.change(id, |entry| entry.guarded = false);
        }
        // What came by a mapped port before there was a link went elsewhere, and may be tracked.
        if reservation.ports.is_empty() && self.was_silent(link) {
            self.change(id, |entry| entry.tracked = false);
        }
        Ok(())
    }

    /// Whether nothing ever went through a link. To look for connections takes the kernel milliseconds, and where no packet
    /// went there is none.
    fn was_silent(&self, link: Option<LinkIndex>) -> bool {
        let Some(link) = link else { return false };
        let counted = self.links.counters(link);
        matches!(counted, Ok(Some(NetworkStat { rx_bytes: 0, tx_bytes: 0, .. })))
    }

    /// Gives ports back at once, and addresses when the link is gone and the kernel knows no connection of them any more.
    /// Whether that, with the removal of the files, is left to a thread.
    fn let_go(&self, id: &ContainerId) -> Result<bool> {
        let known = self.networks().get(id).map(|entry| {
            let tracked = if entry.tracked { entry.reservation.addresses().collect() } else { Vec::new() };
            (entry.link, entry.limited, tracked)
        });
        let Some((link, limited, tracked)) = known else { return Ok(false) };
        // A link that was begun and not finished has a number that nobody noted.
        let link = match link {
            Some(link) => Some(link),
            None => self.links.find(id)?,
        };
        if link.is_none() {
            self.firewall.forget_connections(&tracked)?;
            if limited {
                self.links.remove_intermediate(id)?;
            }
            self.ledger.forget(id)?;
        }
        let Some(entry) = self.networks().remove(id) else { return Ok(false) };
        let addresses = entry.reservation.held();
        self.pools.with(|pools| pools.give_back_ports(&entry.reservation.ports));
        match link {
            Some(link) => {
                let addresses = Some(addresses);
                let since = Instant::now();
                self.leaving.add(Leaver { id: *id, link, limited, addresses, tracked, since });
            }
            None => self.pools.with(|pools| pools.give_back_addresses(addresses)),
        }
        Ok(link.is_some())
    }
}

/// What containers need to know of the link that leads out of the host.
struct Outside {
    /// Its address; empty where there is none.
    address: String,
    mtu: u32,
}

fn too_many_ports() -> Error {
    Error::new(
        ErrorKind::ResourceExhausted,
        format!("a container may have at most {MOST_PORTS} mapped ports"),
    )
}

fn unknown(id: &ContainerId) -> Error {
    Error::internal(format!("container {id} has no network"))
}

/// The last ports that came out of their pool's order, which the next life goes on behind.
fn handed_out(requests: &[NetIn], mappings: &[PortMapping]) -> LastPorts {
    let last = |transport| {
        let pairs = requests.iter().zip(mappings).filter(|(request, _)| request.transport == transport);
        pairs.filter(|(request, _)| request.host_port == 0).map(|(_, mapping)| mapping.host_port).next_back()
    };
    LastPorts { tcp: last(Transport::Tcp), udp: last(Transport::Udp) }
}

fn properties(reservation: &Reservation, external_ip: &str, link: &str) -> Result<Properties> {
    let mut properties = Properties::default();
    properties.set(keys::CONTAINER_IP, reservation.lease.address.to_string())?;
    properties.set(keys::HOST_IP, reservation.lease.gateway().to_string())?;
    properties.set(keys::EXTERNAL_IP, external_ip)?;
    properties.set(keys::INTERFACE, link)?;
    if let Some(address) = reservation.address6() {
        properties.set(keys::CONTAINER_IPV6, address.to_string())?;
    }
    properties.set(keys::EGRESS, reservation.egress.name())?;
    Ok(properties)
}
