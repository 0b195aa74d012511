//! One container that this engine holds: its keeper, its root and its processes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gdn_cgroups::Cgroup;
use gdn_launcher::protocol::Status;
use gdn_launcher::{Keeper, News};
use gdn_mounts::Root;
use gdn_traits::EventSink;
use gdn_types::{ContainerId, Error, ErrorKind, ProcessId, Result};

use crate::failures;
use crate::oom::OomReport;
use crate::processes::{Processes, exit_status};

/// A container with a living keeper.
pub(crate) struct Container {
    /// Its run-time directory.
    pub(crate) directory: PathBuf,
    pub(crate) keeper: Keeper,
    pub(crate) cgroup: Arc<Cgroup>,
    /// Its root directory, once there is one.
    pub(crate) root: OnceLock<Root>,
    pub(crate) init_pid: std::sync::atomic::AtomicU32,
    pub(crate) privileged: AtomicBool,
    pub(crate) shared: Arc<Shared>,
    /// Tells of want of memory for as long as this lives; absent without a limit.
    _oom: Option<OomReport>,
}

/// What the task that hears from the keeper shares with everyone else.
pub(crate) struct Shared {
    id: ContainerId,
    processes: Mutex<Processes>,
    /// Set once a destroy has begun: ends are then expected.
    leaving: AtomicBool,
    /// Set once the container has ended, for whatever reason.
    ended: AtomicBool,
    events: Arc<dyn EventSink>,
}

impl Container {
    /// Connects to the keeper that listens in the directory.
    pub(crate) async fn connect(
        id: ContainerId,
        directory: PathBuf,
        cgroup: Cgroup,
        events: Arc<dyn EventSink>,
    ) -> Result<(Self, Status), gdn_launcher::Error> {
        let shared = Arc::new(Shared {
            id,
            processes: Mutex::default(),
            leaving: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            events: Arc::clone(&events),
        });
        let cgroup = Arc::new(cgroup);
        let oom = OomReport::begin(id, &cgroup, events);
        let listener = Arc::clone(&shared);
        let (keeper, status, root) = Keeper::connect(&directory, move |news| listener.hear(news)).await?;
        let container = Container {
            directory,
            keeper,
            cgroup,
            root: root.map_or_else(OnceLock::new, |root| OnceLock::from(Root::from_fd(root))),
            init_pid: status.init_pid.into(),
            privileged: AtomicBool::new(false),
            shared,
            _oom: oom,
        };
        Ok((container, status))
    }

    /// Its root, unless it has none (yet, or any more).
    pub(crate) fn root(&self) -> Result<&Root> {
        if self.shared.has_ended() {
            return Err(Error::new(ErrorKind::Lost, "the container was lost: its init has ended"));
        }
        self.root
            .get()
            .ok_or_else(|| Error::new(ErrorKind::FailedPrecondition, "the container is not complete"))
    }

    /// Why init could not be made or completed: a memory limit that it cannot live with is named.
    pub(crate) fn build_failure(&self, error: gdn_launcher::Error) -> Error {
        match (self.cgroup.oom_kills(), self.cgroup.limits().map(|limits| limits.memory_bytes)) {
            (Ok(1..), Ok(Some(bytes))) => Error::new(
                ErrorKind::ResourceExhausted,
                format!("build the container: its memory limit of {bytes} bytes is too small"),
            ),
            _ => failures::keeper(error),
        }
    }

    /// Ends every process; afterwards nothing runs.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.shared.leaving.store(true, Ordering::Release);
        match self.keeper.kill().await {
            Ok(()) | Err(gdn_launcher::Error::Gone { .. }) => Ok(()),
            Err(error) => Err(failures::keeper(error)),
        }
    }

    /// Ends every process and then the keeper. Returns whether the keeper has heard it.
    pub(crate) async fn end(&self, errors: &mut Vec<Error>) -> bool {
        errors.extend(self.kill().await.err());
        match self.keeper.shut_down().await {
            Ok(()) => true,
            Err(gdn_launcher::Error::Gone { .. }) => false,
            Err(error) => {
                errors.push(failures::keeper(error));
                false
            }
        }
    }
}

impl Shared {
    pub(crate) fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the processes of a keeper that was found again. What it has told since it was asked is kept.
    pub(crate) fn adopt(&self, running: &[String], log: &std::path::Path) {
        let mut processes = self.processes();
        let (early, found) = (processes.take_early(), processes.list());
        *processes = Processes::restored(running, log);
        for (process, _) in found {
            processes.found(process.as_str());
        }
        for (process, status) in early {
            processes.ended(&process, status);
        }
        if self.has_ended() {
            processes.lost();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Called for everything the keeper tells, in order.
    fn hear(&self, news: News) {
        match news {
            News::Exited(exited) if exited.process.is_empty() => {
                let status = exit_status(exited.wait_status);
                self.end(&format!("init {status}"));
            }
            News::Exited(exited) => {
                let Ok(process) = ProcessId::parse(&exited.process) else { return };
                let status = exit_status(exited.wait_status);
                self.processes().ended(&process, status);
                self.events.process_exited(&self.id, &process, status);
            }
            News::Started(started) => self.processes().found(&started.process),
            News::Gone => self.end("its keeper is gone"),
        }
    }

    fn end(&self, reason: &str) {
        let first = !self.ended.swap(true, Ordering::AcqRel);
        self.processes().lost();
        if first && !self.leaving.load(Ordering::Acquire) {
            self.events.container_lost(&self.id, reason);
        }
    }
}
