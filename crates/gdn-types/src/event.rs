//! What happens in an engine, as it happens.

use std::time::SystemTime;

use crate::{ExitStatus, Handle, ProcessId};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// To which container.
    pub handle: Handle,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The container was acknowledged.
    Created,
    /// A stop was carried out.
    Stopped,
    /// The container is gone.
    Destroyed,
    /// The container's kernel objects are gone; the text says why.
    Lost(String),
    /// A process started.
    ProcessStarted(ProcessId),
    /// A process ended.
    ProcessExited(ProcessId, ExitStatus),
    /// The kernel ended a process for want of memory.
    OutOfMemory(WantOfMemory),
}

/// Whose memory there was no more of, and who was ended for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantOfMemory {
    /// The sidecar whose own limit was reached; absent: the container's.
    pub sidecar: Option<ProcessId>,
    /// Who was ended, as far as it is known: a process that ended by the kernel's signal, or that says by its exit (137) that a
    /// child of its did, before the kernel's count was told otherwise. Absent for others' children.
    pub ended: Option<ProcessId>,
}

impl EventKind {
    /// The stable name, as it appears on the wire and in `gdn events`.
    pub fn name(&self) -> &'static str {
        match self {
            EventKind::Created => "created",
            EventKind::Stopped => "stopped",
            EventKind::Destroyed => "destroyed",
            EventKind::Lost(_) => "lost",
            EventKind::ProcessStarted(_) => "process_started",
            EventKind::ProcessExited(..) => "process_exited",
            EventKind::OutOfMemory(_) => "out_of_memory",
        }
    }
}
