//! The engine: its components wired together behind its gates.
//!
//! The order of the start: the lock of the root, the gates' sockets (clients can connect from then on; those of gRPC are told
//! to wait, those of Garden wait for their answer), the components, the orchestrator's restore.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use containerizer::{ContainerizerConfig, KernelContainerizer, RuntimeContainerizer};
use gardener_core::{Components, EventHub, Gardener};
use gdn_grpc::{Clients, Gate, ServeError};
use gdn_namespaces::IdMap;
use gdn_traits::Containerizer;
use networker::KernelNetworker;
use properties::PropertyStore;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use volumizer::{ImageVolumizer, VolumizerConfig};

mod debug;
mod garden;
mod hello;
mod idmaps;
pub(crate) mod layout;
mod lock;
pub(crate) mod logging;
mod network;
pub(crate) mod notify;
mod settings;

pub(crate) use debug::DebugSettings;
pub(crate) use garden::{GROUP, GardenSettings, group};
pub(crate) use layout::Layout;
pub(crate) use lock::EngineLock;
pub(crate) use settings::{DEFAULT_IMAGE, NetworkSettings, OwnNetwork, Settings, TlsSettings};

use crate::failure::Advised;

/// How long a stop may take where somebody waits for what it puts away.
pub(crate) const AT_LEISURE: Duration = Duration::from_secs(60);

/// How much of that the components have to themselves at least.
const TO_PUT_AWAY: Duration = Duration::from_secs(1);

/// An engine that answers.
pub(crate) struct Running {
    gardener: Arc<Gardener>,
    containerizer: Arc<KernelContainerizer>,
    networker: Option<Arc<KernelNetworker>>,
    volumizer: Arc<ImageVolumizer>,
    socket: PathBuf,
    clients: Option<Clients>,
    stop: CancellationToken,
    gate: JoinHandle<Result<(), ServeError>>,
    garden: Option<JoinHandle<()>>,
    debug: Option<JoinHandle<()>>,
    destroying: usize,
    _lock: EngineLock,
}

/// Refuses to go on without the rights an engine needs.
pub(crate) fn require_root() -> anyhow::Result<()> {
    match rustix::process::geteuid().as_raw() {
        0 => Ok(()),
        uid => Err(Advised::error(
            format!("an engine must run as root, this is user {uid}"),
            "run it with sudo, or as a system service",
        )),
    }
}

/// Lets the server have as many files open as it may: a conversation takes six of them, nine with clients that read slowly.
/// After the launcher was started, whose containers' processes keep the limit that they had.
fn raise_file_limit() {
    let held = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: held.maximum, ..held }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// Starts an engine and answers when it does.
pub(crate) async fn start(settings: Settings, lock: EngineLock) -> anyhow::Result<Running> {
    let boot_id = settings::boot_id()?;
    let layout = Layout::make(&settings.root)?;
    let garden = match &settings.garden {
        Some(garden) => garden::open(garden).await?,
        None => None,
    };
    let debug = match &settings.debug {
        Some(debug) => Some(debug::open(debug).await?),
        None => None,
    };
    layout::make_socket_directory(&settings.socket)?;
    let gate = Gate::open(settings.gate()).await.context("cannot listen")?;
    if let Some(address) = gate.tcp_addr() {
        tracing::info!(%address, "listening with TLS");
    }
    let events = EventHub::new();
    let parts = parts(&settings, &layout, &boot_id, &events).await?;
    let Parts { components, containerizer, networker, volumizer } = parts;
    raise_file_limit();
    let gardener = Gardener::new(settings.orchestrator(boot_id)?, components, events);
    let stop = CancellationToken::new();
    let clients = gate.clients();
    let gate = tokio::spawn(gate.serve(gardener.clone(), stop.clone()));
    let debug = debug.map(|opened| debug::serve(opened, gardener.clone(), stop.clone()));
    let socket = settings.socket;
    let mut running = Running {
        gardener,
        containerizer,
        networker,
        volumizer,
        socket,
        clients,
        stop,
        gate,
        garden: None,
        debug,
        destroying: 0,
        _lock: lock,
    };
    let report = match running.gardener.start().await {
        Ok(report) => report,
        Err(error) => {
            // What was made for this start is put away; why it failed is what counts.
            if let Err(left) = running.stop(AT_LEISURE).await {
                tracing::warn!(error = format!("{left:#}"), "the start that failed leaves something");
            }
            return Err(error).context("cannot restore the containers");
        }
    };
    running.garden = garden.map(|gate| {
        let (gardener, stop) = (running.gardener.clone(), running.stop.clone());
        tokio::spawn(gate.serve(gardener, stop))
    });
    running.destroying = report.destroying;
    for record in &report.quarantined {
        tracing::warn!(record, "a record cannot be read and was put aside");
    }
    tracing::info!(
        socket = %running.socket.display(),
        running = report.running,
        lost = report.lost,
        destroying = report.destroying,
        "engine started"
    );
    Ok(running)
}

/// The components, and those of them that the engine itself has to close.
struct Parts {
    components: Components,
    containerizer: Arc<KernelContainerizer>,
    networker: Option<Arc<KernelNetworker>>,
    volumizer: Arc<ImageVolumizer>,
}

async fn parts(
    settings: &Settings,
    layout: &Layout,
    boot_id: &str,
    events: &Arc<EventHub>,
) -> anyhow::Result<Parts> {
    let properties =
        PropertyStore::open(&layout.state).context("cannot open the records of the containers")?;
    let engine = properties.engine_id();
    let root_id = IdMap::container_default().to_host(0).context("the id map of containers has no root")?;
    let containerizer = KernelContainerizer::start(ContainerizerConfig {
        engine,
        run_dir: layout.run.clone(),
        boot_id: boot_id.to_owned(),
        events: events.clone(),
        policy: settings.policy.clone(),
        seccomp: settings.seccomp.clone(),
        apparmor: settings.apparmor.clone(),
        every_hierarchy: settings.runtime.is_some(),
    })
    .await
    .context("cannot start the containerizer")?;
    let containerizer = Arc::new(containerizer);
    let volumizer = ImageVolumizer::open(VolumizerConfig {
        root: settings.root.clone(),
        engine,
        idmap: containerizer
            .user_namespace(None)
            .await
            .context("cannot make the user namespace of containers")?,
        container_root_uid: root_id,
        container_root_gid: root_id,
        own_idmaps: Arc::new(idmaps::OfContainerizer(Arc::clone(&containerizer))),
        builtin: vec![hello::image()],
    })
    .context("cannot open the image store")?;
    let (networker, kernel_networker) = network::open(settings, layout, &properties, root_id)?;
    let volumizer = Arc::new(volumizer);
    layout.spread(&settings.root, boot_id);
    let components = Components {
        containerizer: by_runtime(settings, &containerizer)?,
        networker,
        volumizer: volumizer.clone(),
        properties: Arc::new(properties),
    };
    Ok(Parts { components, containerizer, networker: kernel_networker, volumizer })
}

/// The engine's own containers, or those of the runtime that was chosen.
fn by_runtime(
    settings: &Settings,
    containerizer: &Arc<KernelContainerizer>,
) -> anyhow::Result<Arc<dyn Containerizer>> {
    let Some(runtime) = settings.runtime.clone() else { return Ok(containerizer.clone()) };
    tracing::info!(program = runtime.program(), "containers are made by a runtime plug-in");
    let by_runtime = RuntimeContainerizer::new(containerizer.clone(), runtime, settings.seccomp.clone())
        .context("cannot use the runtime plug-in")?;
    Ok(Arc::new(by_runtime))
}

impl Running {
    /// The orchestrator.
    pub(crate) fn gardener(&self) -> &Gardener {
        &self.gardener
    }

    /// How many containers the start began to destroy.
    pub(crate) fn destroying(&self) -> usize {
        self.destroying
    }

    /// Waits until the last client has gone, and lets no other in.
    pub(crate) async fn without_clients(&self) {
        if let Some(clients) = &self.clients {
            clients.last_gone().await;
        }
    }

    /// Waits for a gate to close by itself, which it does only when it fails.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let garden = async {
            match &mut self.garden {
                Some(gate) => gate.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            closed = &mut self.gate => match closed {
                Ok(Ok(())) => anyhow::anyhow!("the gate closed by itself"),
                Ok(Err(error)) => anyhow::Error::new(error).context("the gate closed by itself"),
                Err(error) => anyhow::Error::new(error).context("the gate ended"),
            },
            closed = garden => match closed {
                Ok(()) => anyhow::anyhow!("the gate for Garden's clients closed by itself"),
                Err(error) => anyhow::Error::new(error).context("the gate for Garden's clients ended"),
            },
        }
    }

    /// Stops the engine, and waits so long for what it is about. The containers stay; what is left is done by the next start.
    pub(crate) async fn stop(self, patience: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        self.gardener.announce_shutdown();
        self.stop.cancel();
        let served = self.gate.await.context("the gate ended")?;
        if let Some(garden) = self.garden {
            garden.await.context("the gate for Garden's clients ended")?;
        }
        if let Some(debug) = self.debug {
            debug.await.context("the port for operators ended")?;
        }
        let rest = end.saturating_duration_since(Instant::now());
        self.gardener.shutdown(rest.saturating_sub(TO_PUT_AWAY)).await;
        match timeout_at(end, put_away(self.containerizer, self.networker, &self.volumizer)).await {
            Ok(done) => done?,
            Err(_) => {
                tracing::warn!(?patience, "not everything is put away; the next engine goes on with it")
            }
        }
        served.context("cannot close the gate")
    }
}

/// Lets the components finish what they do behind answers that were given.
async fn put_away(
    containerizer: Arc<KernelContainerizer>,
    networker: Option<Arc<KernelNetworker>>,
    volumizer: &ImageVolumizer,
) -> anyhow::Result<()> {
    let unlinked = match &networker {
        Some(networker) => networker.close().await,
        None => Ok(()),
    };
    let emptied = volumizer.close().await;
    containerizer.close().await.context("cannot close the containerizer")?;
    emptied.context("cannot wait for the removal of files")?;
    unlinked.context("cannot close the network of containers")
}
