//! One container that this engine holds: its keeper, its root and its processes.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use gdn_cgroups::Cgroup;
use gdn_launcher::protocol::Status;
use gdn_launcher::{Keeper, News};
use gdn_mounts::Root;
use gdn_traits::EventSink;
use gdn_types::{ContainerId, Error, ErrorKind, ExitStatus, ProcessId, Result};

use tokio::sync::watch;
use tokio::time::timeout;

use crate::cgroup_views::View;
use crate::demotion::Demotion;
use crate::failures;
use crate::lookups::Lookups;
use crate::oom::{OomReport, Owner};
use crate::processes::{Processes, exit_status};
use crate::removal::ANSWER;
use crate::sidecars::Sidecars;
use crate::users::KnownFiles;

/// How long after a failure the keeper may take to tell that init has ended: it has been told by the kernel when it failed, or
/// is about to be.
const END_TOLD: Duration = Duration::from_millis(100);

/// A container with a living keeper.
pub(crate) struct Container {
    /// Its run-time directory.
    pub(crate) directory: PathBuf,
    pub(crate) keeper: Keeper,
    pub(crate) cgroup: Arc<Cgroup>,
    /// Its root directory, once there is one.
    pub(crate) root: OnceLock<Root>,
    pub(crate) init_pid: AtomicU32,
    pub(crate) privileged: AtomicBool,
    /// Whether an external runtime made it.
    pub(crate) of_runtime: AtomicBool,
    pub(crate) shared: Arc<Shared>,
    pub(crate) lookups: Lookups,
    /// What is known of its users.
    pub(crate) users: KnownFiles,
    /// What it keeps of its processor weight.
    pub(crate) demotion: Demotion,
    /// What init gets of its cgroups, until it has them.
    for_init: Mutex<ForInit>,
}

/// What init gets of its container's cgroups.
#[derive(Default)]
pub(crate) struct ForInit {
    /// What the container is to see of them.
    pub(crate) views: Vec<View>,
    /// `tasks` of those of version 1, to join them.
    pub(crate) tasks: Vec<OwnedFd>,
}

/// What a container is made from.
pub(crate) struct Parts {
    pub(crate) directory: PathBuf,
    pub(crate) keeper: Keeper,
    pub(crate) cgroup: Cgroup,
    pub(crate) shared: Arc<Shared>,
    /// Whether its memory is limited.
    pub(crate) limited: bool,
}

/// What the task that hears from the keeper shares with everyone else.
pub(crate) struct Shared {
    pub(crate) id: ContainerId,
    processes: Mutex<Processes>,
    /// Those that run.
    pub(crate) sidecars: Sidecars,
    /// Tells of want of memory; absent without a limit.
    oom: OnceLock<OomReport>,
    /// Set once the container is complete: before that its end is the create's to tell.
    complete: AtomicBool,
    /// Set once a destroy has begun: ends are then expected.
    leaving: AtomicBool,
    /// Set once the container has ended, for whatever reason.
    ended: watch::Sender<bool>,
    pub(crate) events: Arc<dyn EventSink>,
}

impl Container {
    /// Connects to the keeper that listens in the directory, of a container that was complete.
    pub(crate) async fn connect(
        shared: Arc<Shared>,
        directory: PathBuf,
        cgroup: Cgroup,
    ) -> Result<(Self, Status), gdn_launcher::Error> {
        shared.complete.store(true, Ordering::Release);
        let listener = Arc::clone(&shared);
        let (keeper, status, root) = Keeper::connect(&directory, move |news| listener.hear(news)).await?;
        let limited = cgroup.limits().is_ok_and(|limits| limits.memory_bytes.is_some());
        let parts = Parts { directory, keeper, cgroup, shared, limited };
        let mut container = Container::assemble(parts, status.init_pid, false, ForInit::default());
        container.of_runtime = status.runtime.into();
        container.root = root.map_or_else(OnceLock::new, |root| OnceLock::from(Root::from_fd(root)));
        Ok((container, status))
    }

    /// A container with a keeper; without a root yet.
    pub(crate) fn assemble(parts: Parts, init_pid: u32, privileged: bool, for_init: ForInit) -> Self {
        let Parts { directory, keeper, cgroup, shared, limited } = parts;
        let cgroup = Arc::new(cgroup);
        let container = Container {
            directory,
            keeper,
            cgroup,
            root: OnceLock::new(),
            init_pid: init_pid.into(),
            privileged: privileged.into(),
            demotion: Demotion::default(),
            of_runtime: false.into(),
            for_init: Mutex::new(for_init),
            shared,
            lookups: Lookups::default(),
            users: KnownFiles::default(),
        };
        if limited {
            container.watch_memory();
        }
        container
    }

    /// Tells from now on of want of memory, if nobody does yet.
    pub(crate) fn watch_memory(&self) {
        let shared = &self.shared;
        if shared.oom.get().is_some() {
            return;
        }
        let owner = Owner { container: shared.id, sidecar: None };
        if let Some(report) = OomReport::begin(owner, &self.cgroup, Arc::clone(&shared.events)) {
            let _first = shared.oom.set(report);
        }
    }

    /// What init gets; nobody needs it here any more.
    pub(crate) fn take_for_init(&self) -> ForInit {
        std::mem::take(&mut *self.for_init.lock().unwrap_or_else(PoisonError::into_inner))
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

    /// Why a process could not be started or reached: one that raced the container's end is told of that end, whatever the
    /// kernel made of it.
    pub(crate) async fn process_failure(&self, error: gdn_launcher::Error) -> Error {
        use gdn_launcher::protocol::FailureKind;
        let may_be_the_end = matches!(
            error.kind(),
            Some(FailureKind::NotRunning | FailureKind::Exhausted | FailureKind::Internal)
        );
        let ended = may_be_the_end && self.shared.has_ended_within(END_TOLD).await;
        if ended || error.kind() == Some(FailureKind::NotRunning) {
            return Error::new(ErrorKind::Lost, format!("the container was lost: {error}"));
        }
        failures::keeper(error)
    }

    /// Ends every process; the keeper stays, if it is there. One that cannot be reached is dealt with by [`Container::end`].
    pub(crate) async fn kill(&self) {
        self.shared.leaving.store(true, Ordering::Release);
        match timeout(ANSWER, self.keeper.kill()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(container = %self.shared.id, %error, "the keeper does not kill")
            }
            // A process that does not end, or the keeper itself.
            Err(_) => tracing::warn!(container = %self.shared.id, "its processes do not end"),
        }
    }

    /// Ends every process and then the keeper. Returns whether the keeper has done so; then every process is reaped. A keeper
    /// that does not answer has not.
    pub(crate) async fn end(&self, errors: &mut Vec<Error>) -> bool {
        self.shared.leaving.store(true, Ordering::Release);
        match timeout(ANSWER, self.keeper.end()).await {
            Ok(Ok(())) => true,
            Ok(Err(gdn_launcher::Error::Gone { .. })) => false,
            Err(_) => {
                tracing::warn!(container = %self.shared.id, "the keeper does not answer");
                false
            }
            Ok(Err(error)) => {
                errors.push(failures::keeper(error));
                false
            }
        }
    }
}

impl Shared {
    /// Of a container that is not complete yet.
    pub(crate) fn new(id: ContainerId, sidecars: Sidecars, events: Arc<dyn EventSink>) -> Arc<Self> {
        Arc::new(Shared {
            id,
            processes: Mutex::default(),
            sidecars,
            oom: OnceLock::new(),
            complete: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            events,
        })
    }

    /// From now on an end is told as a loss.
    ///
    /// # Errors
    /// `Lost` when it has ended already: nobody else is told of that.
    pub(crate) fn complete(&self) -> Result<()> {
        let _as_in_end = self.processes();
        if self.has_ended() {
            return Err(Error::new(ErrorKind::Lost, "the container was lost: its init ended at once"));
        }
        self.complete.store(true, Ordering::Release);
        Ok(())
    }

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

    /// Whether its memory has a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.oom.get().is_some()
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Whether it has ended, or is told to have within that time.
    async fn has_ended_within(&self, time: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        timeout(time, ended.wait_for(|ended| *ended)).await.is_ok()
    }

    /// Called for everything the keeper tells, in order.
    pub(crate) fn hear(&self, news: News) {
        match news {
            News::Exited(exited) if exited.process.is_empty() => {
                let status = exit_status(exited.wait_status);
                self.end(&format!("init {status}"));
            }
            News::Exited(exited) => {
                let Ok(process) = ProcessId::parse(&exited.process) else { return };
                let status = exit_status(exited.wait_status);
                if status != ExitStatus::Code(0) {
                    // Whoever learns of the end is to find its cause on record.
                    // The sidecar's own group first: of what is counted in both, it knows more.
                    self.sidecars.look_at_end(&process, status);
                    self.oom.get().inspect(|oom| oom.look_at_end(&process, status));
                }
                self.processes().ended(&process, status);
                self.sidecars.ended(&process);
                self.events.process_exited(&self.id, &process, status);
            }
            News::Started(started) => self.processes().found(&started.process),
            News::Gone => self.end("its keeper is gone"),
        }
    }

    fn end(&self, reason: &str) {
        let told = {
            let mut processes = self.processes();
            processes.lost();
            let first = !self.ended.send_replace(true);
            first && self.complete.load(Ordering::Acquire)
        };
        if told && !self.leaving.load(Ordering::Acquire) {
            self.events.container_lost(&self.id, reason);
        }
    }
}
