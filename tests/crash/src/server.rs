//! A server on a root directory.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::client::{Client, pause};
use crate::stepper::Stepper;
use crate::trace;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers. Dropping it without [`stop`](Self::stop) kills it.
pub(crate) struct Server {
    child: Option<Child>,
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
        let mut server = Server { child: Some(child) };
        let deadline = Instant::now() + PATIENCE;
        while !client.answers() {
            if let Some(status) = server.ended()? {
                bail!("the server ended at its start: {status}");
            }
            ensure!(Instant::now() < deadline, "the server does not answer within {PATIENCE:?}");
            pause();
        }
        Ok(server)
    }

    /// Gives the process to a stepper.
    pub(crate) fn trace(mut self, kill_at: Option<u64>) -> anyhow::Result<Stepper> {
        let child = self.child.take().context("the server has ended already")?;
        Stepper::attach(child, kill_at).context("trace the server")
    }

    /// Stops the server as its operator would.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        if let Some(child) = &self.child {
            trace::terminate(child.id())?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                ensure!(status.success(), "the server did not stop in order: {status}");
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the server does not stop within {PATIENCE:?}");
            pause();
        }
    }

    fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let child = self.child.as_mut().context("the server was reaped already")?;
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
