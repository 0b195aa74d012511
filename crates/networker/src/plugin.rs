//! Networks that an external program makes: the plug-in protocol of the reference engine.
//!
//! The engine gives a container its network namespace; everything in it is the program's work, which is called as
//! `PROGRAM [ARGUMENTS] --action ACTION --handle HANDLE`, is given JSON and answers JSON. What the program is asked to set up
//! is written down first: whatever happens meanwhile, it is asked to take it down again.

mod orphans;
mod program;
mod wire;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gdn_state::{Batch, Store};
use gdn_traits::{NetworkInfo, NetworkRequest, Networker, Sandbox};
use gdn_types::{
    BandwidthLimits, ContainerId, EngineId, Error, ErrorKind, Handle, NetIn, NetOutRule, NetRules,
    NetworkMode, NetworkStat, PoolUsage, PortMapping, Properties, Result, Transport, keys,
};

use crate::component::without_network;
use crate::config::DnsConfig;
use crate::files::Files;
use crate::links::Links;
pub use program::Plugin;
use serde::Serialize;
use wire::{AllowedDestinations, Mapped, Up, Went};

/// Under these keys lie the handles of the containers whose networks a plug-in was asked for.
const RECORD: &str = "network-plugin/";

/// What a [`PluginNetworker`] is started with.
#[derive(Clone, Debug)]
pub struct PluginConfig {
    /// The program.
    pub plugin: Plugin,
    /// The engine's name.
    pub engine: EngineId,
    /// A directory of its own, for the files that containers see as `/etc/hosts` and `/etc/resolv.conf`.
    pub directory: PathBuf,
    /// Name servers and names of containers, where the plug-in names none.
    pub dns: DnsConfig,
    /// The address by which others reach mapped ports; absent: the first of the interface that leads out.
    pub external_ip: Option<Ipv4Addr>,
    /// Who is root in unprivileged containers, as the host sees it: user and group.
    pub container_root: (u32, u32),
}

/// Networks that an external program makes.
#[derive(Debug)]
pub struct PluginNetworker {
    config: PluginConfig,
    links: Links,
    files: Arc<Files>,
    store: Arc<Store>,
    networks: Mutex<HashMap<ContainerId, Entry>>,
}

/// A container's network.
#[derive(Clone, Debug)]
struct Entry {
    handle: Handle,
    /// What its client asked for, until the program was.
    asked: Option<Box<NetworkRequest>>,
    /// Whether the program may have set something up.
    begun: bool,
    container_ip: String,
    external_ip: String,
}

impl PluginNetworker {
    /// A networker whose records lie in the engine's store. The program is not called before the first container.
    pub fn open(config: PluginConfig, store: Arc<Store>) -> Self {
        let files = Arc::new(Files::new(config.directory.clone(), config.dns.clone()));
        let links = Links::new(config.engine);
        PluginNetworker { config, links, files, store, networks: Mutex::default() }
    }

    fn networks(&self) -> MutexGuard<'_, HashMap<ContainerId, Entry>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, id: &ContainerId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.networks().get_mut(id) {
            change(entry);
        }
    }

    /// The handles that earlier lives wrote down.
    fn recorded(&self) -> Vec<(ContainerId, Handle)> {
        let read = |(key, value): (Arc<[u8]>, Arc<[u8]>)| {
            let id = ContainerId::parse(&String::from_utf8_lossy(&key[RECORD.len()..]));
            let handle = Handle::parse(&String::from_utf8_lossy(&value));
            match (id, handle) {
                (Ok(id), Ok(handle)) => Some((id, handle)),
                (Err(error), _) | (_, Err(error)) => {
                    tracing::error!(%error, "the network of a container cannot be read");
                    None
                }
            }
        };
        self.store.scan(RECORD).into_iter().filter_map(read).collect()
    }

    /// Writes down durably that the program may have set something up, or that it has not.
    async fn record(&self, id: &ContainerId, handle: Option<&Handle>) -> Result<()> {
        let mut batch = Batch::new();
        let key = format!("{RECORD}{id}");
        let doing =
            |error| Error::caused(ErrorKind::Unavailable, "write the network of a container down", error);
        match handle {
            Some(handle) => batch.put(&key, handle.as_str()).map_err(doing)?,
            None => batch.delete(&key).map_err(doing)?,
        };
        let store = Arc::clone(&self.store);
        let written = tokio::task::spawn_blocking(move || store.commit(batch).wait().map_err(doing));
        written.await.map_err(|error| Error::internal(format!("the networker failed: {error}")))?
    }

    async fn call(&self, action: &str, handle: &Handle, input: &(impl Serialize + Sync)) -> Result<Vec<u8>> {
        self.config.plugin.call(self.config.engine, action, handle, input).await
    }

    /// Has the program set a network up.
    async fn up(&self, id: &ContainerId, request: &NetworkRequest, pid: u32) -> Result<NetworkInfo> {
        let answer = self.call("up", &request.handle, &Up::of(request, pid)).await?;
        let went = Went::parse(&answer)?;
        let mut info = NetworkInfo { external_ip: self.external_ip()?, ..went.info()? };
        if let Some(told) = info.properties.get(keys::EXTERNAL_IP) {
            info.external_ip = told.to_owned();
        } else if !info.external_ip.is_empty() {
            info.properties.set(keys::EXTERNAL_IP, info.external_ip.as_str())?;
        }
        let address: Option<Ipv4Addr> = parsed(keys::CONTAINER_IP, &info.container_ip)?;
        let address6: Option<Ipv6Addr> = parsed(keys::CONTAINER_IPV6, &info.container_ipv6)?;
        let gateway: Option<Ipv4Addr> = parsed(keys::HOST_IP, &info.host_ip)?;
        let hosts = self.files.hosts(&request.handle, address, address6);
        let (servers, search) = (went.dns_servers()?, went.search_domains()?);
        let resolver = self.files.resolv_conf_of_plugin(gateway, &servers, &search)?;
        let owner = match request.ids {
            _ if request.privileged => (0, 0),
            Some(ids) => (ids.first(), ids.first()),
            None => self.config.container_root,
        };
        info.bind_mounts = self.files.write_texts(id, &hosts, &resolver, owner)?;
        Ok(info)
    }

    fn external_ip(&self) -> Result<String> {
        let address = match self.config.external_ip {
            Some(address) => Some(IpAddr::V4(address)),
            None => self.links.outbound()?.1,
        };
        Ok(address.map(|address| address.to_string()).unwrap_or_default())
    }

    /// The container's entry, with an address: without one the program cannot be told what to change.
    fn reachable(&self, id: &ContainerId) -> Result<Entry> {
        let entry = self.networks().get(id).cloned();
        entry.filter(|entry| !entry.container_ip.is_empty()).ok_or_else(|| {
            Error::new(
                ErrorKind::FailedPrecondition,
                "the network plug-in gave the container no address (garden.network.container-ip)",
            )
        })
    }
}

#[async_trait]
impl Networker for PluginNetworker {
    async fn reserve(&self, id: &ContainerId, request: &NetworkRequest) -> Result<NetworkInfo> {
        if request.mode == NetworkMode::None {
            return without_network(request);
        }
        refuse_what_it_cannot_say(request)?;
        let entry = Entry {
            handle: request.handle.clone(),
            asked: Some(Box::new(request.clone())),
            begun: false,
            container_ip: String::new(),
            external_ip: String::new(),
        };
        self.networks().insert(*id, entry);
        Ok(NetworkInfo::default())
    }

    async fn attach(&self, id: &ContainerId, sandbox: &Sandbox) -> Result<Option<NetworkInfo>> {
        let asked = self.networks().get_mut(id).and_then(|entry| entry.asked.take());
        let Some(request) = asked else { return Ok(None) };
        self.change(id, |entry| entry.begun = true);
        self.record(id, Some(&request.handle)).await?;
        let info = self.up(id, &request, sandbox.pid).await?;
        self.change(id, |entry| {
            entry.container_ip.clone_from(&info.container_ip);
            entry.external_ip.clone_from(&info.external_ip);
        });
        Ok(Some(info))
    }

    async fn destroy(&self, id: &ContainerId) -> Result<()> {
        let Some(entry) = self.networks().get(id).cloned() else { return Ok(()) };
        if entry.begun {
            self.call("down", &entry.handle, &()).await?;
        }
        self.files.remove(id)?;
        if entry.begun {
            self.record(id, None).await?;
        }
        self.networks().remove(id);
        Ok(())
    }

    async fn restore(&self, known: &[(ContainerId, Properties)]) -> Result<()> {
        // Before anything is taken down: what they set up behind that would stay.
        let engine = self.config.engine;
        let ended = tokio::task::spawn_blocking(move || orphans::end(engine)).await;
        ended.map_err(|error| Error::internal(format!("the networker failed: {error}")))??;
        let known: HashMap<_, _> = known.iter().map(|(id, properties)| (*id, properties)).collect();
        for (id, handle) in self.recorded() {
            let told = |key| known.get(&id).and_then(|properties| properties.get(key)).unwrap_or_default();
            let entry = Entry {
                handle,
                asked: None,
                begun: true,
                container_ip: told(keys::CONTAINER_IP).to_owned(),
                external_ip: told(keys::EXTERNAL_IP).to_owned(),
            };
            self.networks().insert(id, entry);
            if known.contains_key(&id) {
                continue;
            }
            if let Err(error) = self.destroy(&id).await {
                // It stays written down: the next start tries again.
                tracing::error!(%id, error = error.report(), "the network of a container that is gone stays");
            }
        }
        for id in self.files.present()? {
            if !known.contains_key(&id) && !self.networks().contains_key(&id) {
                self.files.remove(&id)?;
            }
        }
        Ok(())
    }

    async fn net_in(&self, id: &ContainerId, request: NetIn) -> Result<NetIn> {
        let entry = self.reachable(id)?;
        refuse_udp(request)?;
        let wish = wire::PortWish::of(&entry.external_ip, &entry.container_ip, request);
        let answer = self.call("net-in", &entry.handle, &wish).await?;
        Mapped::parse(&answer)
    }

    async fn unmap(&self, _id: &ContainerId, mapping: NetIn) -> Result<()> {
        Err(unknown_to_plugins(&format!("taking the mapped port {} away", mapping.host_port)))
    }

    async fn net_out(&self, id: &ContainerId, rules: Vec<NetOutRule>) -> Result<()> {
        let entry = self.reachable(id)?;
        let call = AllowedDestinations::of(&entry.container_ip, &rules);
        self.call(call.action(), &entry.handle, &call).await.map(drop)
    }

    async fn net_replace(
        &self,
        _id: &ContainerId,
        _rules: Vec<NetOutRule>,
        _expected: Option<u64>,
    ) -> Result<u64> {
        Err(unknown_to_plugins("replacing rules"))
    }

    async fn net_rules(&self, _id: &ContainerId) -> Result<NetRules> {
        Err(unknown_to_plugins("telling the rules in force"))
    }

    async fn limit_bandwidth(&self, _id: &ContainerId, _limits: BandwidthLimits) -> Result<()> {
        Err(unknown_to_plugins("limiting what a container sends and receives"))
    }

    async fn bandwidth(&self, _id: &ContainerId) -> Result<BandwidthLimits> {
        Ok(BandwidthLimits::default())
    }

    async fn metrics(&self, _id: &ContainerId) -> Result<Option<NetworkStat>> {
        Ok(None)
    }

    fn mapped_ports(&self, _id: &ContainerId) -> Option<Vec<PortMapping>> {
        None
    }

    fn capacity(&self) -> u64 {
        u64::MAX
    }

    fn pools(&self) -> Vec<PoolUsage> {
        Vec::new()
    }

    fn netns(&self, _id: &ContainerId) -> Option<OwnedFd> {
        None
    }
}

/// Whether a store has networks that a plug-in was asked for.
pub fn has_plugin_networks(store: &Store) -> bool {
    !store.scan(RECORD).is_empty()
}

/// The protocol has no words for these, and to leave them out would open what a client wants closed.
fn refuse_what_it_cannot_say(request: &NetworkRequest) -> Result<()> {
    if let Some(egress) = request.wanted_egress()? {
        return Err(unknown_to_plugins(&format!("the egress {:?}", egress.name())));
    }
    if request.bandwidth.rate > 0 {
        return Err(unknown_to_plugins("limiting what a container sends and receives"));
    }
    request.netin.iter().copied().try_for_each(refuse_udp)
}

fn refuse_udp(request: NetIn) -> Result<()> {
    match request.transport {
        Transport::Tcp => Ok(()),
        Transport::Udp => Err(unknown_to_plugins(&format!("mapping the UDP port {}", request.host_port))),
    }
}

fn unknown_to_plugins(what: &str) -> Error {
    Error::new(ErrorKind::Unimplemented, format!("{what} is unknown to network plug-ins"))
}

/// The address in a property of the plug-in; absent where there is none.
fn parsed<T: std::str::FromStr>(key: &str, text: &str) -> Result<Option<T>> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(wire::nonsense(format!("{key} is {text:?}, no address"))),
        },
    }
}
