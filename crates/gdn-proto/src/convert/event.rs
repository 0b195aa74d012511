//! Events.

use std::time::{Duration, SystemTime};

use gdn_types::{Error, ErrorKind, Event, EventKind, Handle, ProcessId, Result, WantOfMemory};

use super::{missing, nanoseconds};
use crate::garden::{self, event::Kind};

impl From<Event> for garden::Event {
    fn from(event: Event) -> Self {
        let since_1970 = event.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let kind = match event.kind {
            EventKind::Created => Some(Kind::Created(garden::ContainerCreated {})),
            EventKind::Stopped => Some(Kind::Stopped(garden::ContainerStopped {})),
            EventKind::Destroyed => Some(Kind::Destroyed(garden::ContainerDestroyed {})),
            EventKind::Lost(reason) => Some(Kind::Lost(garden::ContainerLost { reason })),
            EventKind::ProcessStarted(id) => {
                Some(Kind::ProcessStarted(garden::ProcessStarted { process_id: id.to_string() }))
            }
            EventKind::ProcessExited(id, status) => Some(Kind::ProcessExited(garden::ProcessExited {
                process_id: id.to_string(),
                status: Some(status.into()),
            })),
            EventKind::OutOfMemory(want) => {
                let text = |id: Option<ProcessId>| id.map(|id| id.to_string()).unwrap_or_default();
                let (process_id, ended_process_id) = (text(want.sidecar), text(want.ended));
                Some(Kind::OutOfMemory(garden::OutOfMemory { process_id, ended_process_id }))
            }
            // The enum is open: a new kind reaches clients as one they do not know, until it gets a message of its own.
            _ => None,
        };
        garden::Event { at_ns: nanoseconds(since_1970), handle: event.handle.to_string(), kind }
    }
}

impl TryFrom<garden::Event> for Event {
    type Error = Error;

    /// `Unimplemented` for an event of a kind that this version does not know.
    fn try_from(wire: garden::Event) -> Result<Self> {
        let unknown = || Error::new(ErrorKind::Unimplemented, "event of an unknown kind");
        let kind = match wire.kind.ok_or_else(unknown)? {
            Kind::Created(_) => EventKind::Created,
            Kind::Stopped(_) => EventKind::Stopped,
            Kind::Destroyed(_) => EventKind::Destroyed,
            Kind::Lost(lost) => EventKind::Lost(lost.reason),
            Kind::ProcessStarted(started) => {
                EventKind::ProcessStarted(ProcessId::parse(&started.process_id)?)
            }
            Kind::ProcessExited(exited) => EventKind::ProcessExited(
                ProcessId::parse(&exited.process_id)?,
                exited.status.ok_or_else(|| missing("an exit status"))?.try_into()?,
            ),
            Kind::OutOfMemory(want) => EventKind::OutOfMemory(WantOfMemory {
                sidecar: named(&want.process_id)?,
                ended: named(&want.ended_process_id)?,
            }),
        };
        let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(wire.at_ns);
        Ok(Event { at, handle: Handle::parse(&wire.handle)?, kind })
    }
}

/// A process, or none where there is no text.
fn named(id: &str) -> Result<Option<ProcessId>> {
    if id.is_empty() { Ok(None) } else { ProcessId::parse(id).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gdn_types::ExitStatus;

    #[test]
    fn every_kind_of_event_reads_back() {
        let id = || ProcessId::parse("p").unwrap();
        let kinds = [
            EventKind::Created,
            EventKind::Stopped,
            EventKind::Destroyed,
            EventKind::Lost("keeper died".into()),
            EventKind::ProcessStarted(id()),
            EventKind::ProcessExited(id(), ExitStatus::Signal(9)),
            EventKind::OutOfMemory(WantOfMemory::default()),
            EventKind::OutOfMemory(WantOfMemory { sidecar: Some(id()), ended: None }),
            EventKind::OutOfMemory(WantOfMemory { sidecar: None, ended: Some(id()) }),
        ];
        for kind in kinds {
            let at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
            let event = Event { at, handle: Handle::parse("h").unwrap(), kind };
            assert_eq!(Event::try_from(garden::Event::from(event.clone())).unwrap(), event);
        }
    }

    #[test]
    fn an_event_of_a_later_version_is_told_apart_from_a_broken_one() {
        let later = garden::Event { at_ns: 0, handle: "h".into(), kind: None };
        assert_eq!(Event::try_from(later).unwrap_err().kind(), ErrorKind::Unimplemented);
    }
}
