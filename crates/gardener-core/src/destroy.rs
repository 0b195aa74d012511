//! Destroy: idempotent, tries every part, gathers what fails, and keeps the record while anything remains.

use std::sync::Arc;
use std::time::Duration;

use gdn_traits::VolumeId;
use gdn_types::{ContainerState, Error, EventKind, Handle, Result};

use crate::Gardener;
use crate::container::Container;

/// The pause before the second pass, and the longest between two: short enough that a passing EBUSY costs little, long
/// enough that a task stuck for hours costs nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Gardener {
    /// Destroys a container; the answer comes when nothing is left of it and its removal is durable. It goes on even if
    /// the caller goes away.
    ///
    /// # Errors
    /// `ContainerNotFound`, also while it is being created; `BeingDestroyed` while another destroy of it runs; else all
    /// that stood in the way: the record is kept, and the destroy is tried again in the background and by every call.
    pub async fn destroy(self: &Arc<Self>, handle: &Handle) -> Result<()> {
        let call = self.timings.destroy.begin();
        let _working = self.work.token();
        let container = self.find(handle)?;
        container.begin_destroy("a client asked for it")?;
        let gardener = Arc::clone(self);
        call.with(self.to_its_end("destroy", async move { gardener.destroy_pass(&container).await }).await)
    }

    /// One pass over all parts of a container whose destroy was taken; what remains goes to the reclaim queue.
    pub(crate) async fn destroy_pass(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let outcome = self.faults.caught("destroy", self.remove_all(container)).await;
        match &outcome {
            Ok(()) => self.gone(container),
            Err(error) => {
                container.rest(error);
                self.reclaim(container);
            }
        }
        outcome
    }

    /// Runs a destroy that was taken, in the background.
    pub(crate) fn destroy_in_background(
        self: &Arc<Self>,
        container: Arc<Container>,
    ) -> tokio::task::JoinHandle<()> {
        let gardener = Arc::clone(self);
        self.work.spawn(async move {
            if let Err(error) = gardener.destroy_pass(&container).await {
                tracing::warn!(handle = %container.handle, error = error.report(), "destroy will be tried again");
            }
        })
    }

    /// The recipe: intent, processes, then network and disk, and the record last.
    async fn remove_all(&self, container: &Container) -> Result<()> {
        self.write_intent(container).await?;
        let id = &container.id;
        let components = &self.components;
        let processes =
            self.faults.caught("containerizer.destroy", components.containerizer.destroy(id)).await;
        let network = async {
            let _alone = container.network.lock().await;
            self.faults.caught("networker.destroy", components.networker.destroy(id)).await
        };
        let volume = VolumeId::from(*id);
        let volume = self.faults.caught("volumizer.destroy", components.volumizer.destroy(&volume));
        let (network, volume) = futures::join!(network, volume);
        let failures = [processes, network, volume].into_iter().filter_map(Result::err).collect();
        if let Some(error) = Error::gathered(&format!("destroy {}", container.handle), failures) {
            return Err(error);
        }
        // Whatever is stored under a handle that was refused is somebody else's.
        if container.status().refused {
            return Ok(());
        }
        self.faults.caught("properties.forget", components.properties.forget(&container.handle)).await
    }

    /// Whether the record of the container's handle is this container's.
    pub(crate) fn is_recorded(&self, container: &Container) -> bool {
        let record = self.components.properties.record(&container.handle);
        record.is_some_and(|record| record.id == container.id)
    }

    /// Makes sure that a start after a crash goes on with the destroy. A claimed record already says so.
    async fn write_intent(&self, container: &Container) -> Result<()> {
        let properties = &self.components.properties;
        match properties.record(&container.handle) {
            Some(record) if record.id == container.id && record.state == ContainerState::Created => {
                let mark = properties.mark(&container.handle, ContainerState::Destroying);
                self.faults.caught("properties.mark", mark).await
            }
            Some(_) | None => Ok(()),
        }
    }

    fn gone(&self, container: &Container) {
        self.events.unregister(&container.id);
        self.sidecars.forget_all(container);
        self.containers.remove(container);
        self.events.emit(container, EventKind::Destroyed);
    }

    /// The reclaim queue: one task per stuck container, so that none waits for another. It ends when the container is
    /// gone, and with the engine.
    fn reclaim(self: &Arc<Self>, container: &Arc<Container>) {
        if std::mem::replace(&mut container.status().reclaiming, true) {
            return;
        }
        let (gardener, container) = (Arc::downgrade(self), Arc::clone(container));
        let closing = self.closing.clone();
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                if closing.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                let Some(gardener) = gardener.upgrade() else { return };
                if gardener.retry(&container).await {
                    return;
                }
            }
        });
    }

    /// One more pass, unless a client's is under way; whether the container is gone.
    async fn retry(self: &Arc<Self>, container: &Arc<Container>) -> bool {
        if self.containers.get(&container.handle).is_none_or(|known| known.id != container.id) {
            return true;
        }
        let _working = self.work.token();
        if container.begin_destroy("an earlier pass failed").is_err() {
            return false;
        }
        let done = self.destroy_pass(container).await;
        if let Err(error) = &done {
            tracing::warn!(handle = %container.handle, error = error.report(), "destroy will be tried again");
        }
        done.is_ok()
    }
}
