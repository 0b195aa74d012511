//! One container as the orchestrator holds it in memory.
//!
//! ```text
//!             commit                destroy, expiry
//! Creating ------------> Created ------------------> Destroying -----> (gone)
//!     |                                               ^   |  ^
//!     +---- failed, cancelled ------------------------+   +--+ something remains: tried again
//! ```
//!
//! *Creating* is hidden from every client. A created container may be *lost* besides: its kernel objects are gone.
//! *Destroying* is either active (a pass over the components runs) or resting until the next pass.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gdn_traits::{CreatedContainer, NotedEvent};
use gdn_types::{
    ContainerId, Error, ErrorKind, ExitStatus, Handle, HostIds, LifeState, PortMapping, ProcessId, Result,
};

use crate::grace::Countdown;

/// The most entries of [`ContainerInfo::events`](gdn_types::ContainerInfo): a container that runs out of memory all day
/// must not make the engine do so.
const MAX_EVENTS: usize = 100;

/// A container in memory; its durable half is the property manager's record.
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) handle: Handle,
    /// The host ids that it has for itself.
    pub(crate) ids: Option<HostIds>,
    status: Mutex<Status>,
    /// Held while the networker changes or removes this container's network, so that it sees one call at a time.
    pub(crate) network: tokio::sync::Mutex<()>,
    /// Held while limits change: memory and swap are two files that depend on each other.
    pub(crate) limits: tokio::sync::Mutex<()>,
    /// Held while what happened to it is stored.
    pub(crate) saving: tokio::sync::Mutex<()>,
}

/// What changes about a container. Guarded by one lock that is never held across an await.
pub(crate) struct Status {
    pub(crate) phase: Phase,
    /// Why its kernel objects are gone, if they are.
    pub(crate) lost: Option<String>,
    /// Why it is being destroyed, and what stood in the way so far.
    pub(crate) reason: String,
    pub(crate) stopped: bool,
    pub(crate) created: Option<CreatedContainer>,
    pub(crate) mapped_ports: Vec<PortMapping>,
    pub(crate) processes: HashMap<ProcessId, ProcessMark>,
    /// Counts exits, so that a listing of processes can be told to be stale.
    pub(crate) exits: u64,
    pub(crate) countdown: Countdown,
    /// Whether the reclaim queue has it.
    pub(crate) reclaiming: bool,
    /// Its claim failed: the store has no record of it.
    pub(crate) refused: bool,
    events: VecDeque<NotedEvent>,
    /// How many events were noted, and how many of them the store knows.
    noted: u64,
    saved: u64,
}

/// Where a container is between claim and forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Creating,
    Created,
    Destroying { active: bool },
}

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessMark {
    /// Its start was asked for; it may have ended before the answer came.
    Starting(Option<ExitStatus>),
    Running,
}

impl Container {
    pub(crate) fn new(id: ContainerId, handle: Handle, ids: Option<HostIds>, phase: Phase) -> Self {
        let status = Status {
            phase,
            lost: None,
            reason: String::new(),
            stopped: false,
            created: None,
            mapped_ports: Vec::new(),
            processes: HashMap::new(),
            exits: 0,
            countdown: Countdown::default(),
            reclaiming: false,
            refused: false,
            events: VecDeque::new(),
            noted: 0,
            saved: 0,
        };
        let (network, limits) = (tokio::sync::Mutex::new(()), tokio::sync::Mutex::new(()));
        let saving = tokio::sync::Mutex::new(());
        Container { id, handle, ids, status: Mutex::new(status), network, limits, saving }
    }

    /// The status, locked. A panic elsewhere cannot leave it half changed in a way that matters: every change is one
    /// assignment or one collection call.
    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether clients can see it at all.
    pub(crate) fn is_visible(&self) -> bool {
        self.status().phase != Phase::Creating
    }

    /// Refuses what only a container that is not being destroyed can do.
    pub(crate) fn must_stay(&self) -> Result<()> {
        match self.status().phase {
            Phase::Creating => Err(Error::container_not_found(&self.handle)),
            Phase::Created => Ok(()),
            Phase::Destroying { .. } => Err(being_destroyed()),
        }
    }

    /// Refuses what only a container with kernel objects can do.
    pub(crate) fn must_live(&self) -> Result<()> {
        self.must_stay()?;
        match &self.status().lost {
            None => Ok(()),
            Some(reason) => {
                Err(Error::new(ErrorKind::Lost, format!("container {} was lost: {reason}", self.handle)))
            }
        }
    }

    /// Takes a name for a process about to start, so that an exit quicker than the answer is not lost.
    ///
    /// # Errors
    /// `AlreadyExists` while a process of that name runs or starts.
    pub(crate) fn reserve(&self, process: &ProcessId) -> Result<()> {
        match self.status().processes.entry(process.clone()) {
            Entry::Occupied(_) => {
                Err(Error::new(ErrorKind::AlreadyExists, format!("process ID '{process}' already in use")))
            }
            Entry::Vacant(free) => {
                free.insert(ProcessMark::Starting(None));
                Ok(())
            }
        }
    }

    /// Gives a name back whose process could not be started.
    pub(crate) fn release(&self, process: &ProcessId) {
        let mut status = self.status();
        if matches!(status.processes.get(process), Some(ProcessMark::Starting(_))) {
            status.processes.remove(process);
        }
    }

    /// Takes the one destroy that may run at a time.
    ///
    /// # Errors
    /// `ContainerNotFound` while it is being created; `BeingDestroyed` while a destroy runs.
    pub(crate) fn begin_destroy(&self, reason: &str) -> Result<()> {
        let mut status = self.status();
        match status.phase {
            Phase::Creating => Err(Error::container_not_found(&self.handle)),
            Phase::Destroying { active: true } => Err(being_destroyed()),
            Phase::Created | Phase::Destroying { active: false } => {
                status.doom(reason);
                Ok(())
            }
        }
    }

    /// Takes the destroy of a container that nobody else can reach or that has just been loaded.
    pub(crate) fn doom(&self, reason: &str) {
        self.status().doom(reason);
    }

    /// Lets the destroy rest until its next pass, and says what stood in the way.
    pub(crate) fn rest(&self, obstacle: &Error) {
        let mut status = self.status();
        status.phase = Phase::Destroying { active: false };
        status.reason = obstacle.report();
    }
}

impl Status {
    /// Enters an active destroy.
    pub(crate) fn doom(&mut self, reason: &str) {
        self.phase = Phase::Destroying { active: true };
        if self.reason.is_empty() {
            self.reason = reason.to_owned();
        }
    }

    /// The state clients see.
    pub(crate) fn life(&self) -> LifeState {
        match (self.phase, &self.lost, self.stopped) {
            (Phase::Destroying { .. }, ..) => LifeState::Destroying,
            (_, Some(_), _) => LifeState::Lost,
            (_, None, true) => LifeState::Stopped,
            (_, None, false) => LifeState::Active,
        }
    }

    /// Why it is in that state, for a person.
    pub(crate) fn why(&self) -> String {
        match self.life() {
            LifeState::Destroying => self.reason.clone(),
            LifeState::Lost => self.lost.clone().unwrap_or_default(),
            LifeState::Active | LifeState::Stopped => String::new(),
        }
    }

    /// Puts back what an earlier engine noted.
    pub(crate) fn recall_events(&mut self, events: Vec<NotedEvent>) {
        self.events = events.into();
    }

    /// Notes something for [`ContainerInfo::events`](gdn_types::ContainerInfo), dropping the oldest of too many. False for what
    /// a restore finds and an earlier engine has noted.
    pub(crate) fn note_event(&mut self, event: NotedEvent) -> bool {
        let is_it = |known: &NotedEvent| known.text == event.text && known.kills >= event.kills;
        if self.phase == Phase::Creating && self.events.iter().any(is_it) {
            return false;
        }
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.noted += 1;
        true
    }

    /// What happened, oldest first.
    pub(crate) fn events(&self) -> Vec<String> {
        self.events.iter().map(|event| event.text.clone()).collect()
    }

    /// All events, and how many were noted, if the store does not know them all.
    pub(crate) fn unsaved_events(&self) -> Option<(Vec<NotedEvent>, u64)> {
        (self.saved < self.noted).then(|| (self.events.iter().cloned().collect(), self.noted))
    }

    /// The store knows so many of those that were noted.
    pub(crate) fn events_are_saved(&mut self, noted: u64) {
        self.saved = noted;
    }

    /// Names of the processes that run, in order.
    pub(crate) fn running(&self) -> Vec<String> {
        let running = self.processes.iter().filter(|(_, mark)| **mark == ProcessMark::Running);
        let mut names: Vec<String> = running.map(|(process, _)| process.to_string()).collect();
        names.sort_unstable();
        names
    }
}

/// The text is compared literally by clients (Diego's executor).
fn being_destroyed() -> Error {
    Error::new(ErrorKind::BeingDestroyed, "container already being destroyed")
}
