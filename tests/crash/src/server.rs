//! A server on a root directory.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::client::{Client, pause};
use crate::trace;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts a server and waits until it answers. Its log is appended to `log`.
    pub(crate) fn start(client: &Client, root: &Path, log: &Path) -> anyhow::Result<Self> {
        let log = File::options().append(true).create(true).open(log).context("cannot open the log")?;
        let child = Command::new(&client.program)
            .arg("server")
            .arg("--root")
            .arg(root)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the server")?;
        let mut server = Server { child };
        let deadline = Instant::now() + PATIENCE;
        while !client.answers() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended at its start: {status}");
            }
            if Instant::now() >= deadline {
                server.kill()?;
                bail!("the server does not answer within {PATIENCE:?}");
            }
            pause();
        }
        Ok(server)
    }

    /// Gives the process to a stepper.
    pub(crate) fn into_child(self) -> Child {
        self.child
    }

    /// Stops the server as its operator would.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        trace::terminate(self.child.id())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server did not stop in order: {status}"),
                None if Instant::now() >= deadline => {
                    self.kill()?;
                    bail!("the server does not stop within {PATIENCE:?}");
                }
                None => pause(),
            }
        }
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}
