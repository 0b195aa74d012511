//! Tells the orchestrator when a container runs out of memory.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use gdn_cgroups::{Cgroup, OomWatch};
use gdn_traits::EventSink;
use gdn_types::ContainerId;
use rustix::event::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Version 1 tells of want before the kill that follows is counted: so often is looked again, and so long between looks.
const LOOKS: u32 = 20;
/// See [`LOOKS`].
const PAUSE: Duration = Duration::from_millis(5);

/// Watches one container's memory for as long as it lives. A container without a limit has none: only the host can run out.
pub(crate) struct OomReport {
    task: JoinHandle<()>,
}

impl OomReport {
    /// Begins to watch a container with a limit. A watch that cannot be had costs events, not the container: it is logged.
    pub(crate) fn begin(id: ContainerId, cgroup: &Arc<Cgroup>, events: Arc<dyn EventSink>) -> Option<Self> {
        let watch = begin(cgroup);
        match watch {
            Ok((watch, interest, seen)) => {
                let task = tokio::spawn(report(id, Arc::clone(cgroup), watch, interest, seen, events));
                Some(OomReport { task })
            }
            Err(error) => {
                tracing::warn!(container = %id, error, "want of memory will not be told");
                None
            }
        }
    }
}

#[allow(
    deprecated,
    reason = "its successor is unsafe; a watch owns its one descriptor, which is what that asks for"
)]
fn begin(cgroup: &Cgroup) -> Result<(AsyncFd<Pollable>, Interest, u64), String> {
    let watch = cgroup.oom_watch().map_err(|error| error.to_string())?;
    let priority = watch.interest() == PollFlags::PRI;
    let interest = if priority { Interest::PRIORITY } else { Interest::READABLE };
    let watch = AsyncFd::with_interest(Pollable(watch), interest).map_err(|error| error.to_string())?;
    Ok((watch, interest, cgroup.oom_kills().map_err(|error| error.to_string())?))
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
async fn report(
    id: ContainerId,
    cgroup: Arc<Cgroup>,
    watch: AsyncFd<Pollable>,
    interest: Interest,
    mut seen: u64,
    events: Arc<dyn EventSink>,
) {
    while let Ok(mut ready) = watch.ready(interest).await {
        if watch.get_ref().0.fired().is_err() {
            return;
        }
        ready.clear_ready();
        match look(&cgroup, seen).await {
            Some(kills) if kills > seen => {
                seen = kills;
                events.out_of_memory(&id);
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// The number of processes killed, once it has grown; the old one when it does not; `None` when the group is gone.
async fn look(cgroup: &Cgroup, seen: u64) -> Option<u64> {
    for _ in 0..LOOKS {
        let kills = cgroup.oom_kills().ok()?;
        if kills > seen {
            return Some(kills);
        }
        sleep(PAUSE).await;
    }
    Some(seen)
}
