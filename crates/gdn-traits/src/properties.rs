//! The property store: what the engine must never forget.

use std::time::Duration;

use async_trait::async_trait;
use gdn_types::{
    ContainerId, ContainerSpec, ContainerState, Handle, HostIds, ImageConfig, Limits, Properties, Result,
};

use crate::NetworkInfo;

/// Keeps every container's record. What a call acknowledged survives a kill of the engine and a loss of power; the one
/// exception is told at [`mark`](Self::mark).
///
/// # The story
///
/// [`claim`](Self::claim) takes the handle and writes the intent and the client's properties, in one durable step: two
/// claims of one handle never both succeed. [`commit`](Self::commit) makes the container visible. [`mark`](Self::mark)
/// notes that a destroy has begun, [`forget`](Self::forget) that nothing is left and the handle is free.
///
/// Reading is from memory and never waits for the disk.
#[async_trait]
pub trait PropertyManager: Send + Sync + 'static {
    /// Takes the record's handle, durably, in the state [`ContainerState::Claimed`].
    ///
    /// The orchestrator makes the first parts of the container meanwhile, but only after it has asked this future once: what
    /// memory can refuse is to be refused then, before anything is awaited.
    ///
    /// # Errors
    /// `AlreadyExists` (`handle 'H' already in use`) and then nothing is changed; `ResourceExhausted` when `max_containers`
    /// (0 = no limit) records exist.
    async fn claim(&self, record: ContainerRecord, max_containers: u64) -> Result<()>;

    /// Replaces the claimed record, durably, by its final form in the state [`ContainerState::Created`].
    async fn commit(&self, record: ContainerRecord) -> Result<()>;

    /// Notes a new state.
    ///
    /// [`ContainerState::Destroying`] survives a kill of the engine at once; a loss of power it survives for certain only
    /// when a later durable change has been acknowledged. That is enough for an intent: after a loss of power nothing of the
    /// container runs, and nobody was told that it is destroyed. Every other state is durable.
    async fn mark(&self, handle: &Handle, state: ContainerState) -> Result<()>;

    /// Notes that a stop was carried out, durably.
    async fn mark_stopped(&self, handle: &Handle) -> Result<()>;

    /// Removes the record, durably; the handle is free. Succeeds when there is none.
    async fn forget(&self, handle: &Handle) -> Result<()>;

    /// All records, in no particular order.
    fn records(&self) -> Vec<ContainerRecord>;

    /// One record.
    fn record(&self, handle: &Handle) -> Option<ContainerRecord>;

    /// One property.
    ///
    /// # Errors
    /// `ContainerNotFound`; `PropertyNotFound` (`property does not exist: K`).
    fn get(&self, handle: &Handle, key: &str) -> Result<String>;

    /// Sets a property, durably.
    async fn set(&self, handle: &Handle, key: &str, value: &str) -> Result<()>;

    /// Removes a property, durably.
    ///
    /// # Errors
    /// `ContainerNotFound`; `PropertyNotFound`.
    async fn remove(&self, handle: &Handle, key: &str) -> Result<()>;

    /// Changes the grace time, durably.
    async fn set_grace_time(&self, handle: &Handle, grace_time: Duration) -> Result<()>;

    /// Notes the limits that are asked for from now on, durably.
    ///
    /// # Errors
    /// `ContainerNotFound`.
    async fn set_limits(&self, handle: &Handle, limits: Limits) -> Result<()>;

    /// Notes what happened to this container so far, durably.
    ///
    /// # Errors
    /// `ContainerNotFound`, also when the handle is another container's by now.
    async fn set_events(&self, handle: &Handle, id: ContainerId, events: Vec<NotedEvent>) -> Result<()>;

    /// Records that could not be read at start and were put aside, with the reason, for a person.
    fn quarantined(&self) -> Vec<String>;
}

/// Everything the engine must remember of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerRecord {
    /// The engine's own name of it.
    pub id: ContainerId,
    /// The clients' name of it.
    pub handle: Handle,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Whether a stop was carried out.
    pub stopped: bool,
    /// What was asked for. The image's password is not kept.
    pub spec: ContainerSpec,
    /// The client's properties and the engine's own, as they are now.
    pub properties: Properties,
    /// How long it may go without a request; zero = for ever.
    pub grace_time: Duration,
    /// The boot of the host in which it was made (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// What the image says about running it.
    pub image: ImageConfig,
    /// What the network decided.
    pub network: NetworkInfo,
    /// The host ids that it has for itself; absent for a privileged one, and for one with the map that all share.
    pub ids: Option<HostIds>,
    /// What happened to it, oldest first.
    pub events: Vec<NotedEvent>,
}

/// Something that happened to a container and is told with its description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedEvent {
    /// What clients are told.
    pub text: String,
    /// How many processes the kernel had killed for want of memory by then, of whoever the text is about. With it an engine
    /// knows after its start what happened while there was none.
    pub kills: u64,
}
