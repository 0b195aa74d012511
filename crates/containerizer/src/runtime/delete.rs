//! Having the runtime forget a container and its sidecars.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gdn_launcher::Keeper;
use gdn_launcher::protocol::Call;
use gdn_types::{ContainerId, Result};
use tokio::time::timeout;

use super::RuntimeContainerizer;
use super::bundle::Bundle;
use super::create::in_cgroups;
use crate::component::Held;
use crate::{failures, restore};

/// How long a runtime may take to forget a container whose processes are dead.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most containers that a runtime's directory is believed to hold.
const MAX_KNOWN: usize = 4096;

/// Ends a container's processes and has the runtime forget it. What goes wrong here the removal of everything that follows
/// makes good, as far as cgroups, mounts and files are concerned.
pub(super) async fn container(containerizer: &RuntimeContainerizer, id: &ContainerId) {
    let directory = containerizer.kernel.directory(id);
    let known = known(&directory.join("runtime"));
    if known.is_empty() {
        return;
    }
    let held = containerizer.kernel.held().get(id).cloned();
    let found = match held {
        Some(Held::Living(container)) => Some(container),
        Some(Held::Lost(_)) | None => restore::find_keeper(&containerizer.kernel, id).await.map(Arc::new),
    };
    let made;
    let keeper = match &found {
        Some(container) => {
            container.kill().await;
            &container.keeper
        }
        None => match another_keeper(containerizer, &directory).await {
            Ok(keeper) => {
                made = keeper;
                &made
            }
            Err(error) => return tracing::warn!(container = %id, %error, "the runtime is not told"),
        },
    };
    for name in known {
        forget(containerizer, keeper, &directory, &name).await;
    }
    if found.is_none()
        && let Err(error) = keeper.shut_down().await
    {
        tracing::debug!(container = %id, %error, "the keeper for the runtime's delete does not answer");
    }
}

/// Has the runtime forget one container or sidecar that has ended.
pub(super) async fn forget(
    containerizer: &RuntimeContainerizer,
    keeper: &Keeper,
    directory: &Path,
    name: &str,
) {
    let bundle = Bundle::at(directory.to_owned());
    let client = containerizer.runtime.delete(&directory.join("runtime"), &bundle, name);
    let deleted = keeper.call(Call::Client(in_cgroups(&containerizer.kernel, client)), &[]);
    match timeout(PATIENCE, deleted).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(name, %error, "the runtime does not forget a container"),
        Err(_) => tracing::warn!(name, "the runtime takes too long to forget a container"),
    }
}

/// The names of what the runtime has not forgotten; sidecars, whose names are longer, first.
fn known(state: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(state) else { return Vec::new() };
    let names = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> =
        names.take(MAX_KNOWN).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // A runtime may have directories for itself; containers are named by us.
    names.retain(|name| ContainerId::parse(crate::sidecars::container_of(name)).is_ok());
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names
}

/// A keeper for a container that has none any more; it serves nobody else.
async fn another_keeper(containerizer: &RuntimeContainerizer, directory: &Path) -> Result<Keeper> {
    let place = directory.join("deleting");
    let _earlier = std::fs::remove_dir_all(&place);
    restore::make_directory(&place)?;
    let launched = containerizer.kernel.launcher.launch_connected(&place, |_| {});
    let (keeper, launched) = launched.map_err(failures::keeper)?;
    launched.await.map_err(failures::keeper)?;
    Ok(keeper)
}
