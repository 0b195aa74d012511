//! What components notice by themselves, put on record and passed on to subscribers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use gdn_traits::{EventSink, NotedEvent};
use gdn_types::{ContainerId, ErrorKind, Event, EventKind, ExitStatus, ProcessId, WantOfMemory};
use tokio::sync::{Notify, broadcast};

use crate::Gardener;
use crate::container::{Container, Phase, ProcessMark};

/// Events a subscriber may lag behind before it misses the oldest; it then learns how many.
const BACKLOG: usize = 1024;

/// The text clients look for after an exit (Diego's executor compares it literally).
const OUT_OF_MEMORY: &str = "Out of memory";

/// Takes the components' events, by container id, and gives them to subscribers, by handle.
///
/// Everything happens in the caller's thread before the call returns: an out-of-memory event that a component reports
/// before an exit is on record before anyone can learn of the exit. It is made durable behind that, before a wait is answered.
pub struct EventHub {
    containers: Mutex<HashMap<ContainerId, Arc<Container>>>,
    subscribers: broadcast::Sender<Event>,
    /// Those of which something was noted that the store does not know yet.
    unsaved: Mutex<VecDeque<Arc<Container>>>,
    more_unsaved: Notify,
}

impl EventHub {
    /// A hub without containers; the wiring gives it to the containerizer and to the orchestrator.
    #[allow(clippy::new_ret_no_self, reason = "it is only ever shared")]
    pub fn new() -> Arc<EventHub> {
        let (subscribers, _) = broadcast::channel(BACKLOG);
        let (containers, unsaved) = (Mutex::default(), Mutex::default());
        Arc::new(EventHub { containers, subscribers, unsaved, more_unsaved: Notify::new() })
    }

    /// Every event from now on. A subscriber that falls too far behind sees the gap as `Lagged`.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.subscribers.subscribe()
    }

    /// Lets events find the container.
    pub(crate) fn register(&self, container: &Arc<Container>) {
        self.containers().insert(container.id, Arc::clone(container));
    }

    /// The container is gone.
    pub(crate) fn unregister(&self, id: &ContainerId) {
        self.containers().remove(id);
    }

    /// Tells the subscribers.
    pub(crate) fn emit(&self, container: &Container, kind: EventKind) {
        // An error means that there is no subscriber.
        let _ =
            self.subscribers.send(Event { at: SystemTime::now(), handle: container.handle.clone(), kind });
    }

    /// A process's start was acknowledged: tells it, and an exit that was quicker than the answer.
    pub(crate) fn started(&self, container: &Container, process: &ProcessId) {
        let mut status = container.status();
        let early = match status.processes.insert(process.clone(), ProcessMark::Running) {
            Some(ProcessMark::Starting(early)) => early,
            Some(ProcessMark::Running) | None => None,
        };
        self.emit(container, EventKind::ProcessStarted(process.clone()));
        if early.is_some() || status.lost.is_some() {
            status.processes.remove(process);
        }
        if let Some(exit) = early {
            self.emit(container, EventKind::ProcessExited(process.clone(), exit));
        }
    }

    /// A container of which something was noted that the store may not know yet, as soon as there is one.
    async fn next_unsaved(&self) -> Arc<Container> {
        loop {
            let more = self.more_unsaved.notified();
            let next = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            if let Some(container) = next {
                return container;
            }
            more.await;
        }
    }

    fn containers(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Arc<Container>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.containers().get(id).cloned()
    }
}

impl Gardener {
    /// Starts the one task that makes durable what happens to containers.
    pub(crate) fn keep_events(self: &Arc<Self>) {
        let (gardener, events, closing) =
            (Arc::downgrade(self), Arc::clone(&self.events), self.closing.clone());
        tokio::spawn(async move {
            while let Some(container) = closing.run_until_cancelled(events.next_unsaved()).await {
                let Some(gardener) = gardener.upgrade() else { return };
                gardener.save_events(&container).await;
            }
        });
    }

    /// Makes durable what nobody has done so with yet, and waits where somebody is about it.
    pub(crate) async fn save_all_events(&self) {
        for container in self.containers.all() {
            self.save_events(&container).await;
        }
    }

    /// Makes durable what happened to a container so far. What cannot be stored is known until the engine ends.
    pub(crate) async fn save_events(&self, container: &Container) {
        // One after the other: the last one writes all.
        let _turn = container.saving.lock().await;
        let Some((events, noted)) = container.status().unsaved_events() else { return };
        let set = self.components.properties.set_events(&container.handle, container.id, events);
        match self.faults.caught("properties.set_events", set).await {
            Ok(()) => container.status().events_are_saved(noted),
            Err(error) if error.kind() == ErrorKind::ContainerNotFound => {}
            Err(error) => {
                tracing::warn!(handle = %container.handle, error = error.report(), "what happened is not stored");
            }
        }
    }
}

impl EventSink for EventHub {
    fn process_exited(&self, id: &ContainerId, process: &ProcessId, exit: ExitStatus) {
        let Some(container) = self.container(id) else { return };
        let mut status = container.status();
        status.exits += 1;
        if let Some(ProcessMark::Starting(early)) = status.processes.get_mut(process) {
            *early = Some(exit);
            return;
        }
        status.processes.remove(process);
        self.emit(&container, EventKind::ProcessExited(process.clone(), exit));
    }

    fn out_of_memory(&self, id: &ContainerId, want: &WantOfMemory, kills: u64) {
        let Some(container) = self.container(id) else { return };
        let mut status = container.status();
        // A sidecar's own want is not the container's: clients take the bare text for that.
        let text = match &want.sidecar {
            None => OUT_OF_MEMORY.to_owned(),
            Some(process) => format!("{OUT_OF_MEMORY}: sidecar {process}"),
        };
        if status.note_event(NotedEvent { text, kills }) {
            self.emit(&container, EventKind::OutOfMemory(want.clone()));
            drop(status);
            self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).push_back(container);
            self.more_unsaved.notify_one();
        }
    }

    fn container_lost(&self, id: &ContainerId, reason: &str) {
        let Some(container) = self.container(id) else { return };
        let mut status = container.status();
        if matches!(status.phase, Phase::Destroying { .. }) || status.lost.is_some() {
            return;
        }
        status.lost = Some(reason.to_owned());
        status.created = None;
        status.processes.clear();
        if status.phase == Phase::Created {
            self.emit(&container, EventKind::Lost(reason.to_owned()));
        }
    }
}
