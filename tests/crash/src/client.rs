//! The client: the engine's own command line, one process for each verb.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long a verb may take before it is said to hang. Long against everything the engine does, and against a slow host.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long between two looks at something that comes about by itself.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Where the server is, and with which program to talk to it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) program: PathBuf,
    pub(crate) socket: PathBuf,
}

/// How a verb ended.
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) complaint: String,
}

impl Client {
    /// Performs a verb to its end, whichever.
    pub(crate) fn call(&self, arguments: &[&str]) -> anyhow::Result<Answer> {
        let mut child = Command::new(&self.program)
            .arg("--address")
            .arg(&self.socket)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                bail!("gdn {} hangs", arguments.join(" "));
            }
            pause();
        };
        // What the verbs used here print fits into a pipe, so that reading after the end is no deadlock.
        let mut answer = Answer { status, output: String::new(), complaint: String::new() };
        child.stdout.take().context("no output")?.read_to_string(&mut answer.output)?;
        child.stderr.take().context("no complaints")?.read_to_string(&mut answer.complaint)?;
        Ok(answer)
    }

    /// Performs a verb that must succeed; answers what it printed.
    pub(crate) fn must(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let answer = self.call(arguments)?;
        if !answer.status.success() {
            bail!("gdn {}: {}: {}", arguments.join(" "), answer.status, answer.complaint.trim());
        }
        Ok(answer.output)
    }

    /// The containers: all, or only those that are neither being made nor removed.
    pub(crate) fn list(&self, all: bool) -> anyhow::Result<Vec<String>> {
        let words: &[&str] = if all { &["list", "--quiet", "--all"] } else { &["list", "--quiet"] };
        Ok(self.must(words)?.lines().map(str::to_owned).collect())
    }

    /// Whether the server answers.
    pub(crate) fn answers(&self) -> bool {
        self.call(&["ping"]).is_ok_and(|answer| answer.status.success())
    }
}

/// The `gdn` program under test: `$GDN`, or the one built beside this program.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("GDN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join("gdn")).find(|path| path.is_file());
    found.with_context(|| {
        format!("no gdn beside {}: build it first (cargo build -p gdn), or set GDN", own.display())
    })
}

/// Gives the processor away for a moment, in loops with a deadline.
pub(crate) fn pause() {
    std::thread::park_timeout(PAUSE);
}

/// The socket of a server on this root.
pub(crate) fn socket_of(root: &Path) -> PathBuf {
    root.join("grpc.sock")
}
