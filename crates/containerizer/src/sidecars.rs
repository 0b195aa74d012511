//! Sidecars: processes of a container with a root file system, and control groups, of their own.
//!
//! A sidecar that shares the container's limits has a group inside the container's (`<container>/<group>`), one with limits of
//! its own beside it. A group's name tells of its process, so that an engine that starts finds out whose it is.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gdn_cgroups::{Cgroup, Cgroups, Mode, Resources};
use gdn_launcher::protocol::{Call, Create, Reply, Run, Sidecar};
use gdn_mounts::Root;
use gdn_traits::{RunContext, SidecarPlan};
use gdn_types::{ContainerId, CpuShares, ExitStatus, IoWeight, ProcessId, ProcessSpec, Result};
use uuid::Uuid;

use crate::cgroup_views::{self, View};
use crate::component::cgroup_error;
use crate::container::{Container, Shared};
use crate::oom::{OomReport, Owner};
use crate::policy::Policy;
use crate::removal::{Removals, Traces};
use crate::targets::Targets;
use crate::{arguments, binds, failures, ids, limits, users};

/// Files of the container that its sidecars see too: they share its network.
pub(crate) const SHARED_FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// The running sidecars of one container.
pub(crate) struct Sidecars {
    container: ContainerId,
    pub(crate) cgroups: Arc<Cgroups>,
    removals: Arc<Removals>,
    running: Mutex<HashMap<ProcessId, Group>>,
}

struct Group {
    cgroup: Arc<Cgroup>,
    /// Tells of want of memory; only with a limit of its own.
    oom: Option<OomReport>,
}

impl Sidecars {
    pub(crate) fn new(container: ContainerId, cgroups: Arc<Cgroups>, removals: Arc<Removals>) -> Self {
        Sidecars { container, cgroups, removals, running: Mutex::default() }
    }

    /// The group of one that runs.
    pub(crate) fn group(&self, process: &ProcessId) -> Option<Arc<Cgroup>> {
        self.running().get(process).map(|group| Arc::clone(&group.cgroup))
    }

    /// Names of the groups beside the container's.
    pub(crate) fn own_groups(&self) -> Vec<String> {
        let running = self.running();
        let names = running.values().map(|group| group.cgroup.name().to_owned());
        names.filter(|name| !name.contains('/')).collect()
    }

    /// Whether no process is left in any group beside the container's.
    pub(crate) fn have_ended(&self) -> bool {
        let groups: Vec<_> = self.running().values().map(|group| Arc::clone(&group.cgroup)).collect();
        // One that cannot be read has been removed.
        groups.iter().all(|group| group.is_empty().unwrap_or(true))
    }

    /// Tells now whether a sidecar that has ended was killed for want of memory.
    pub(crate) fn look_at_end(&self, process: &ProcessId, status: ExitStatus) {
        if let Some(oom) = self.running().get(process).and_then(|group| group.oom.as_ref()) {
            oom.look_at_end(process, status);
        }
    }

    /// A process has ended: if it was a sidecar, whatever it left goes too.
    pub(crate) fn ended(&self, process: &ProcessId) {
        let ended = self.running().remove(process);
        if let Some(ended) = ended {
            self.remove(ended.cgroup.name().to_owned());
        }
    }

    /// Kills what is in a group and removes it, in the background.
    fn remove(&self, group: String) {
        self.removals.begin(Traces {
            cgroups: Arc::clone(&self.cgroups),
            id: self.container,
            groups: vec![group],
            directory: None,
            may_live: true,
            container: None,
        });
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ProcessId, Group>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a sidecar whose name is taken. What a failure leaves is removed in the background.
pub(crate) async fn run(
    container: &Arc<Container>,
    policy: &Policy,
    context: &RunContext,
    process: &ProcessId,
    spec: &ProcessSpec,
    plan: SidecarPlan,
) -> Result<(Reply, Vec<OwnedFd>)> {
    let (root, user) = user(container, Root::from_fd(plan.rootfs), &spec.user).await?;
    let dir = if spec.dir.is_empty() { "/".to_owned() } else { spec.dir.clone() };
    let run = arguments::run(process, &ProcessSpec { dir, ..spec.clone() }, context, policy, &user)?;
    let binds =
        binds::all(&spec.bind_mounts, Targets::of(root.as_fd(), plan.places, &plan.image_mounts)).await?;
    let image_targets = plan.image_mounts.iter().map(|mount| mount.target.display().to_string());
    let bind_targets = spec.bind_mounts.iter().map(|bind| bind.target.display().to_string());
    let cgroup = make_group(container, policy, process, spec).await?;
    let started = async {
        let tasks = cgroup.attach_fds().map_err(cgroup_error)?;
        let views = views_of(container, &cgroup, context).await?;
        let create = Create {
            mounts: views
                .iter()
                .map(|view| view.target.clone())
                .chain(image_targets)
                .chain(bind_targets)
                .collect(),
            ..Create::default()
        };
        let shared = SHARED_FILES.map(str::to_owned).to_vec();
        let sidecar = Sidecar { create: Some(create), unified: cgroup.unified_dir().is_some(), shared };
        let descriptors: Vec<BorrowedFd<'_>> = cgroup
            .unified_dir()
            .into_iter()
            .chain([root.as_fd()])
            .chain(views.iter().map(|view| view.mount.as_fd()))
            .chain(plan.image_mounts.iter().map(|mount| mount.mount.as_fd()))
            .chain(binds.iter().map(AsFd::as_fd))
            .chain(tasks.iter().map(AsFd::as_fd))
            .collect();
        let run = Run { sidecar: Some(sidecar), ..run };
        match container.keeper.call(Call::Run(run), &descriptors).await {
            Ok(started) => Ok(started),
            Err(error) => Err(container.process_failure(error).await),
        }
    };
    let started = started.await;
    if started.is_err() {
        container.shared.sidecars.ended(process);
    }
    started
}

/// What the sidecar sees of its cgroups.
async fn views_of(container: &Container, cgroup: &Arc<Cgroup>, context: &RunContext) -> Result<Vec<View>> {
    let (cgroups, cgroup) = (Arc::clone(&container.shared.sidecars.cgroups), Arc::clone(cgroup));
    let (privileged, ids) = (context.privileged, ids::map(context.privileged, context.ids));
    tokio::task::spawn_blocking(move || cgroup_views::of(&cgroups, &cgroup, privileged, &ids))
        .await
        .map_err(|error| failures::joined(&error))?
}

/// Looks a user up in the sidecar's root: at once where nothing can block, else on one of few threads that may.
pub(crate) async fn user(container: &Container, root: Root, asked: &str) -> Result<(Root, users::User)> {
    if let Some(user) = users::look_up_at_once(&root, &users::KnownFiles::default(), asked) {
        return Ok((root, user?));
    }
    let asked = asked.to_owned();
    container.lookups.ask(move || users::look_up(&root, &asked).map(|user| (root, user))).await
}

/// Makes the sidecar's group and notes it, before there is a process in it.
pub(crate) async fn make_group(
    container: &Arc<Container>,
    policy: &Policy,
    process: &ProcessId,
    spec: &ProcessSpec,
) -> Result<Arc<Cgroup>> {
    let id = container.shared.id;
    let beside = group_name(&id, process);
    let counts_apart = container.shared.sidecars.cgroups.mode() == Mode::V2;
    let (name, limits) = match resources(spec, policy) {
        // On version 1 its block I/O is limited with the container's, since its parent is the same.
        Some(limits) if counts_apart => {
            let (io_weight, io_max) = (policy.io.weight.map(IoWeight::get), limits::io_max(&policy.io));
            (beside, Resources { io_weight, io_max, ..limits })
        }
        Some(limits) => (beside, limits),
        None => (format!("{id}/{beside}"), Resources::default()),
    };
    let own_limit = limits.memory_bytes.is_some();
    let cgroups = Arc::clone(&container.shared.sidecars.cgroups);
    let cgroup = tokio::task::spawn_blocking(move || cgroups.create(&name, &limits).map_err(cgroup_error))
        .await
        .map_err(|error| failures::joined(&error))??;
    Ok(note(&container.shared, process.clone(), cgroup, own_limit))
}

fn note(shared: &Shared, process: ProcessId, cgroup: Cgroup, own_limit: bool) -> Arc<Cgroup> {
    let cgroup = Arc::new(cgroup);
    let inner = cgroup.name().contains('/');
    let owner = match inner {
        // Version 1 counts a kill in the group of whoever was killed, whosever limit was reached.
        true => (shared.is_limited() && shared.sidecars.cgroups.mode() != Mode::V2).then_some(None),
        false => own_limit.then(|| Some(process.clone())),
    };
    let oom = owner.and_then(|sidecar| {
        let owner = Owner { container: shared.id, sidecar };
        OomReport::begin(owner, &cgroup, Arc::clone(&shared.events))
    });
    shared.sidecars.running().insert(process, Group { cgroup: Arc::clone(&cgroup), oom });
    cgroup
}

/// The limits of its own, if it has any, be they empty.
pub(crate) fn resources(spec: &ProcessSpec, policy: &Policy) -> Option<Resources> {
    let (cpu, memory) = spec.limits.as_ref()?;
    let given = |value: u64| (value > 0).then_some(value);
    Some(Resources {
        memory_bytes: given(memory.bytes),
        swap: policy.swap(),
        cpu_shares: cpu.shares.map(CpuShares::get),
        cpu_quota_us: policy.quota(cpu),
        devices: policy.devices(),
        ..Resources::default()
    })
}

/// Takes over the groups of sidecars that run, and removes those of sidecars that have ended meanwhile. `own` are the names
/// beside the container's group.
pub(crate) fn adopt(shared: &Shared, own: Vec<String>) {
    let sidecars = &shared.sidecars;
    let id = shared.id;
    let running: HashMap<String, ProcessId> = shared
        .processes()
        .list()
        .into_iter()
        .filter(|(_, state)| *state == gdn_types::ProcessState::Running)
        .map(|(process, _)| (group_prefix(&id, &process), process))
        .collect();
    let inner = sidecars.cgroups.list_in(id.as_str()).unwrap_or_else(|error| {
        tracing::warn!(container = %id, %error, "the groups of sidecars are not listed");
        Vec::new()
    });
    // A privileged container makes groups as well; those are its own.
    let inner = inner.into_iter().filter(|name| name.contains('.') && container_of(name) == id.as_str());
    let inner = inner.map(|name| (format!("{id}/{name}"), name));
    for (path, name) in own.into_iter().map(|name| (name.clone(), name)).chain(inner) {
        let process = name.rsplit_once('.').and_then(|(prefix, _)| running.get(prefix));
        match (process, sidecars.cgroups.open_existing(&path)) {
            // One without a process is an earlier sidecar's of that name.
            (Some(process), Ok(Some(cgroup))) if !cgroup.is_empty().unwrap_or(false) => {
                let limited =
                    !path.contains('/') && cgroup.limits().is_ok_and(|limits| limits.memory_bytes.is_some());
                note(shared, process.clone(), cgroup, limited);
                // Its end may have been told just before it was noted.
                let state = shared.processes().state(process);
                if !matches!(state, Ok(gdn_types::ProcessState::Running)) {
                    sidecars.ended(process);
                }
            }
            (Some(process), Err(error)) => {
                tracing::warn!(container = %id, %process, %error, "the group of a sidecar is not read");
            }
            (_, Ok(None)) => {}
            (None, _) | (Some(_), Ok(Some(_))) => sidecars.remove(path),
        }
    }
}

/// All groups beside those of containers, by the container they belong to.
pub(crate) fn groups_by_container(cgroups: &Cgroups) -> Result<HashMap<ContainerId, Vec<String>>> {
    let mut groups: HashMap<ContainerId, Vec<String>> = HashMap::new();
    for name in cgroups.list().map_err(cgroup_error)? {
        if name.contains('.')
            && let Ok(id) = ContainerId::parse(container_of(&name))
        {
            groups.entry(id).or_default().push(name);
        }
    }
    Ok(groups)
}

/// The groups beside that of a container of which nothing is known.
pub(crate) async fn own_groups_of(cgroups: Arc<Cgroups>, id: ContainerId) -> Result<Vec<String>> {
    let groups = tokio::task::spawn_blocking(move || groups_by_container(&cgroups));
    Ok(groups.await.map_err(|error| failures::joined(&error))??.remove(&id).unwrap_or_default())
}

/// The container that a group's name begins with.
pub(crate) fn container_of(group: &str) -> &str {
    group.split_once('.').map_or(group, |(container, _)| container)
}

/// What the groups of a sidecar begin with. The process's name can be longer than a file's, and be taken for one of the
/// kernel's, so it is digested (UUID v5).
fn group_prefix(container: &ContainerId, process: &ProcessId) -> String {
    format!("{container}.{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, process.as_str().as_bytes()).simple())
}

/// A name for a new group. No name is used twice: the removal of an earlier sidecar's group, which may take long, kills
/// whatever is in it.
fn group_name(container: &ContainerId, process: &ProcessId) -> String {
    let nonce = Uuid::new_v4().as_fields().0;
    format!("{}.{nonce:08x}", group_prefix(container, process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_tells_whose_it_is_and_its_name_is_never_used_again() {
        let id = ContainerId::from_bits(7);
        let process = |name: &str| ProcessId::parse(name).unwrap();
        let prefix = group_prefix(&id, &process("envoy"));
        assert_eq!(prefix, format!("{id}.1c942599b8b35f3084da1fd2a5f10ef6"));
        assert_ne!(prefix, group_prefix(&id, &process("envoY")));
        let name = group_name(&id, &process("envoy"));
        assert_eq!(name.rsplit_once('.').unwrap().0, prefix);
        assert_eq!(container_of(&name), id.as_str());
        assert_ne!(name, group_name(&id, &process("envoy")));
        assert_eq!(container_of(id.as_str()), id.as_str());
    }

    #[test]
    fn absent_limits_differ_from_empty_ones() {
        let spec = ProcessSpec::default();
        assert!(resources(&spec, &Policy::default()).is_none());
        let empty = ProcessSpec { limits: Some(Default::default()), ..spec };
        assert!(resources(&empty, &Policy::default()).unwrap().memory_bytes.is_none());
    }
}
