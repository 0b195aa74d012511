//! What outlives the engine: finding containers again, and removing what nobody knows any more.

use std::collections::HashSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{join_all, ready};
use futures::stream;
use gdn_traits::{Containerizer, CreatedContainer, Restored};
use gdn_types::{ContainerId, Error, Result};
use tokio::time::{Instant, sleep_until, timeout};

use crate::component::{Held, KernelContainerizer, cgroup_error};
use crate::container::Container;
use crate::removal::{ANSWER, LEAVE};
use crate::{failures, sidecars};

/// How many unknown containers are removed at a time. Each may take as long as one that is stuck is waited for.
pub(crate) const AT_ONCE: usize = 64;

/// The directory of this boot's run-time files; those of earlier boots describe nothing that exists.
pub(crate) fn enter_boot(run_dir: &Path, boot_id: &str) -> Result<PathBuf> {
    make_directory(run_dir)?;
    let current = run_dir.join(boot_id);
    let entries = std::fs::read_dir(run_dir).map_err(failures::os(format!("read {}", run_dir.display())))?;
    for entry in entries {
        let path = entry.map_err(failures::os(format!("read {}", run_dir.display())))?.path();
        if path != current {
            std::fs::remove_dir_all(&path).map_err(failures::os(format!("remove {}", path.display())))?;
        }
    }
    make_directory(&current)?;
    Ok(current)
}

/// Makes a directory that only root can enter, with its parents; one that exists is fine.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failures::os(format!("make directory {}", path.display())))
}

/// Connects to the keepers of known containers, and destroys everything else of this engine.
pub(crate) async fn restore(
    containerizer: &KernelContainerizer,
    known: &[ContainerId],
) -> Result<Vec<Restored>> {
    let mut groups = sidecars::groups_by_container(&containerizer.cgroups)?;
    // All at once: one that does not answer must not keep the others waiting.
    let adoptions = known.iter().map(|id| adopt(containerizer, id, groups.remove(id).unwrap_or_default()));
    let restored = join_all(adoptions).await;
    let known: HashSet<&ContainerId> = known.iter().collect();
    let unknown = traces(containerizer)?.into_iter().filter(|id| !known.contains(id));
    // Many at once, too: the engine serves nobody until the last of them is gone or given up.
    let removals =
        stream::iter(unknown).map(|id| remove_unknown(containerizer, id)).buffer_unordered(AT_ONCE);
    let errors: Vec<_> = removals.filter_map(|removed| ready(removed.err())).collect().await;
    if let Some(error) = Error::gathered("remove unknown containers", errors) {
        // The rest of the engine can serve; what is left is found again at the next start.
        tracing::warn!(error = %error, "could not remove everything of unknown containers");
    }
    Ok(restored)
}

async fn remove_unknown(containerizer: &KernelContainerizer, id: ContainerId) -> Result<()> {
    tracing::info!(container = %id, "removing a container that nobody knows");
    containerizer.destroy(&id).await
}

/// Connects to a container's keeper; `groups` are those of sidecars with limits of their own.
async fn adopt(containerizer: &KernelContainerizer, id: &ContainerId, groups: Vec<String>) -> Restored {
    let (held, restored) = match find_keeper(containerizer, id).await {
        Some(container) if container.root.get().is_some() => {
            let container = Arc::new(container);
            sidecars::adopt(&container.shared, groups);
            let created = created(&container);
            (Held::Living(container), Restored::Running(created))
        }
        Some(_) => (Held::Lost("its init has ended".into()), Restored::Lost("its init has ended".into())),
        None => {
            let reason = "its keeper is gone, or does not answer";
            (Held::Lost(reason.into()), Restored::Lost(reason.into()))
        }
    };
    containerizer.held().insert(*id, held);
    restored
}

/// Connects to the container's keeper, if it still listens.
pub(crate) async fn find_keeper(containerizer: &KernelContainerizer, id: &ContainerId) -> Option<Container> {
    let directory = containerizer.directory(id);
    if !directory.join("keeper").exists() {
        return None;
    }
    let cgroup = containerizer.cgroups.create(id.as_str(), &gdn_cgroups::Resources::default()).ok()?;
    let shared = containerizer.shared(id);
    match timeout(ANSWER, Container::connect(shared, directory.clone(), cgroup)).await {
        Err(_) => {
            tracing::warn!(container = %id, "its keeper does not answer");
            None
        }
        Ok(Ok((container, status))) => {
            container.shared.adopt(&status.running, &directory.join("exits"));
            container.init_pid.store(status.init_pid, Ordering::Relaxed);
            if let Err(error) = container.promote_after_restart() {
                tracing::warn!(container = %id, error = error.report(), "a demoted container keeps its lower weight");
            }
            Some(container)
        }
        Ok(Err(error)) => {
            tracing::debug!(container = %id, %error, "no keeper answers");
            None
        }
    }
}

/// What the orchestrator is told of a complete container.
pub(crate) fn created(container: &Container) -> CreatedContainer {
    CreatedContainer {
        init_pid: container.init_pid.load(Ordering::Relaxed),
        path: container.directory.clone(),
    }
}

/// Every container of this engine of which there is a directory or a cgroup.
pub(crate) fn traces(containerizer: &KernelContainerizer) -> Result<Vec<ContainerId>> {
    let run_dir = &containerizer.run_dir;
    let entries = std::fs::read_dir(run_dir).map_err(failures::os(format!("read {}", run_dir.display())))?;
    let directories = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names = directories.chain(containerizer.cgroups.list().map_err(cgroup_error)?);
    let mut ids: Vec<_> =
        names.filter_map(|name| ContainerId::parse(sidecars::container_of(&name)).ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Removes the engine's own cgroups. The last keepers may just be leaving theirs; if they do not, everything stays, and the
/// next engine on this root finds it.
pub(crate) async fn remove_engine_cgroups(containerizer: &KernelContainerizer) {
    let deadline = Instant::now() + LEAVE;
    while let Err(error) = containerizer.cgroups.remove_all() {
        if Instant::now() >= deadline {
            tracing::warn!(%error, "the engine's cgroups stay");
            return;
        }
        sleep_until(Instant::now() + Duration::from_millis(1)).await;
    }
}
