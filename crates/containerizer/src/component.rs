//! The component: one method for each call of the trait, and what they share.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gdn_cgroups::Cgroups;
use gdn_launcher::Launcher;
use gdn_launcher::protocol::{
    Attach, Call, CloseStdin, Create, FailureKind, Forget, Reply, Resize, Signal as SignalCall,
};
use gdn_mounts::Root;
use gdn_namespaces::CapabilitySet;
use gdn_readers::Readers;
use gdn_traits::{
    Attachment, ContainerPlan, Containerizer, CreatedContainer, EventSink, Restored, RunContext, Sandbox,
    SandboxSpec, SidecarPlan, StreamOut,
};
use gdn_types::{
    ApparmorProfile, AttachFrom, ContainerId, ContainerMetrics, EngineId, Error, ErrorKind, ExitStatus,
    HostIds, LimitChange, Limits, ProcessId, ProcessSpec, ProcessState, Result, SeccompProfile, Signal,
    StreamInSpec, StreamOutSpec, WindowSize,
};

use crate::apparmor::Apparmor;
use crate::container::{Container, ForInit, Shared};
use crate::filters::Filters;
use crate::policy::Policy;
use crate::removal::{Removals, Traces};
use crate::sidecars::Sidecars;
use crate::targets::Targets;
use crate::{
    arguments, binds, failures, figures, ids, limits, removal, restore, sandbox, sidecars, stop, sysctls,
    transfers, users,
};

/// How the component is set up.
pub struct ContainerizerConfig {
    /// Names the engine's cgroups.
    pub engine: EngineId,
    /// Where run-time files go: one directory for each boot of the host, below it one for each container.
    pub run_dir: PathBuf,
    /// The boot of the host that this is.
    pub boot_id: String,
    /// Who is told of exits and losses.
    pub events: Arc<dyn EventSink>,
    /// What the operator decided for every container.
    pub policy: Policy,
    /// The profile of containers that name none; [`SeccompProfile::Engine`] is the one that comes with the program.
    pub seccomp: SeccompProfile,
    /// The AppArmor profile of containers that name none; [`ApparmorProfile::Engine`] is none.
    pub apparmor: ApparmorProfile,
    /// Whether containers have a cgroup in every v1 hierarchy, as an external runtime makes them.
    pub every_hierarchy: bool,
}

/// Threads that read figures at most: more wait for the kernel's locks and for each other.
const READ_AT_ONCE: usize = 2;

/// Containers out of kernel objects.
pub struct KernelContainerizer {
    pub(crate) cgroups: Arc<Cgroups>,
    pub(crate) launcher: Launcher,
    /// Run-time files of this boot.
    pub(crate) run_dir: PathBuf,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) policy: Policy,
    /// What of destroyed containers is still being removed.
    removals: Arc<Removals>,
    /// Containers with a living keeper, and those found lost (without one).
    held: Mutex<HashMap<ContainerId, Held>>,
    seccomp: Filters,
    readers: Readers,
    pub(crate) apparmor: Apparmor,
}

/// What is known of a container.
#[derive(Clone)]
pub(crate) enum Held {
    /// Its keeper lives.
    Living(Arc<Container>),
    /// It was found without one; why, for a person.
    Lost(String),
}

impl KernelContainerizer {
    /// Starts the launcher and opens the engine's cgroups. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// `Internal` when a directory, a cgroup or the launcher cannot be made.
    pub async fn start(config: ContainerizerConfig) -> Result<Self> {
        let run_dir = restore::enter_boot(&config.run_dir, &config.boot_id)?;
        let options = gdn_cgroups::Options { every_hierarchy: config.every_hierarchy };
        let cgroups = gdn_cgroups::Layout::detect()
            .and_then(|layout| Cgroups::open_with(layout, &format!("gdn-{}", config.engine), options))
            .map_err(cgroup_error)?;
        let policy = limits::supported(&cgroups, config.policy)?;
        let launcher = Launcher::start().map_err(failures::keeper)?;
        // Keepers are born where their launcher is: outside the server's cgroup, so that they outlive it.
        cgroups
            .keepers()
            .and_then(|keepers| keepers.attach(launcher.pid()))
            .and_then(|()| cgroups.free_elsewhere(launcher.pid()))
            .map_err(cgroup_error)?;
        Ok(KernelContainerizer {
            cgroups: Arc::new(cgroups),
            launcher,
            run_dir,
            removals: Arc::default(),
            events: config.events,
            policy,
            held: Mutex::default(),
            readers: Readers::new(READ_AT_ONCE),
            seccomp: Filters::new(&config.seccomp)?,
            apparmor: Apparmor::new(config.apparmor).await,
        })
    }

    /// A user namespace with the map of unprivileged containers that have these host ids, or share theirs, for mounts that
    /// show files with mapped ids.
    ///
    /// # Errors
    /// `ResourceExhausted` when the kernel has no more namespaces.
    pub async fn user_namespace(&self, ids: Option<HostIds>) -> Result<OwnedFd> {
        self.launcher.user_namespace(&ids::map(false, ids)).await.map_err(failures::keeper)
    }

    /// Removes what is left of destroyed containers, ends the launcher and, if there is no container any more, removes the engine's cgroups. Containers stay as they are;
    /// nothing can be created afterwards.
    ///
    /// # Errors
    /// `Internal` when the launcher was not ours to reap.
    pub async fn close(self: Arc<Self>) -> Result<()> {
        let ended = Arc::clone(&self);
        let ended = tokio::task::spawn_blocking(move || ended.launcher.stop().map_err(failures::keeper));
        ended.await.map_err(|error| failures::joined(&error))??;
        self.removals.close().await;
        if self.held().values().all(|held| matches!(held, Held::Lost(_))) {
            restore::remove_engine_cgroups(&self).await;
        }
        Ok(())
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, HashMap<ContainerId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The container, if it is alive.
    pub(crate) fn living(&self, id: &ContainerId) -> Result<Arc<Container>> {
        match self.held().get(id) {
            Some(Held::Living(container)) => Ok(Arc::clone(container)),
            Some(Held::Lost(reason)) => {
                Err(Error::new(ErrorKind::Lost, format!("the container was lost: {reason}")))
            }
            None => Err(Error::internal(format!("the containerizer holds no container {id}"))),
        }
    }

    /// What hears from the keeper of a container.
    pub(crate) fn shared(&self, id: &ContainerId) -> Arc<Shared> {
        let sidecars = Sidecars::new(*id, Arc::clone(&self.cgroups), Arc::clone(&self.removals));
        Shared::new(*id, sidecars, Arc::clone(&self.events))
    }

    pub(crate) fn directory(&self, id: &ContainerId) -> PathBuf {
        self.run_dir.join(id.as_str())
    }

    /// Asks for one user of the container: at once where nothing can block, else on one of few threads that may.
    pub(crate) async fn user(&self, container: &Arc<Container>, asked: &str) -> Result<users::User> {
        if let Some(user) = users::look_up_at_once(container.root()?, &container.users, asked) {
            return user;
        }
        let (asked_of, asked) = (Arc::clone(container), asked.to_owned());
        container.lookups.ask(move || users::look_up(asked_of.root()?, &asked)).await
    }
}

#[async_trait]
impl Containerizer for KernelContainerizer {
    async fn prepare(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        sandbox::prepare(self, spec, sandbox::OURS).await
    }

    async fn create(&self, id: &ContainerId, plan: ContainerPlan) -> Result<CreatedContainer> {
        let container = self.living(id)?;
        let privileged = container.privileged.load(Ordering::Relaxed);
        let sysctls = sysctls::checked(&plan.sysctls)?;
        let binds =
            binds::all(&plan.bind_mounts, Targets::of(plan.rootfs.as_fd(), plan.places, &plan.image_mounts))
                .await?;
        let filter = self.seccomp.of(&plan.seccomp, privileged).await?;
        let apparmor = self.apparmor.of(&plan.apparmor, privileged).await?;
        // Only now: what is not handed over is unmounted by whoever lets go of the container.
        let ForInit { views, tasks } = container.take_for_init();
        let view_targets = views.iter().map(|view| view.target.clone());
        let targets = plan.image_mounts.iter().map(|mount| mount.target.display().to_string());
        let bind_targets = plan.bind_mounts.iter().map(|bind| bind.target.display().to_string());
        let bounding = if privileged { CapabilitySet::PRIVILEGED } else { CapabilitySet::UNPRIVILEGED };
        let create = Create {
            mounts: view_targets.chain(targets).chain(bind_targets).collect(),
            sysctls,
            seccomp: filter.program,
            seccomp_flags: filter.flags,
            apparmor,
            capabilities: bounding.0,
            inheritable: arguments::inheritable_set(plan.capabilities, bounding).0,
            user_limits: if privileged { Vec::new() } else { self.policy.user_limits.settings() },
        };
        let descriptors: Vec<BorrowedFd<'_>> = std::iter::once(plan.rootfs.as_fd())
            .chain(views.iter().map(|view| view.mount.as_fd()))
            .chain(plan.image_mounts.iter().map(|mount| mount.mount.as_fd()))
            .chain(binds.iter().map(AsFd::as_fd))
            .chain(tasks.iter().map(AsFd::as_fd))
            .collect();
        let (_, handed) = container
            .keeper
            .call(Call::Create(create), &descriptors)
            .await
            .map_err(|error| container.build_failure(error))?;
        let root = handed
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("the keeper did not hand over the root"))?;
        let _first = container.root.set(Root::from_fd(root));
        container.shared.complete()?;
        Ok(restore::created(&container))
    }

    async fn destroy(&self, id: &ContainerId) -> Result<()> {
        let held = self.held().get(id).cloned();
        let mut errors = Vec::new();
        let mut groups = vec![id.as_str().to_owned()];
        groups.extend(match &held {
            Some(Held::Living(container)) => container.shared.sidecars.own_groups(),
            Some(Held::Lost(_)) | None => sidecars::own_groups_of(Arc::clone(&self.cgroups), *id).await?,
        });
        let living = match held {
            Some(Held::Living(container)) => Some(container),
            Some(Held::Lost(_)) | None => None,
        };
        let mut reaped = match &living {
            Some(container) => container.end(&mut errors).await,
            None => false,
        };
        // A keeper whose init has ended, that has dropped our connection, or that is held up lives on until it is told.
        if !reaped {
            removal::kill(&self.cgroups, &groups).await;
            if let Some(container) = restore::find_keeper(self, id).await {
                reaped = container.end(&mut errors).await;
            }
        }
        let traces = Traces {
            cgroups: Arc::clone(&self.cgroups),
            id: *id,
            groups,
            directory: Some(self.directory(id)),
            may_live: false,
            container: living,
        };
        if reaped {
            self.removals.begin(traces);
        } else {
            errors.extend(self.removals.remove(traces).await.err());
        }
        match Error::gathered(&format!("destroy container {id}"), errors) {
            Some(error) => Err(error),
            None => {
                let gone = self.held().remove(id);
                if reaped {
                    // The removal in the background holds it, too, and closes its root.
                    return Ok(());
                }
                // Not under the lock, and not here: the last holder of a root unmounts it.
                tokio::task::spawn_blocking(move || drop(gone))
                    .await
                    .map_err(|error| failures::joined(&error))
            }
        }
    }

    async fn restore(&self, known: &[ContainerId]) -> Result<Vec<Restored>> {
        restore::restore(self, known).await
    }

    async fn run(
        &self,
        id: &ContainerId,
        context: &RunContext,
        spec: &ProcessSpec,
        sidecar: Option<SidecarPlan>,
    ) -> Result<(ProcessId, Attachment)> {
        let container = self.living(id)?;
        let process = process_id(spec)?;
        if let Some(plan) = sidecar {
            let reserved = Reservation::of(&container, &process)?;
            let started = sidecars::run(&container, &self.policy, context, &process, spec, plan).await?;
            reserved.keep();
            return Ok((process, attachment(started)?));
        }
        refuse_sidecar_parts(spec)?;
        let user = self.user(&container, &spec.user).await?;
        let run = arguments::run(&process, spec, context, &self.policy, &user)?;
        let reserved = Reservation::of(&container, &process)?;
        match container.keeper.call(Call::Run(run), &[]).await {
            Ok(started) => {
                reserved.keep();
                Ok((process, attachment(started)?))
            }
            Err(error) => Err(container.process_failure(error).await),
        }
    }

    async fn attach(&self, id: &ContainerId, process: &ProcessId, from: AttachFrom) -> Result<Attachment> {
        let container = self.living(id)?;
        let state = container.shared.processes().state(process)?;
        if state == ProcessState::Lost {
            return Err(lost_process(process));
        }
        let attach = Attach {
            process: process.as_str().to_owned(),
            stdout_from: from.stdout,
            stderr_from: from.stderr,
        };
        match container.keeper.call(Call::Attach(attach), &[]).await {
            Ok(attached) => attachment(attached),
            Err(error) if error.kind() == Some(FailureKind::NoProcess) => {
                container.has_ended(process)?;
                ended_attachment()
            }
            Err(gdn_launcher::Error::Gone { .. }) if matches!(state, ProcessState::Exited(_)) => {
                ended_attachment()
            }
            Err(error) => Err(container.process_failure(error).await),
        }
    }

    async fn wait(&self, id: &ContainerId, process: &ProcessId) -> Result<ExitStatus> {
        let mut watch = self.living(id)?.shared.processes().watch(process)?;
        let state = watch
            .wait_for(|state| *state != ProcessState::Running)
            .await
            .map_err(|_| Error::process_not_found(process))?;
        match *state {
            ProcessState::Exited(status) => Ok(status),
            ProcessState::Running | ProcessState::Lost => Err(lost_process(process)),
        }
    }

    async fn release_name(&self, id: &ContainerId, process: &ProcessId) -> Result<()> {
        let container = self.living(id)?;
        if !container.shared.processes().release_name(process) {
            return Ok(());
        }
        // Into the keeper's log, where a later engine reads who ended.
        let forget = Call::Forget(Forget { process: process.as_str().to_owned() });
        container.keeper.call(forget, &[]).await.map(drop).map_err(failures::keeper)
    }

    async fn signal(&self, id: &ContainerId, process: &ProcessId, signal: Signal) -> Result<()> {
        let call = Call::Signal(SignalCall { process: process.as_str().to_owned(), signal: signal.number() });
        self.tell(id, process, call).await
    }

    async fn resize(&self, id: &ContainerId, process: &ProcessId, size: WindowSize) -> Result<()> {
        let window = Some(arguments::window(size));
        self.tell(id, process, Call::Resize(Resize { process: process.as_str().to_owned(), window })).await
    }

    async fn close_stdin(&self, id: &ContainerId, process: &ProcessId) -> Result<()> {
        self.tell(id, process, Call::CloseStdin(CloseStdin { process: process.as_str().to_owned() })).await
    }

    async fn processes(&self, id: &ContainerId) -> Result<Vec<(ProcessId, ProcessState)>> {
        Ok(self.living(id)?.shared.processes().list())
    }

    async fn stop(&self, id: &ContainerId, kill: bool) -> Result<()> {
        stop::stop(&*self.living(id)?, kill).await
    }

    async fn stream_in(
        &self,
        id: &ContainerId,
        _context: &RunContext,
        spec: &StreamInSpec,
        source: OwnedFd,
    ) -> Result<()> {
        let container = self.living(id)?;
        let user =
            self.user(&container, &spec.user).await.map_err(|error| during("error streaming in", error))?;
        transfers::stream_in(&container, user, &spec.path, source)
            .await
            .map_err(|error| during("error streaming in", error))
    }

    async fn stream_out(
        &self,
        id: &ContainerId,
        _context: &RunContext,
        spec: &StreamOutSpec,
    ) -> Result<StreamOut> {
        let container = self.living(id)?;
        let user = self.user(&container, &spec.user).await?;
        transfers::stream_out(container, user, &spec.path)
    }

    async fn metrics(&self, id: &ContainerId) -> Result<ContainerMetrics> {
        let container = self.living(id)?;
        let mut figures = figures::of(Arc::clone(&container.cgroup), &self.readers).await?;
        figures.cpu.demoted = container.demotion.is_demoted();
        Ok(figures)
    }

    async fn sidecar_metrics(&self, id: &ContainerId, process: &ProcessId) -> Result<ContainerMetrics> {
        let group = self.living(id)?.shared.sidecars.group(process);
        figures::of(group.ok_or_else(|| Error::process_not_found(process))?, &self.readers).await
    }

    async fn limits(&self, id: &ContainerId) -> Result<Limits> {
        let container = self.living(id)?;
        let limits = container.demotion.undone_in(|| container.cgroup.limits()).map_err(cgroup_error)?;
        limits::in_force(limits)
    }

    async fn change_limits(&self, id: &ContainerId, change: &LimitChange) -> Result<Limits> {
        limits::change(Arc::clone(&self.cgroups), &self.policy, self.living(id)?, change).await
    }

    async fn demote(&self, id: &ContainerId, part: Option<f64>) -> Result<()> {
        let container = self.living(id)?;
        if container.demotion.part() == part {
            return Ok(());
        }
        let demoted = tokio::task::spawn_blocking(move || container.demote(part));
        demoted.await.map_err(|error| failures::joined(&error))?
    }
}

impl KernelContainerizer {
    /// A call about one process; to one that has ended, nothing, successfully.
    async fn tell(&self, id: &ContainerId, process: &ProcessId, call: Call) -> Result<()> {
        let container = self.living(id)?;
        match container.shared.processes().state(process)? {
            ProcessState::Exited(_) => return Ok(()),
            ProcessState::Lost => return Err(lost_process(process)),
            ProcessState::Running => {}
        }
        match container.keeper.call(call, &[]).await.map_err(failures::keeper) {
            Err(error) if error.kind() == ErrorKind::ProcessNotFound => container.has_ended(process),
            other => other.map(drop),
        }
    }
}

impl Container {
    /// Tells a process that the keeper knows nothing of any more, or that ended before there was this keeper, from one that has
    /// a name and is not there yet.
    fn has_ended(&self, process: &ProcessId) -> Result<()> {
        match self.shared.processes().state(process)? {
            ProcessState::Exited(_) => Ok(()),
            ProcessState::Running => Err(Error::process_not_found(process)),
            ProcessState::Lost => Err(lost_process(process)),
        }
    }
}

/// The name asked for, or a new one.
pub(crate) fn process_id(spec: &ProcessSpec) -> Result<ProcessId> {
    match &spec.id {
        Some(process) => Ok(process.clone()),
        None => ProcessId::parse(&uuid::Uuid::new_v4().to_string()),
    }
}

/// Refuses what only a sidecar has.
pub(crate) fn refuse_sidecar_parts(spec: &ProcessSpec) -> Result<()> {
    if spec.image.is_some() {
        return Err(Error::internal("a process with an image came without its root file system"));
    }
    if spec.limits.is_some() {
        return Err(Error::not_yet("a process with limits of its own and no image"));
    }
    Ok(())
}

/// A process's name, taken. Given back when this is dropped, unless the process was started.
pub(crate) struct Reservation<'a> {
    container: &'a Container,
    process: &'a ProcessId,
    kept: bool,
}

impl<'a> Reservation<'a> {
    pub(crate) fn of(container: &'a Container, process: &'a ProcessId) -> Result<Self> {
        container.shared.processes().reserve(process)?;
        Ok(Reservation { container, process, kept: false })
    }

    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.container.shared.processes().release(self.process);
        }
    }
}

const _: () = assert!(
    Attachment::CUT_OFF == gdn_launcher::protocol::CUT_OFF,
    "the keeper marks pipes as readers expect"
);

/// The descriptors of one attachment, by what the reply says they are.
pub(crate) fn attachment((reply, descriptors): (Reply, Vec<OwnedFd>)) -> Result<Attachment> {
    let streams = reply.streams.unwrap_or_default();
    let mut descriptors = descriptors.into_iter();
    let mut next = |there: bool| if there { descriptors.next() } else { None };
    let (stdin, stdout, stderr) = (next(streams.stdin), next(streams.stdout), next(streams.stderr));
    let stdout =
        stdout.ok_or_else(|| Error::internal("the keeper did not hand over the process's output"))?;
    let (stdout_first, stderr_first) = (streams.stdout_first, streams.stderr_first);
    Ok(Attachment { stdin, stdout, stderr, stdout_first, stderr_first })
}

/// An attachment to a process that has ended: outputs at their end.
fn ended_attachment() -> Result<Attachment> {
    let at_end = || {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map(|(read, _write)| read)
            .map_err(|errno| failures::os("make a pipe")(errno.into()))
    };
    Ok(Attachment {
        stdin: None,
        stdout: at_end()?,
        stderr: Some(at_end()?),
        stdout_first: 0,
        stderr_first: 0,
    })
}

fn lost_process(process: &ProcessId) -> Error {
    Error::new(ErrorKind::Lost, format!("process {process} was lost with its container"))
}

/// Puts what clients look for in front of a message.
fn during(what: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("{what}: {}", error.report()))
}

pub(crate) fn cgroup_error(error: gdn_cgroups::Error) -> Error {
    let kind = match &error {
        gdn_cgroups::Error::Value { .. } | gdn_cgroups::Error::IoWeight { .. } => ErrorKind::InvalidArgument,
        gdn_cgroups::Error::BelowUsage { .. }
        | gdn_cgroups::Error::NoController { .. }
        | gdn_cgroups::Error::NoControlFile { .. }
        | gdn_cgroups::Error::NoBlockDevice => ErrorKind::FailedPrecondition,
        gdn_cgroups::Error::Path { errno: rustix::io::Errno::NOSPC, .. } => ErrorKind::ResourceExhausted,
        // It was waited for: what is in it does not end.
        gdn_cgroups::Error::Busy { .. } => ErrorKind::DeadlineExceeded,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, error.to_string())
}
