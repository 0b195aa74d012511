//! Makes a sandbox: the keeper, the cgroups and the namespaces, side by side as far as the kernel lets them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use gdn_cgroups::Cgroup;
use gdn_launcher::protocol::{Call, Prepare, Reply};
use gdn_launcher::{Error as KeeperError, Keeper};
use gdn_traits::{Sandbox, SandboxSpec};
use gdn_types::{Error, Result};

use crate::component::{Held, KernelContainerizer, cgroup_error};
use crate::container::{Container, ForInit, Parts};
use crate::{cgroup_views, failures, ids, limits, restore, user_limits};

/// How a sandbox comes to be.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// What the keeper is asked for.
    pub(crate) call: fn(&SandboxSpec, unified: bool) -> Call,
    /// Whether we show the container its cgroups; an external runtime does it itself.
    pub(crate) shows_cgroups: bool,
}

/// A container that our keeper builds.
pub(crate) const OURS: Kind = Kind { call: of_ours, shows_cgroups: true };

/// Makes the sandbox. What a failure leaves is found by the destroy that follows.
///
/// The keeper is asked for the namespaces before it runs, and the cgroups of version 1 are made meanwhile: the container
/// joins them when it is told to build itself. Only the one of version 2 has to be there first, since a process is born in
/// it.
pub(crate) async fn prepare(
    containerizer: &KernelContainerizer,
    spec: &SandboxSpec,
    kind: Kind,
) -> Result<Sandbox> {
    let directory = containerizer.directory(&spec.id);
    restore::make_directory(&directory)?;
    let shared = containerizer.shared(&spec.id);
    let listener = Arc::clone(&shared);
    let (keeper, launched) = containerizer
        .launcher
        .launch_connected(&directory, move |news| listener.hear(news))
        .map_err(failures::keeper)?;
    let (launched, prepared, cgroups) = tokio::join!(
        biased;
        launched,
        make_namespaces(containerizer, spec, &keeper, kind.call),
        make_cgroups(containerizer, spec, kind.shows_cgroups),
    );
    let (cgroup, for_init) = match cgroups {
        Ok(cgroups) => cgroups,
        Err(error) => {
            // If it cannot be reached now, the destroy finds it by its socket.
            let _ = keeper.end().await;
            return Err(error);
        }
    };
    let pid = prepared.as_ref().map_or(0, |prepared| prepared.as_ref().map_or(0, |(reply, _)| reply.pid));
    let limited = spec.limits.memory.bytes > 0;
    let parts = Parts { directory, keeper, cgroup, shared, limited };
    let container = Arc::new(Container::assemble(parts, pid, spec.privileged, for_init));
    containerizer.held().insert(spec.id, Held::Living(Arc::clone(&container)));
    launched.map_err(failures::keeper)?;
    let (reply, descriptors) = prepared?.map_err(|error| container.build_failure(error))?;
    if limits::limits_block_io(&spec.limits, &containerizer.policy) {
        limits::join_block_io(Arc::clone(&containerizer.cgroups), Arc::clone(&container)).await?;
    }
    let [pidfd, netns] = <[OwnedFd; 2]>::try_from(descriptors)
        .map_err(|_| Error::internal("the keeper did not hand over the sandbox's descriptors"))?;
    Ok(Sandbox { pid: reply.pid, pidfd, netns })
}

/// The container's first process in its namespaces; what the keeper says stands apart, since its reason depends on the
/// limits.
async fn make_namespaces(
    containerizer: &KernelContainerizer,
    spec: &SandboxSpec,
    keeper: &Keeper,
    call: fn(&SandboxSpec, bool) -> Call,
) -> Result<Result<(Reply, Vec<OwnedFd>), KeeperError>> {
    // One call of the kernel, which takes less than the way to another thread would.
    let unified = containerizer.cgroups.create_unified(spec.id.as_str()).map_err(cgroup_error)?;
    let descriptors: Vec<_> = unified.iter().map(AsFd::as_fd).collect();
    Ok(keeper.call(call(spec, unified.is_some()), &descriptors).await)
}

/// All namespaces, for a container that the keeper builds.
fn of_ours(spec: &SandboxSpec, unified: bool) -> Call {
    Call::Prepare(Prepare {
        privileged: spec.privileged,
        unified,
        hostname: spec.hostname.clone(),
        owner: user_limits::owner(&spec.id),
        map: ids::triples(spec.privileged, spec.ids),
    })
}

/// All its cgroups with their limits, and what init gets of them.
async fn make_cgroups(
    containerizer: &KernelContainerizer,
    spec: &SandboxSpec,
    shows_cgroups: bool,
) -> Result<(Cgroup, ForInit)> {
    let (cgroups, name, limits) =
        (Arc::clone(&containerizer.cgroups), spec.id, limits::resources(&spec.limits, &containerizer.policy));
    let (privileged, ids) = (spec.privileged, ids::map(spec.privileged, spec.ids));
    tokio::task::spawn_blocking(move || {
        let cgroup = cgroups.create(name.as_str(), &limits).map_err(cgroup_error)?;
        let tasks = cgroup.attach_fds().map_err(cgroup_error)?;
        let views =
            if shows_cgroups { cgroup_views::of(&cgroups, &cgroup, privileged, &ids)? } else { Vec::new() };
        Ok((cgroup, ForInit { views, tasks }))
    })
    .await
    .map_err(|error| failures::joined(&error))?
}
