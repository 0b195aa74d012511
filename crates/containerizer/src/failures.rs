//! Which kind of error a failure of the tools is to a client.

use gdn_launcher::Error as KeeperError;
use gdn_launcher::protocol::FailureKind;
use gdn_types::{Error, ErrorKind};

/// Translates what a keeper or the launcher said. `during` is left out where the failure's own words suffice.
pub(crate) fn keeper(error: KeeperError) -> Error {
    match error {
        KeeperError::Failed { kind, .. } => Error::new(kind_of(kind), error.to_string()),
        KeeperError::Gone { .. } => Error::new(ErrorKind::Lost, error.to_string()),
        _ => Error::new(ErrorKind::Internal, error.to_string()),
    }
}

fn kind_of(kind: FailureKind) -> ErrorKind {
    match kind {
        FailureKind::Internal | FailureKind::Runtime => ErrorKind::Internal,
        FailureKind::RootFilesystem => ErrorKind::ImageInvalid,
        FailureKind::MountTarget
        | FailureKind::Sysctl
        | FailureKind::WorkingDirectory
        | FailureKind::BadArchive
        | FailureKind::NoPath
        | FailureKind::BadRequest => ErrorKind::InvalidArgument,
        FailureKind::NoProcess => ErrorKind::ProcessNotFound,
        FailureKind::ProcessExists => ErrorKind::AlreadyExists,
        FailureKind::NoExecutable | FailureKind::NotExecutable => ErrorKind::ExecutableNotFound,
        FailureKind::NoTerminal
        | FailureKind::NotRunning
        | FailureKind::Confinement
        | FailureKind::OtherRuntime => ErrorKind::FailedPrecondition,
        FailureKind::Permission => ErrorKind::PermissionDenied,
        FailureKind::Exhausted => ErrorKind::ResourceExhausted,
    }
}

/// An error of the operating system, said with what was being done.
pub(crate) fn os(during: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let during = during.into();
    move |error| Error::caused(kind_of_errno(rustix::io::Errno::from_io_error(&error)), during, error)
}

/// The same of a mount.
pub(crate) fn mount(during: impl Into<String>) -> impl FnOnce(gdn_mounts::Error) -> Error {
    let during = during.into();
    move |error| Error::caused(kind_of_errno(error.errno()), during, error)
}

fn kind_of_errno(errno: Option<rustix::io::Errno>) -> ErrorKind {
    use rustix::io::Errno;
    match errno {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::MFILE | Errno::NFILE) => ErrorKind::ResourceExhausted,
        _ => ErrorKind::Internal,
    }
}

/// A blocking task that panicked or was cancelled with the runtime.
pub(crate) fn joined(error: &tokio::task::JoinError) -> Error {
    Error::internal(format!("a task of the containerizer ended early: {error}"))
}
