//! Why a runtime failed, from what it has logged.

use std::io::{Read, Seek, SeekFrom};

use gdn_launcher::Error as KeeperError;
use gdn_launcher::protocol::FailureKind;
use gdn_types::{Error, ErrorKind};
use serde_json::Value;

use super::bundle::Bundle;
use crate::container::Container;

/// Most bytes of a log that are read, from its end: a line is rarely longer than one of these thousands.
const MAX_LOG: u64 = 64 * 1024;
/// Most bytes of a message that are told.
const MAX_MESSAGE: usize = 4096;

/// What to tell of a call that failed.
pub(super) async fn of(container: &Container, bundle: &Bundle, what: &str, error: KeeperError) -> Error {
    if error.kind() != Some(FailureKind::Runtime) {
        return container.process_failure(error).await;
    }
    let said = last_complaint(bundle);
    let message = said.as_deref().unwrap_or_default();
    let kind = kind_of(message);
    let text = if message.is_empty() { String::new() } else { format!(": {}", in_usual_words(message)) };
    Error::new(kind, format!("{what}: the runtime ended with {error}{text}"))
}

/// The kind, by the words of runc and crun.
fn kind_of(message: &str) -> ErrorKind {
    let no_executable = ["executable file not found", "not found in $PATH", "exec: \"", "open executable"];
    let has = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if has(&no_executable) {
        ErrorKind::ExecutableNotFound
    } else if has(&["chdir"]) {
        ErrorKind::InvalidArgument
    } else if has(&["container does not exist", "is not running", "in stopped state"]) {
        ErrorKind::Lost
    } else {
        ErrorKind::Internal
    }
}

/// Clients look for the words of runc in what they are told of a program that is not there.
fn in_usual_words(message: &str) -> String {
    let crun = message.split_once("executable file `").and_then(|(before, rest)| {
        let (program, _) = rest.split_once("` not found in $PATH")?;
        Some(format!("{before}exec: \"{program}\": executable file not found in $PATH"))
    });
    crun.unwrap_or_else(|| message.to_owned())
}

/// The last message of the log; a runtime tells the cause last.
fn last_complaint(bundle: &Bundle) -> Option<String> {
    let mut log = std::fs::File::open(bundle.path().join("log")).ok()?;
    let length = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG))).ok()?;
    let mut bytes = Vec::new();
    log.take(MAX_LOG).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    let message = match serde_json::from_str::<Value>(line) {
        Ok(entry) => entry["msg"].as_str().unwrap_or(line).to_owned(),
        // Not every runtime heeds the asked form.
        Err(_) => line.to_owned(),
    };
    let end = message.floor_char_boundary(MAX_MESSAGE);
    Some(message[..end].trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(log: &[u8]) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("log"), log).unwrap();
        last_complaint(&Bundle::at(directory.path().to_owned()))
    }

    /// Conformance: Q386-387
    #[test]
    fn the_words_of_runc_and_crun_are_understood() {
        let runc = br#"{"level":"error","msg":"exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH","time":"t"}"#;
        let crun = b"{\"msg\":\"executable file `/nope` not found in $PATH: No such file or directory\",\"level\":\"error\"}\n";
        for log in [&runc[..], crun] {
            let said = complaint(log).unwrap();
            assert_eq!(kind_of(&said), ErrorKind::ExecutableNotFound);
            assert!(in_usual_words(&said).contains("ope\": executable file not found in $PATH"), "{said}");
        }
        assert_eq!(kind_of("chdir `/nodir`: No such file or directory"), ErrorKind::InvalidArgument);
        assert_eq!(kind_of("container does not exist"), ErrorKind::Lost);
        assert_eq!(kind_of("something else"), ErrorKind::Internal);
        assert_eq!(in_usual_words("something else"), "something else");
    }

    #[test]
    fn a_log_of_any_size_and_form_is_read_to_its_last_line() {
        assert_eq!(complaint(b"").as_deref(), None);
        assert_eq!(complaint(b"first\n  last \n\n").as_deref(), Some("last"));
        assert_eq!(complaint(b"{\"msg\":\"a\"}\n{\"msg\":\"b\"}").as_deref(), Some("b"));
        let huge = [vec![b'x'; 3 << 20], b"\nthe end".to_vec()].concat();
        assert_eq!(complaint(&huge).as_deref(), Some("the end"));
        assert_eq!(complaint(&vec![b'\xff'; 1 << 20]).unwrap().len() / 3, MAX_MESSAGE / 3);
    }
}
