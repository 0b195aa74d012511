//! Tells the orchestrator when a container runs out of memory.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gdn_cgroups::{Cgroup, OomWatch};
use gdn_traits::EventSink;
use gdn_types::{ContainerId, ExitStatus, ProcessId, WantOfMemory};
use rustix::event::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Version 1 tells of want before the kill that follows is counted: so often is looked again, and so long between looks.
const LOOKS: u32 = 20;
/// See [`LOOKS`].
const PAUSE: Duration = Duration::from_millis(5);
/// How long the end of whoever was killed may take to be told: until then nobody is told of a kill of nobody in particular.
const END_TOLD: Duration = Duration::from_millis(50);

/// What a shell exits with whose child was killed: 128 and the signal.
const KILLED_CHILD: u8 = 128 + KILL;
const KILL: u8 = 9;

/// Whose memory is watched.
pub(crate) struct Owner {
    pub(crate) container: ContainerId,
    /// A sidecar with limits of its own; else the container.
    pub(crate) sidecar: Option<ProcessId>,
}

/// Watches one container's memory for as long as it lives. A container without a limit has none: only the host can run out.
pub(crate) struct OomReport {
    watched: Arc<Watched>,
    task: JoinHandle<()>,
}

struct Watched {
    owner: Owner,
    cgroup: Arc<Cgroup>,
    events: Arc<dyn EventSink>,
    /// How many kills have been told.
    seen: Mutex<u64>,
}

impl OomReport {
    /// Begins to watch a container or a sidecar with a limit, and tells what the kernel has counted so far: of one that is adopted,
    /// what happened meanwhile. A watch that cannot be had costs events, not the container: it is logged.
    pub(crate) fn begin(owner: Owner, cgroup: &Arc<Cgroup>, events: Arc<dyn EventSink>) -> Option<Self> {
        let watch = begin(cgroup);
        match watch {
            Ok((watch, interest)) => {
                let cgroup = Arc::clone(cgroup);
                let watched = Arc::new(Watched { owner, cgroup, events, seen: Mutex::new(0) });
                let task = tokio::spawn(report(Arc::clone(&watched), watch, interest));
                let report = OomReport { watched, task };
                report.look();
                Some(report)
            }
            Err(error) => {
                tracing::warn!(container = %owner.container, error, "want of memory will not be told");
                None
            }
        }
    }

    /// Tells now what has not been told yet. A group that is gone has been looked at.
    fn look(&self) {
        let _ = self.watched.look(None);
    }

    /// Tells now what has not been told yet: called before a process's end is, which may be the end of what was killed. The
    /// kernel counts a kill before the process is gone.
    pub(crate) fn look_at_end(&self, process: &ProcessId, status: ExitStatus) {
        let was_killed = matches!(status, ExitStatus::Signal(KILL) | ExitStatus::Code(KILLED_CHILD));
        let _ = self.watched.look(was_killed.then_some(process));
    }
}

impl Watched {
    /// Whether there were kills that nobody was told of.
    fn has_news(&self) -> Result<bool, gdn_cgroups::Error> {
        let kills = self.cgroup.oom_kills()?;
        Ok(kills > *self.seen())
    }

    /// Reports if there were more kills since the last look.
    fn look(&self, ended: Option<&ProcessId>) -> Result<(), gdn_cgroups::Error> {
        let kills = self.cgroup.oom_kills()?;
        let mut seen = self.seen();
        if kills > *seen {
            *seen = kills;
            let want = WantOfMemory { sidecar: self.owner.sidecar.clone(), ended: ended.cloned() };
            self.events.out_of_memory(&self.owner.container, &want, kills);
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, u64> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(
    deprecated,
    reason = "its successor is unsafe; a watch owns its one descriptor, which is what that asks for"
)]
fn begin(cgroup: &Cgroup) -> Result<(AsyncFd<Pollable>, Interest), String> {
    let watch = cgroup.oom_watch().map_err(|error| error.to_string())?;
    let priority = watch.interest() == PollFlags::PRI;
    let interest = if priority { Interest::PRIORITY } else { Interest::READABLE };
    let watch = AsyncFd::with_interest(Pollable(watch), interest).map_err(|error| error.to_string())?;
    Ok((watch, interest))
}

/// A watch in the form that the runtime takes.
struct Pollable(OomWatch);

impl AsRawFd for Pollable {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Drop for OomReport {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reports each time that more processes were killed, until the group is gone.
async fn report(watched: Arc<Watched>, watch: AsyncFd<Pollable>, interest: Interest) {
    while let Ok(mut ready) = watch.ready(interest).await {
        if watch.get_ref().0.fired().is_err() {
            return;
        }
        ready.clear_ready();
        for _ in 0..LOOKS {
            match watched.has_news() {
                Ok(true) => {
                    sleep(END_TOLD).await;
                    if watched.look(None).is_err() {
                        return;
                    }
                    break;
                }
                Ok(false) => sleep(PAUSE).await,
                Err(_) => return,
            }
        }
    }
}
