//! How every call is answered: its errors as clients know them, its one log line.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use gdn_types::{Error, ErrorKind, Handle, ProcessId, Result};
use serde::Serialize;

/// The longest message put into an answer, in bytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// Every kind with the type of Garden's that clients tell it by, and the status of the response.
///
/// Clients look at the type, and of the status only at whether it is a success; these are the reference engine's.
const TYPES: [(ErrorKind, &str, u16); 20] = [
    (ErrorKind::InvalidArgument, "", 500),
    (ErrorKind::ContainerNotFound, "ContainerNotFoundError", 404),
    (ErrorKind::ProcessNotFound, "ProcessNotFoundError", 404),
    (ErrorKind::PropertyNotFound, "", 500),
    (ErrorKind::AlreadyExists, "", 500),
    (ErrorKind::ImageNotFound, "", 500),
    (ErrorKind::ImageInvalid, "", 500),
    (ErrorKind::ExecutableNotFound, "ExecutableNotFoundError", 500),
    (ErrorKind::UserNotFound, "", 500),
    (ErrorKind::ResourceExhausted, "", 500),
    (ErrorKind::PermissionDenied, "", 500),
    (ErrorKind::FailedPrecondition, "", 500),
    (ErrorKind::Lost, "", 500),
    (ErrorKind::BeingDestroyed, "", 500),
    (ErrorKind::Unavailable, "ServiceUnavailableError", 500),
    (ErrorKind::DeadlineExceeded, "", 500),
    (ErrorKind::Cancelled, "", 500),
    (ErrorKind::Unimplemented, "", 500),
    (ErrorKind::Unrecoverable, "UnrecoverableError", 500),
    (ErrorKind::Internal, "", 500),
];

/// An error on the wire. Garden: `Error`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Fault {
    r#type: &'static str,
    message: String,
    handle: String,
    #[serde(rename = "ProcessID")]
    process_id: String,
    binary: String,
}

impl Fault {
    /// An error of no type.
    pub(crate) fn untyped(message: &str) -> Self {
        Fault { message: message.to_owned(), ..Fault::default() }
    }

    /// An error with the container and the process that the call was about.
    pub(crate) fn of(error: &Error, handle: &str, process: &str) -> Self {
        let mut fault =
            Fault { r#type: kind(error.kind()).0, message: shortened(error.report()), ..Fault::default() };
        match error.kind() {
            ErrorKind::ContainerNotFound => handle.clone_into(&mut fault.handle),
            ErrorKind::ProcessNotFound => process.clone_into(&mut fault.process_id),
            _ => {}
        }
        fault
    }
}

fn kind(kind: ErrorKind) -> (&'static str, u16) {
    TYPES.iter().find(|(known, ..)| *known == kind).map_or(("", 500), |(_, name, status)| (*name, *status))
}

fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        message.push_str("...");
    }
    message
}

/// What a call is about, for its error and its log line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    /// The name of the call.
    pub(crate) operation: &'static str,
    /// The container as the client named it; empty for none.
    pub(crate) handle: String,
    /// The process as the client named it; empty for none.
    pub(crate) process: String,
    /// What the client calls the request; empty for nothing.
    pub(crate) trace: String,
}

impl Subject {
    /// The status and the fault of an error, logged here and nowhere else. Environment, properties and credentials are in no
    /// message.
    pub(crate) fn refuse(&self, error: &Error) -> (u16, Fault) {
        self.log(error, "request failed");
        (kind(error.kind()).1, Fault::of(error, &self.handle, &self.process))
    }

    /// Logs an error of this call.
    pub(crate) fn log(&self, error: &Error, message: &'static str) {
        let (kind, report) = (error.kind().name(), error.report());
        let Subject { operation, handle, process, trace } = self;
        if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unrecoverable) {
            tracing::error!(operation, handle, process, trace, kind, error = report, "{message}");
        } else {
            tracing::info!(operation, handle, process, trace, kind, error = report, "{message}");
        }
    }

    /// The container's name, parsed. One that no container can have names none.
    pub(crate) fn handle(&self) -> Result<Handle> {
        Handle::parse(&self.handle).map_err(|_| no_container(&self.handle))
    }

    /// The process's name, parsed. One that no process can have names none.
    pub(crate) fn process(&self) -> Result<ProcessId> {
        ProcessId::parse(&self.process)
            .map_err(|_| Error::new(ErrorKind::ProcessNotFound, format!("unknown process: {}", self.process)))
    }
}

/// The error for a text that cannot be a handle, and so is none.
pub(crate) fn no_container(text: &str) -> Error {
    Error::new(ErrorKind::ContainerNotFound, format!("unknown handle: {text}"))
}

/// The outcome of work that may panic: a fault of the engine that costs one call, not the server.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => Err(panicked(panic.as_ref())),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("the engine panicked: {}", text.unwrap_or("without a message")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn body(error: &Error) -> String {
        let subject = Subject { handle: "h1".into(), process: "p1".into(), ..Subject::default() };
        String::from_utf8(json::document(&subject.refuse(error).1)).unwrap()
    }

    #[test]
    fn every_kind_has_a_row() {
        for kind in ErrorKind::ALL {
            assert!(TYPES.iter().any(|(known, ..)| *known == kind), "{kind:?}");
        }
    }

    #[test]
    fn errors_have_the_bytes_that_clients_know() {
        let handle = Handle::parse("h1").unwrap();
        assert_eq!(
            body(&Error::container_not_found(&handle)),
            "{\"Type\":\"ContainerNotFoundError\",\"Message\":\"unknown handle: h1\",\"Handle\":\"h1\",\
             \"ProcessID\":\"\",\"Binary\":\"\"}\n"
        );
        let process = ProcessId::parse("p1").unwrap();
        assert_eq!(
            body(&Error::process_not_found(&process)),
            "{\"Type\":\"ProcessNotFoundError\",\"Message\":\"unknown process: p1\",\"Handle\":\"\",\
             \"ProcessID\":\"p1\",\"Binary\":\"\"}\n"
        );
        assert_eq!(
            body(&Error::new(ErrorKind::BeingDestroyed, "container already being destroyed")),
            "{\"Type\":\"\",\"Message\":\"container already being destroyed\",\"Handle\":\"\",\"ProcessID\":\"\",\
             \"Binary\":\"\"}\n"
        );
    }

    #[test]
    fn statuses_are_those_of_the_reference_engine() {
        for (kind, status) in [
            (ErrorKind::ContainerNotFound, 404),
            (ErrorKind::ProcessNotFound, 404),
            (ErrorKind::Unavailable, 500),
            (ErrorKind::InvalidArgument, 500),
        ] {
            assert_eq!(Subject::default().refuse(&Error::new(kind, "x")).0, status);
        }
    }

    #[test]
    fn a_name_that_nothing_can_have_names_nothing() {
        let subject = Subject { handle: "..".into(), process: "a b".into(), ..Subject::default() };
        assert_eq!(subject.handle().unwrap_err().kind(), ErrorKind::ContainerNotFound);
        assert_eq!(subject.process().unwrap_err().message(), "unknown process: a b");
    }

    #[test]
    fn a_message_without_end_is_cut_between_characters() {
        let fault = Fault::of(&Error::internal("\u{e4}".repeat(MAX_MESSAGE)), "", "");
        assert_eq!(fault.message.len(), MAX_MESSAGE + 3);
    }

    #[tokio::test]
    async fn a_panic_costs_one_call() {
        let error = caught::<()>(async { panic!("boom") }).await.unwrap_err();
        assert!(error.message().contains("boom"));
    }
}
