//! The orchestrator itself: what it holds, and when it answers.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gdn_types::{Capacity, Error, ErrorKind, Event, Handle, Result};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::container::{Container, Phase};
use crate::containers::Containers;
use crate::faults::Faults;
use crate::figures::Timings;
use crate::finished::Finished;
use crate::grace::GraceClock;
use crate::sidecars::Sidecars;
use crate::{Components, Config, EventHub, Hold};

/// The orchestrator. Every gate calls this one.
pub struct Gardener {
    pub(crate) config: Config,
    pub(crate) components: Components,
    pub(crate) containers: Containers,
    /// Those that run, in any container.
    pub(crate) sidecars: Sidecars,
    pub(crate) events: Arc<EventHub>,
    pub(crate) clock: Arc<GraceClock>,
    pub(crate) faults: Faults,
    /// How long the operations that clients ask for take.
    pub(crate) timings: Timings,
    /// Set once everything of the earlier run is restored.
    pub(crate) started: AtomicBool,
    /// One start at a time.
    pub(crate) starting: tokio::sync::Mutex<()>,
    /// Cancelled when a shutdown is announced: grace times stand still.
    pub(crate) stopping: CancellationToken,
    /// Cancelled by shutdown: no new calls, no new background passes.
    pub(crate) closing: CancellationToken,
    /// Creates, destroys and other work that must come to its end before a shutdown.
    pub(crate) work: TaskTracker,
    /// Last of all: they are closed once nobody can be told any more that they are.
    kept_open: Mutex<Vec<OwnedFd>>,
}

impl Gardener {
    /// An orchestrator over these components; it answers `Unavailable` until [`start`](Self::start) is done.
    pub fn new(config: Config, components: Components, events: Arc<EventHub>) -> Arc<Self> {
        Arc::new(Gardener {
            config,
            components,
            containers: Containers::default(),
            sidecars: Sidecars::default(),
            events,
            clock: Arc::default(),
            faults: Faults::default(),
            timings: Timings::default(),
            started: AtomicBool::new(false),
            starting: tokio::sync::Mutex::default(),
            stopping: CancellationToken::new(),
            closing: CancellationToken::new(),
            work: TaskTracker::new(),
            kept_open: Mutex::default(),
        })
    }

    /// Succeeds while the engine serves.
    ///
    /// # Errors
    /// `Unavailable` before the start is done and after a shutdown began.
    pub async fn ping(&self) -> Result<()> {
        self.open()
    }

    /// What this engine can hold: the smaller of the configured maximum and the network's pools.
    ///
    /// # Errors
    /// `Unavailable`; what the volumizer answers.
    pub async fn capacity(&self) -> Result<Capacity> {
        self.open()?;
        let (disk_bytes, schedulable_disk_bytes) =
            self.faults.caught("volumizer.capacity", self.components.volumizer.capacity()).await?;
        let pools = self.components.networker.capacity();
        let max_containers = match self.config.max_containers {
            0 => pools,
            configured => configured.min(pools),
        };
        Ok(Capacity {
            memory_bytes: self.config.memory_bytes,
            disk_bytes,
            schedulable_disk_bytes,
            max_containers,
            pools: self.components.networker.pools(),
        })
    }

    /// Every event from now on. The channel is bounded: a receiver that lags learns how many events it missed.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// How many panics of components or tasks became the error `Internal` so far.
    pub fn panics(&self) -> u64 {
        self.faults.count()
    }

    /// No grace time ends from now on: the gates are about to cut their clients off, who cannot come back to their containers
    /// before the next start. Calls are answered until [`shutdown`](Self::shutdown).
    pub fn announce_shutdown(&self) {
        self.stopping.cancel();
    }

    /// Refuses new calls and waits for the creates and destroys in progress, at most so long. Containers stay; what could not
    /// be destroyed yet, and what was abandoned half made, is destroyed after the next start.
    pub async fn shutdown(&self, patience: Duration) {
        self.announce_shutdown();
        self.closing.cancel();
        self.work.close();
        let done = async {
            self.work.wait().await;
            self.save_all_events().await;
        };
        if tokio::time::timeout(patience, done).await.is_ok() {
            return;
        }
        for container in self.containers.all() {
            let phase = container.status().phase;
            if matches!(phase, Phase::Creating | Phase::Destroying { active: true }) {
                tracing::warn!(handle = %container.handle, ?phase, "abandoned by the shutdown; the next start sees to it");
            }
        }
        tracing::warn!(calls = self.work.len(), "the shutdown has waited long enough");
    }

    /// Keeps one output of a process open for as long as there is this orchestrator. To be called with the outputs of
    /// conversations that a stop cuts off: closed now, they would look like those of clients who have gone, and what is
    /// written during the rest of the stop would be thrown away.
    pub fn keep_open(&self, output: OwnedFd) {
        self.kept_open.lock().unwrap_or_else(PoisonError::into_inner).push(output);
    }

    /// Refuses calls while the engine does not serve.
    pub(crate) fn open(&self) -> Result<()> {
        if self.closing.is_cancelled() {
            return Err(Error::new(ErrorKind::Unavailable, "the engine is shutting down"));
        }
        if !self.started.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Unavailable, "the engine is starting"));
        }
        Ok(())
    }

    /// The container of a handle, as far as clients can see it.
    pub(crate) fn find(&self, handle: &Handle) -> Result<Arc<Container>> {
        self.open()?;
        self.containers.visible(handle)
    }

    /// The container of a handle, its countdown paused.
    pub(crate) fn hold(&self, handle: &Handle) -> Result<(Arc<Container>, Hold)> {
        let container = self.find(handle)?;
        let hold = Hold::new(Arc::clone(&container), Arc::clone(&self.clock));
        Ok((container, hold))
    }

    /// As [`hold`](Self::hold), for what needs a container with kernel objects.
    pub(crate) fn hold_living(&self, handle: &Handle) -> Result<(Arc<Container>, Hold)> {
        let held = self.hold(handle)?;
        held.0.must_live()?;
        Ok(held)
    }

    /// Runs work to its end even if the caller goes away, and makes a shutdown wait for it.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        self: &Arc<Self>,
        task: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let gardener = Arc::clone(self);
        Finished::new(&self.work, async move { gardener.faults.caught(task, work).await }).await
    }
}

impl std::fmt::Debug for Gardener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gardener").field("config", &self.config).finish_non_exhaustive()
    }
}
