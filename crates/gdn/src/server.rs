//! The engine: its components wired together behind its gate.
//!
//! The order of the start: the lock of the root, the gate's socket (clients can connect from then on and are told to wait),
//! the components, the orchestrator's restore.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use containerizer::{ContainerizerConfig, KernelContainerizer, RuntimeContainerizer};
use gardener_core::{Components, EventHub, Gardener};
use gdn_grpc::{Gate, ServeError};
use gdn_namespaces::IdMap;
use gdn_traits::Containerizer;
use networker::LoopbackNetworker;
use properties::PropertyStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use volumizer::{ImageVolumizer, VolumizerConfig};

mod clients;
mod hello;
mod idmaps;
mod layout;
mod lock;
pub(crate) mod logging;
pub(crate) mod notify;
mod settings;

pub(crate) use lock::EngineLock;
pub(crate) use settings::{DEFAULT_IMAGE, Settings, TlsSettings};

use crate::failure::Advised;
use layout::Layout;

/// How often an embedded engine looks whether its last client is gone.
const LOOK: Duration = Duration::from_millis(20);

/// An engine that answers.
pub(crate) struct Running {
    gardener: Arc<Gardener>,
    containerizer: Arc<KernelContainerizer>,
    volumizer: Arc<ImageVolumizer>,
    socket: PathBuf,
    stop: CancellationToken,
    gate: JoinHandle<Result<(), ServeError>>,
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

/// Starts an engine and answers when it does.
pub(crate) async fn start(settings: Settings, lock: EngineLock) -> anyhow::Result<Running> {
    let boot_id = settings::boot_id()?;
    let layout = Layout::make(&settings.root)?;
    layout::make_socket_directory(&settings.socket)?;
    let gate = Gate::open(settings.gate()).await.context("cannot listen")?;
    if let Some(address) = gate.tcp_addr() {
        tracing::info!(%address, "listening with TLS");
    }
    let events = EventHub::new();
    let (components, containerizer, volumizer) = components(&settings, &layout, &boot_id, &events).await?;
    let gardener = Gardener::new(settings.orchestrator(boot_id)?, components, events);
    let stop = CancellationToken::new();
    let gate = tokio::spawn(gate.serve(gardener.clone(), stop.clone()));
    let running =
        Running { gardener, containerizer, volumizer, socket: settings.socket, stop, gate, _lock: lock };
    let report = running.gardener.start().await.context("cannot restore the containers")?;
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

async fn components(
    settings: &Settings,
    layout: &Layout,
    boot_id: &str,
    events: &Arc<EventHub>,
) -> anyhow::Result<(Components, Arc<KernelContainerizer>, Arc<ImageVolumizer>)> {
    let properties =
        PropertyStore::open(&layout.state).context("cannot open the records of the containers")?;
    let engine = properties.engine_id();
    let root_id = IdMap::container_default().to_host(0).context("the id map of containers has no root")?;
    let containerizer = KernelContainerizer::start(ContainerizerConfig {
        engine,
        run_dir: layout.run.clone(),
        boot_id: boot_id.to_owned(),
        events: events.clone(),
        policy: settings.policy,
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
    let volumizer = Arc::new(volumizer);
    let components = Components {
        containerizer: by_runtime(settings, &containerizer)?,
        networker: Arc::new(LoopbackNetworker::new()),
        volumizer: volumizer.clone(),
        properties: Arc::new(properties),
    };
    Ok((components, containerizer, volumizer))
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
    /// Waits until no client is connected.
    pub(crate) async fn without_clients(&self) -> anyhow::Result<()> {
        while clients::connected(&self.socket).context("cannot count the clients")? > 0 {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Waits for the gate to close by itself, which it does only when it fails.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.gate).await {
            Ok(Ok(())) => anyhow::anyhow!("the gate closed by itself"),
            Ok(Err(error)) => anyhow::Error::new(error).context("the gate closed by itself"),
            Err(error) => anyhow::Error::new(error).context("the gate ended"),
        }
    }

    /// Stops the engine. The containers stay.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let served = self.gate.await.context("the gate ended")?;
        self.gardener.shutdown().await;
        let emptied = self.volumizer.close().await;
        self.containerizer.close().await.context("cannot close the containerizer")?;
        emptied.context("cannot wait for the removal of files")?;
        served.context("cannot close the gate")
    }
}
