//! How every call is answered: its deadline, its errors, its one log line.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use gdn_proto::status;
use gdn_types::{Error, ErrorKind, Result};
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

/// An answer leaves this much before the client's deadline, so that the client sees it and not only its own clock.
const ANSWER_MARGIN: Duration = Duration::from_millis(5);

/// What a call is about, for its error and its log line.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// The name of the call.
    pub(crate) operation: &'static str,
    /// The container as the client named it; empty for none.
    pub(crate) handle: String,
    /// The process as the client named it; empty for none.
    pub(crate) process: String,
}

impl Subject {
    pub(crate) fn new(operation: &'static str, handle: &str, process: &str) -> Self {
        Subject { operation, handle: handle.to_owned(), process: process.to_owned() }
    }

    /// The status of an error, logged here and nowhere else. Environment, properties and credentials are in no message.
    pub(crate) fn refuse(&self, error: &Error) -> Status {
        let (kind, report) = (error.kind().name(), error.report());
        let Subject { operation, handle, process } = self;
        if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unrecoverable) {
            tracing::error!(operation, handle, process, kind, error = report, "request failed");
        } else {
            tracing::info!(operation, handle, process, kind, error = report, "request failed");
        }
        status::to_status(error, handle, process)
    }
}

/// Does the work of a call within the client's deadline. A deadline or a client that goes away drops the work.
pub(crate) async fn answer<T>(
    subject: Subject,
    deadline: Option<Duration>,
    work: impl Future<Output = Result<T>>,
) -> Result<Response<T>, Status> {
    let work = AssertUnwindSafe(work).catch_unwind();
    let outcome = match deadline {
        None => work.await,
        Some(deadline) => match tokio::time::timeout(deadline, work).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Ok(Err(Error::new(ErrorKind::DeadlineExceeded, "deadline passed before the work was done")))
            }
        },
    };
    match outcome {
        Ok(Ok(value)) => Ok(Response::new(value)),
        Ok(Err(error)) => Err(subject.refuse(&error)),
        Err(panic) => Err(subject.refuse(&panicked(panic.as_ref()))),
    }
}

/// What is left of the deadline in the call's metadata, less a margin for the answer's way back.
pub(crate) fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let deadline = parse_timeout(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    Some(deadline.saturating_sub(ANSWER_MARGIN.min(deadline / 2)))
}

/// A number of at most eight digits and a unit, as the gRPC protocol writes it. Others are ignored, as tonic does.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The error of a panic: a fault of the engine that costs one call, not the server.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("the engine panicked: {}", text.unwrap_or("without a message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        assert_eq!(parse_timeout("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(parse_timeout("5m"), Some(Duration::from_millis(5)));
        for bad in ["", "S", "1", "1x", "-1S", "+1S", "123456789S", "1é"] {
            assert_eq!(parse_timeout(bad), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_panic_costs_one_call() {
        let status =
            answer::<()>(Subject::new("Test", "h", ""), None, async { panic!("boom") }).await.unwrap_err();
        let error = status::from_status(&status);
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("boom"));
    }

    #[tokio::test]
    async fn a_passed_deadline_is_told_as_such_and_drops_the_work() {
        let (alive, mut dropped) = tokio::sync::mpsc::channel::<()>(1);
        let work = async move {
            let _alive = alive;
            std::future::pending::<Result<()>>().await
        };
        let status =
            answer(Subject::new("Test", "", ""), Some(Duration::from_millis(1)), work).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert_eq!(dropped.recv().await, None);
    }
}
