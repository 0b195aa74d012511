//! One closed error kind for the whole engine.

use crate::{Handle, ProcessId};

/// The result of every component and orchestrator call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller can act on it.
///
/// The component that fails picks the kind, because it alone knows what a retry would do. The gates translate it, each by
/// one total table (gRPC status, Garden HTTP error).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request can never succeed as it stands: a value in it is wrong. The message names the value.
    InvalidArgument,
    /// No container has this handle.
    ContainerNotFound,
    /// The container has no process with this id.
    ProcessNotFound,
    /// A property that does not exist was asked for.
    PropertyNotFound,
    /// A handle or a process id is taken.
    AlreadyExists,
    /// The image, or a part of it, is not there.
    ImageNotFound,
    /// The image is there but is damaged, hostile or of a form that cannot be read.
    ImageInvalid,
    /// The program to run does not exist in the container, or is not executable.
    ExecutableNotFound,
    /// The user or group to run as does not exist in the container.
    UserNotFound,
    /// A pool or a configured maximum is used up: containers, addresses, ports, disk, memory.
    ResourceExhausted,
    /// The caller, or the engine's configuration, does not permit it.
    PermissionDenied,
    /// The container or process is not in a state in which this can be done (stopped, lost, no terminal).
    FailedPrecondition,
    /// The container or process existed in an earlier life of the host and its outcome cannot be known.
    Lost,
    /// A destroy of this container is under way.
    BeingDestroyed,
    /// The engine cannot do it now (starting, stopping, overloaded); the same call may succeed later.
    Unavailable,
    /// The deadline passed before the work was done.
    DeadlineExceeded,
    /// The caller went away before the work was done.
    Cancelled,
    /// The engine does not offer this, or not yet.
    Unimplemented,
    /// The engine as a whole cannot go on; the machine should be given up (Garden: `UnrecoverableError`).
    Unrecoverable,
    /// A fault of the engine or the kernel.
    Internal,
}

impl ErrorKind {
    /// Every kind, so that translation tables can be tested for totality.
    pub const ALL: [ErrorKind; 20] = [
        ErrorKind::InvalidArgument,
        ErrorKind::ContainerNotFound,
        ErrorKind::ProcessNotFound,
        ErrorKind::PropertyNotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::ImageNotFound,
        ErrorKind::ImageInvalid,
        ErrorKind::ExecutableNotFound,
        ErrorKind::UserNotFound,
        ErrorKind::ResourceExhausted,
        ErrorKind::PermissionDenied,
        ErrorKind::FailedPrecondition,
        ErrorKind::Lost,
        ErrorKind::BeingDestroyed,
        ErrorKind::Unavailable,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Cancelled,
        ErrorKind::Unimplemented,
        ErrorKind::Unrecoverable,
        ErrorKind::Internal,
    ];

    /// The stable name of the kind, as it appears in logs and in error details on the wire.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::ContainerNotFound => "container_not_found",
            ErrorKind::ProcessNotFound => "process_not_found",
            ErrorKind::PropertyNotFound => "property_not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::ImageNotFound => "image_not_found",
            ErrorKind::ImageInvalid => "image_invalid",
            ErrorKind::ExecutableNotFound => "executable_not_found",
            ErrorKind::UserNotFound => "user_not_found",
            ErrorKind::ResourceExhausted => "resource_exhausted",
            ErrorKind::PermissionDenied => "permission_denied",
            ErrorKind::FailedPrecondition => "failed_precondition",
            ErrorKind::Lost => "lost",
            ErrorKind::BeingDestroyed => "being_destroyed",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::DeadlineExceeded => "deadline_exceeded",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Unimplemented => "unimplemented",
            ErrorKind::Unrecoverable => "unrecoverable",
            ErrorKind::Internal => "internal",
        }
    }

    /// The kind with this [`name`](Self::name), if there is one.
    pub fn from_name(name: &str) -> Option<ErrorKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// An error of the engine: a kind to act on, a message for a person, and the cause for the log.
///
/// The message says what was being done and the value that was wrong, in lower case and without a full stop. It does not
/// repeat the cause; [`Error::report`] prints both.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

const TOO_MANY_CONTAINERS: &str = "there are as many containers as there may be (--max-containers)";

impl Error {
    /// An error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), cause: None }
    }

    /// An error with the lower-level error that led to it.
    pub fn caused(
        kind: ErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Error { kind, message: message.into(), cause: Some(cause.into()) }
    }

    /// Shorthand for [`ErrorKind::InvalidArgument`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidArgument, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, message)
    }

    /// The documented answer for a handle that names no container.
    pub fn container_not_found(handle: &Handle) -> Self {
        Error::new(ErrorKind::ContainerNotFound, format!("unknown handle: {handle}"))
    }

    /// The documented answer for a process id that names no process of the container.
    pub fn process_not_found(process: &ProcessId) -> Self {
        Error::new(ErrorKind::ProcessNotFound, format!("unknown process: {process}"))
    }

    /// The answer to one container more than there may be.
    pub fn too_many_containers(most: u64) -> Self {
        Error::new(ErrorKind::ResourceExhausted, format!("{TOO_MANY_CONTAINERS}: {most}"))
    }

    /// Whether it is that answer, for which Garden has words of its own.
    pub fn is_too_many_containers(&self) -> bool {
        self.kind == ErrorKind::ResourceExhausted && self.message.starts_with(TOO_MANY_CONTAINERS)
    }

    /// The documented answer for a machinery that comes later.
    pub fn not_yet(what: &str) -> Self {
        Error::new(ErrorKind::Unimplemented, format!("{what} is not available yet"))
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was being done and the value that was wrong, without the cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The message followed by every cause, joined by `: `.
    pub fn report(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// Several failures of one teardown as one error: the kind of the first, the reports of all.
    ///
    /// Returns `None` when there were none.
    pub fn gathered(during: &str, errors: Vec<Error>) -> Option<Self> {
        let kind = errors.first()?.kind;
        let reports: Vec<String> = errors.iter().map(Error::report).collect();
        Some(Error::new(kind, format!("{during}: {}", reports.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_that_leads_back() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_name(kind.name()), Some(kind));
        }
        let mut names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn a_report_names_the_message_once_and_then_the_causes() {
        let error =
            Error::caused(ErrorKind::Internal, "mount overlay on /x", std::io::Error::from_raw_os_error(22));
        assert_eq!(error.report(), "mount overlay on /x: Invalid argument (os error 22)");
        assert_eq!(error.to_string(), "mount overlay on /x");
    }

    #[test]
    fn gathering_keeps_every_failure_and_nothing_is_no_error() {
        assert!(Error::gathered("destroy", vec![]).is_none());
        let both = Error::gathered("destroy h", vec![Error::internal("a"), Error::invalid("b")]).unwrap();
        assert_eq!(both.kind(), ErrorKind::Internal);
        assert_eq!(both.message(), "destroy h: a; b");
    }
}
