//! Events on the screen.

use gdn_types::{Event, EventKind};
use serde::Serialize;

use super::{Show, time};

/// One event, or a gap between events.
#[derive(Debug, Serialize)]
pub(crate) struct EventLine {
    at: String,
    event: &'static str,
    handle: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl EventLine {
    /// What happened, in words.
    pub(crate) fn new(event: &Event) -> Self {
        let mut line = EventLine {
            at: time::rfc3339(time::unix_ms(event.at)),
            event: event.kind.name(),
            handle: event.handle.to_string(),
            process: None,
            exit_code: None,
            reason: None,
        };
        match &event.kind {
            EventKind::Lost(reason) => line.reason = Some(reason.clone()),
            EventKind::ProcessStarted(process) => line.process = Some(process.to_string()),
            EventKind::ProcessExited(process, status) => {
                line.process = Some(process.to_string());
                line.exit_code = Some(status.code());
                line.reason = Some(status.to_string());
            }
            EventKind::OutOfMemory(want) => {
                line.process = want.ended.as_ref().or(want.sidecar.as_ref()).map(ToString::to_string);
                line.reason =
                    want.sidecar.as_ref().map(|sidecar| format!("of the limit of sidecar {sidecar}"));
            }
            _ => {}
        }
        line
    }
}

impl Show for EventLine {
    fn text(&self) -> String {
        let mut text = format!("{} {} {}", self.at, self.handle, self.event);
        for part in [&self.process, &self.reason].into_iter().flatten() {
            text.push(' ');
            text.push_str(part);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use gdn_types::{ExitStatus, Handle, ProcessId};

    use super::*;

    #[test]
    fn an_exit_names_the_process_and_how_it_ended() {
        let kind = EventKind::ProcessExited(ProcessId::parse("p").unwrap(), ExitStatus::Signal(9));
        let event =
            Event { at: UNIX_EPOCH + Duration::from_millis(5), handle: Handle::parse("h").unwrap(), kind };
        let line = EventLine::new(&event);
        assert_eq!(line.text(), "1970-01-01T00:00:00.005Z h process_exited p ended by signal 9");
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"at":"1970-01-01T00:00:00.005Z","event":"process_exited","handle":"h","process":"p","exit_code":137,"reason":"ended by signal 9"}"#
        );
    }
}
