//! Failures: what the person sees, and the exit status.

use std::fmt;
use std::io;
use std::process::ExitCode;

use gdn_types::ErrorKind;

use crate::cli::Command;
use crate::output;

/// A verb failed.
pub(crate) const FAILED: u8 = 1;
/// The command line is wrong; clap's and most tools' number.
const USAGE: u8 = 2;
/// `gdn run` or `gdn exec` itself failed, as env(1), nohup(1) and container tools have it.
pub(crate) const CANNOT_RUN: u8 = 125;
/// The program was found but cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The program was not found.
const NOT_FOUND: u8 = 127;
/// Added to the number of a signal that ended something.
pub(crate) const BY_SIGNAL: u8 = 128;

/// An error of this command that knows what the person can do about it.
#[derive(Debug)]
pub(crate) struct Advised {
    message: String,
    advice: String,
}

impl Advised {
    /// What is wrong, and what to do.
    pub(crate) fn error(message: impl Into<String>, advice: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Advised { message: message.into(), advice: advice.into() })
    }
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Advised {}

/// Prints what clap has to say and picks the exit status: help and version are no failures.
pub(crate) fn usage(error: &clap::Error, runs_a_process: bool) -> ExitCode {
    // Nothing to be done when the terminal is gone.
    let _ = error.print();
    match (error.use_stderr(), runs_a_process) {
        (false, _) => ExitCode::SUCCESS,
        (true, true) => ExitCode::from(CANNOT_RUN),
        (true, false) => ExitCode::from(USAGE),
    }
}

/// The exit status of a failure of this verb that has no status of its own.
pub(crate) fn fallback_status(command: &Command) -> u8 {
    match command {
        Command::Run(_) | Command::Exec(_) | Command::Attach(_) => CANNOT_RUN,
        _ => FAILED,
    }
}

/// Prints a failure with a hint where one is known, and picks the exit status.
pub(crate) fn report(error: &anyhow::Error, fallback: u8) -> ExitCode {
    if reader_is_gone(error) {
        return ExitCode::from(BY_SIGNAL + 13);
    }
    output::note(&message(error));
    ExitCode::from(status(error, fallback))
}

/// The chain of causes, and a hint on a line of its own. Some libraries say in an error what its cause says again.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    if let Some(hint) = hint(error) {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    text
}

/// The exit status for an error, `fallback` unless its kind has a number that tools know.
fn status(error: &anyhow::Error, fallback: u8) -> u8 {
    match engine_error(error).map(gdn_types::Error::kind) {
        Some(ErrorKind::ExecutableNotFound) if fallback == CANNOT_RUN => {
            let text = format!("{error:#}").to_lowercase();
            let refused = text.contains("permission denied") || text.contains("not executable");
            if refused { NOT_EXECUTABLE } else { NOT_FOUND }
        }
        _ => fallback,
    }
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(advised) = error.chain().find_map(|cause| cause.downcast_ref::<Advised>()) {
        return Some(advised.advice.clone());
    }
    let engine = engine_error(error)?;
    let connecting = engine.message().starts_with("connect to ");
    let hint = match engine.kind() {
        ErrorKind::Unavailable if connecting && nobody_listens(error) => {
            "start one with gdn server, or say where it listens with --address"
        }
        ErrorKind::PermissionDenied if connecting => "only root may use this engine's socket",
        ErrorKind::ContainerNotFound => "gdn list shows the containers there are",
        ErrorKind::ProcessNotFound => "gdn inspect HANDLE shows the processes that run",
        ErrorKind::AlreadyExists if engine.message().contains("handle") => {
            "run a command in it with gdn exec, or remove it with gdn destroy"
        }
        ErrorKind::Lost => "its files can still be copied out with gdn cp; remove it with gdn destroy",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whether there is no socket, or one that a server left behind.
fn nobody_listens(error: &anyhow::Error) -> bool {
    let absent = |cause: &io::Error| {
        matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    };
    error.chain().filter_map(|cause| cause.downcast_ref()).any(absent)
}

fn engine_error(error: &anyhow::Error) -> Option<&gdn_types::Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// Whether whoever read our output went away: then nobody wants to read about it.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    engine_error(error).is_none() && error.chain().filter_map(|cause| cause.downcast_ref()).any(broken)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use gdn_types::{Error, Handle};

    use super::*;

    #[test]
    fn executables_that_are_missing_or_not_executable_have_the_known_numbers() {
        let error = |text: &str| anyhow::Error::new(Error::new(ErrorKind::ExecutableNotFound, text));
        assert_eq!(status(&error("no program \"nope\" in PATH"), CANNOT_RUN), 127);
        assert_eq!(status(&error("execute \"/etc/passwd\": Permission denied"), CANNOT_RUN), 126);
        assert_eq!(status(&error("x").context("cannot run"), CANNOT_RUN), 127);
        assert_eq!(status(&error("x"), FAILED), 1);
        assert_eq!(status(&anyhow::Error::new(Error::internal("x")), CANNOT_RUN), 125);
    }

    #[test]
    fn a_failure_names_its_cause_and_what_to_do() {
        let handle = Handle::parse("web").unwrap();
        let error =
            Err::<(), _>(Error::container_not_found(&handle)).context("cannot inspect \"web\"").unwrap_err();
        assert_eq!(
            message(&error),
            "cannot inspect \"web\": unknown handle: web\nhint: gdn list shows the containers there are"
        );
        let error = Advised::error("no engine", "start one");
        assert_eq!(message(&error.context("cannot list")), "cannot list: no engine\nhint: start one");
        assert_eq!(message(&anyhow::anyhow!("plain")), "plain");
    }

    #[test]
    fn a_cause_that_its_error_has_told_already_is_not_repeated() {
        let cause = anyhow::anyhow!("refused").context("connect").context("transport: connect");
        assert_eq!(message(&cause), "transport: connect: refused");
    }

    #[test]
    fn only_where_nobody_listens_is_a_server_to_be_started() {
        let connecting = |cause: io::Error| {
            anyhow::Error::new(Error::caused(ErrorKind::Unavailable, "connect to socket /x", cause))
                .context("cannot reach an engine")
        };
        assert!(
            message(&connecting(io::ErrorKind::NotFound.into())).contains("hint: start one with gdn server")
        );
        assert!(!message(&connecting(io::Error::other("certificate"))).contains("hint"));
    }

    #[test]
    fn a_reader_that_went_away_is_told_nothing() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(reader_is_gone(&error));
        assert!(!reader_is_gone(&anyhow::anyhow!("x")));
    }
}
