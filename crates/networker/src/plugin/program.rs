//! The plug-in's program and how it is called: bounded in time and in what it may say.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use gdn_types::{EngineId, Error, ErrorKind, Handle, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::orphans;

/// The most that an answer may be long, in bytes.
const MOST_ANSWER: u64 = 1 << 20;
/// The most of what it says on standard error that goes to the log, in bytes.
const MOST_TOLD: u64 = 64 << 10;
/// How long a killed one may take to be gone.
const GOING: Duration = Duration::from_secs(5);

/// A network plug-in: a program, arguments that come first at every call, and how long a call may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    program: PathBuf,
    extra: Vec<String>,
    patience: Duration,
}

impl Plugin {
    /// The plug-in at this path.
    ///
    /// # Errors
    /// `InvalidArgument` when there is no such program.
    pub fn find(program: &Path, extra: Vec<String>, patience: Duration) -> Result<Self> {
        let refused = |why: &str| Error::invalid(format!("network plug-in {}: {why}", program.display()));
        let program = std::path::absolute(program).map_err(|_| refused("it cannot be reached"))?;
        match program.metadata() {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {
                Ok(Plugin { program, extra, patience })
            }
            Ok(_) => Err(refused("it cannot be executed")),
            Err(_) => Err(refused("there is none")),
        }
    }

    /// The path of its program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Has it do something, and answers what it wrote.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be started, ends with another status than 0, says too much or takes too long; it is
    /// killed then, with all that it started and left in its process group.
    pub(super) async fn call(
        &self,
        engine: EngineId,
        action: &str,
        handle: &Handle,
        input: &(impl Serialize + Sync),
    ) -> Result<Vec<u8>> {
        let failed = |why: String| {
            let message = format!("external networker encountered an error running '{action}' action: {why}");
            Error::new(ErrorKind::Unavailable, message)
        };
        let input = serde_json::to_vec(input).map_err(|error| failed(error.to_string()))?;
        let mut child =
            self.command(engine, action, handle).spawn().map_err(|error| failed(error.to_string()))?;
        let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let outcome = match timeout(self.patience, converse(&mut child, &input)).await {
            Ok(Ok(said)) => said.answer(),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it did not end within {:?}", self.patience)),
        };
        if outcome.is_err() {
            end(&mut child, group).await;
        }
        outcome.map_err(failed)
    }

    fn command(&self, engine: EngineId, action: &str, handle: &Handle) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.extra).args(["--action", action, "--handle", handle.as_str()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What tells the engine of descriptors of its own is nobody else's.
        command.env_remove("SOCKET2ME_FD").env_remove("NOTIFY_SOCKET");
        command.env(orphans::MARK, engine.to_string());
        command.process_group(0).kill_on_drop(true);
        command
    }
}

/// What a call came to.
struct Said {
    status: ExitStatus,
    answer: Vec<u8>,
}

impl Said {
    fn answer(self) -> Result<Vec<u8>, String> {
        if self.answer.len() as u64 > MOST_ANSWER {
            return Err(format!("it answered more than {MOST_ANSWER} bytes"));
        }
        match self.status.success() {
            true => Ok(self.answer),
            false => Err(self.status.to_string()),
        }
    }
}

/// Gives it its input and takes what it says until it has ended.
async fn converse(child: &mut Child, input: &[u8]) -> std::io::Result<Said> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let give = async {
        if let Some(mut stdin) = stdin {
            // One that needs no input may close it, or have ended.
            let _ = stdin.write_all(input).await;
        }
    };
    let take = async {
        let answer = read_at_most(stdout, MOST_ANSWER + 1).await?;
        if answer.len() as u64 > MOST_ANSWER {
            // It would wait for ever for somebody to read the rest.
            child.start_kill()?;
        }
        Ok::<_, std::io::Error>(answer)
    };
    let (_, answer, told) = tokio::join!(give, take, log(stderr));
    told?;
    Ok(Said { answer: answer?, status: child.wait().await? })
}

async fn read_at_most(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(from) = from {
        from.take(most).read_to_end(&mut text).await?;
    }
    Ok(text)
}

/// What it says on standard error goes to the engine's log as it comes, so that one that hangs has told how far it got; what is
/// too much is read and thrown away.
async fn log(stderr: Option<impl AsyncRead + Unpin>) -> std::io::Result<()> {
    let Some(mut stderr) = stderr else { return Ok(()) };
    let mut told = BufReader::new((&mut stderr).take(MOST_TOLD));
    let mut line = Vec::new();
    while told.read_until(b'\n', &mut line).await? > 0 {
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            tracing::info!(line = text.trim_end(), "network plug-in");
        }
        line.clear();
    }
    let rest = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
    if rest > 0 {
        tracing::warn!(bytes = rest, "the network plug-in said more than is logged");
    }
    Ok(())
}

/// Kills it with everything in its process group, and reaps it.
async fn end(child: &mut Child, group: Option<Pid>) {
    if let Some(group) = group {
        // It may be empty already.
        let _ = kill_process_group(group, Signal::KILL);
    }
    if !matches!(timeout(GOING, child.wait()).await, Ok(Ok(_))) {
        tracing::warn!("a network plug-in that was killed is not gone yet");
    }
}
