//! Removing what a container or a sidecar leaves: its cgroups and its run-time files.
//!
//! When the keeper has said that every process is reaped, that is only tidying up. It is done in the background, a moment
//! later and for few at a time, so that whoever waits for a destroy does not wait for other containers' traces; and found
//! again by the next start if the engine dies over it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gdn_cgroups::Cgroups;
use gdn_types::{ContainerId, Result};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::component::cgroup_error;
use crate::container::Container;
use crate::failures;

/// How long a killed process may take to leave its cgroup before a destroy gives up (and is tried again later).
pub(crate) const LEAVE: Duration = Duration::from_secs(5);
/// The pause after a removal that failed: what stands in the way for longer than [`LEAVE`] does so for long.
const AGAIN: Duration = Duration::from_secs(30);

/// How long traces lie: to remove a control group stops the kernel's changes of all others, and to close the last descriptor
/// of a root unmounts it, for which its file system is written to the disk. Many destroys at once are answered by then.
const MOMENT: Duration = Duration::from_millis(200);
/// How many containers' traces are removed at a time. The kernel does it one by one.
const AT_ONCE: usize = 2;

/// How long a keeper may take to answer what it answers at once as a rule. One that is stopped, or stuck in the kernel, must
/// hold up neither its container's destroy nor the engine's start.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);

/// Kills what is in these groups, and with it what may hold a keeper up. A failure shows itself again in the removal.
pub(crate) async fn kill(cgroups: &Arc<Cgroups>, groups: &[String]) {
    let (cgroups, groups) = (Arc::clone(cgroups), groups.to_vec());
    let killing = tokio::task::spawn_blocking(move || {
        for group in groups {
            let killed =
                cgroups.open_existing(&group).and_then(|left| left.map_or(Ok(()), |left| left.kill()));
            if let Err(error) = killed {
                tracing::warn!(group, %error, "could not kill a group");
            }
        }
    });
    if let Err(error) = killing.await {
        tracing::warn!(%error, "could not kill groups");
    }
}

/// What is left of one container or sidecar.
#[derive(Clone)]
pub(crate) struct Traces {
    pub(crate) cgroups: Arc<Cgroups>,
    pub(crate) id: ContainerId,
    /// Names of its groups.
    pub(crate) groups: Vec<String>,
    /// Its run-time directory; a sidecar has none.
    pub(crate) directory: Option<PathBuf>,
    /// Whether its processes may live: those that a sidecar leaves when it ends.
    pub(crate) may_live: bool,
    /// The container itself, whose root is closed with it.
    pub(crate) container: Option<Arc<Container>>,
}

impl Traces {
    /// Drops the container where it may take its time.
    async fn let_go(&mut self, turns: &Semaphore) {
        let Some(container) = self.container.take() else { return };
        let _turn = take(turns).await;
        if let Err(error) = tokio::task::spawn_blocking(move || drop(container)).await {
            tracing::error!(%error, "closing a container's root panicked");
        }
    }

    /// Kills what is left in the cgroups, and removes them and the run-time directory.
    async fn remove(&self, turns: &Semaphore) -> Result<()> {
        let deadline = Instant::now() + LEAVE;
        let mut pause = Duration::from_millis(1);
        let mut kill = self.may_live;
        loop {
            let traces = self.clone();
            let turn = take(turns).await;
            let removed = tokio::task::spawn_blocking(move || traces.try_remove(kill))
                .await
                .map_err(|error| failures::joined(&error))?;
            drop(turn);
            kill = true;
            match removed {
                Ok(removed) => return removed,
                Err(error) if Instant::now() >= deadline => return Err(cgroup_error(error)),
                // A reaped process leaves its cgroup a moment later.
                Err(_) => sleep_until(Instant::now() + pause).await,
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The directory goes last: a keeper that is not known to be gone is found by it.
    fn try_remove(&self, kill: bool) -> Result<Result<()>, gdn_cgroups::Error> {
        for group in &self.groups {
            if kill && let Some(left) = self.cgroups.open_existing(group)? {
                left.kill()?;
            }
            self.cgroups.try_remove(group)?;
        }
        Ok(self.directory.as_deref().map_or(Ok(()), remove_directory))
    }
}

/// Removes a run-time directory. The two files that are in it as a rule are not listed first.
fn remove_directory(directory: &Path) -> Result<()> {
    for file in ["keeper", "exits"] {
        // Whatever stands in the way of one is told by the directory's own removal.
        let _ = std::fs::remove_file(directory.join(file));
    }
    let removed = match std::fs::remove_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            std::fs::remove_dir_all(directory)
        }
        other => other,
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failures::os(format!("remove {}", directory.display()))(error))
        }
        _ => Ok(()),
    }
}

/// The removals under way. Dropping this ends them where they are.
pub(crate) struct Removals {
    tasks: Mutex<JoinSet<()>>,
    turns: Arc<Semaphore>,
    /// Set when nobody will wait for a destroy any more.
    hurry: CancellationToken,
}

impl Default for Removals {
    fn default() -> Self {
        Removals {
            tasks: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            hurry: CancellationToken::new(),
        }
    }
}

/// Waits for a turn; whoever holds one for longer than [`LEAVE`] is stuck, and is not waited for.
async fn take(turns: &Semaphore) -> Option<SemaphorePermit<'_>> {
    timeout(LEAVE, turns.acquire()).await.ok()?.ok()
}

impl Removals {
    /// Removes at once, and waits for it.
    pub(crate) async fn remove(&self, mut traces: Traces) -> Result<()> {
        traces.remove(&self.turns).await?;
        traces.let_go(&self.turns).await;
        Ok(())
    }

    /// Removes in the background, until it is done.
    pub(crate) fn begin(&self, mut traces: Traces) {
        let (turns, hurry) = (Arc::clone(&self.turns), self.hurry.clone());
        let mut removals = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while removals.try_join_next().is_some() {}
        removals.spawn(async move {
            if !traces.may_live {
                let _waited = hurry.run_until_cancelled(sleep(MOMENT)).await;
            }
            traces.let_go(&turns).await;
            while let Err(error) = traces.remove(&turns).await {
                tracing::warn!(container = %traces.id, error = error.report(), groups = ?traces.groups, "traces stay");
                sleep(AGAIN).await;
            }
        });
    }

    /// Waits for the removals under way, as long as one may take; the next start finds what is left.
    pub(crate) async fn close(&self) {
        self.hurry.cancel();
        let mut removals = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while removals.join_next().await.is_some() {} };
        if timeout(LEAVE, all).await.is_err() {
            tracing::warn!("traces of destroyed containers are left to the next start");
        }
    }
}
