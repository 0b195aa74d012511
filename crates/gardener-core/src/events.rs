//! What components notice by themselves, put on record and passed on to subscribers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use gdn_traits::EventSink;
use gdn_types::{ContainerId, Event, EventKind, ExitStatus, ProcessId};
use tokio::sync::broadcast;

use crate::container::{Container, Phase, ProcessMark};

/// Events a subscriber may lag behind before it misses the oldest; it then learns how many.
const BACKLOG: usize = 1024;

/// The text clients look for after an exit (Diego's executor compares it literally).
const OUT_OF_MEMORY: &str = "Out of memory";

/// Takes the components' events, by container id, and gives them to subscribers, by handle.
///
/// Everything happens in the caller's thread before the call returns: an out-of-memory event that a component reports
/// before an exit is on record before anyone can learn of the exit.
pub struct EventHub {
    containers: Mutex<HashMap<ContainerId, Arc<Container>>>,
    subscribers: broadcast::Sender<Event>,
}

impl EventHub {
    /// A hub without containers; the wiring gives it to the containerizer and to the orchestrator.
    #[allow(clippy::new_ret_no_self, reason = "it is only ever shared")]
    pub fn new() -> Arc<EventHub> {
        let (subscribers, _) = broadcast::channel(BACKLOG);
        Arc::new(EventHub { containers: Mutex::default(), subscribers })
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

    fn containers(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Arc<Container>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.containers().get(id).cloned()
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

    fn out_of_memory(&self, id: &ContainerId, sidecar: Option<&ProcessId>) {
        let Some(container) = self.container(id) else { return };
        let mut status = container.status();
        // A sidecar's own want is not the container's: clients take the bare text for that.
        status.note_event(&match sidecar {
            None => OUT_OF_MEMORY.to_owned(),
            Some(process) => format!("{OUT_OF_MEMORY}: sidecar {process}"),
        });
        self.emit(&container, EventKind::OutOfMemory(sidecar.cloned()));
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
