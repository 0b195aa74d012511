//! A process: `process.json`, and the runtime's `exec`.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use gdn_launcher::protocol::{Call, Client, Reply, Run};
use gdn_namespaces::{CapabilitySet, IdMap};
use gdn_traits::RunContext;
use gdn_types::{Error, ProcessId, ProcessSpec, Result};
use uuid::Uuid;

use super::RuntimeContainerizer;
use super::bundle::Bundle;
use super::create::{available, in_cgroups, state};
use super::{failure, process, workdir};
use crate::container::Container;
use crate::{arguments, failures, ids};

/// Starts a process whose name is taken.
pub(super) async fn run(
    containerizer: &RuntimeContainerizer,
    container: &Arc<Container>,
    context: &RunContext,
    (id, spec): (&ProcessId, &ProcessSpec),
) -> Result<(Reply, Vec<OwnedFd>)> {
    let kernel = &containerizer.kernel;
    let user = kernel.user(container, &spec.user).await?;
    let mut run = arguments::run(id, spec, context, &kernel.policy, &user)?;
    limit_to_available(&mut run, context.privileged)?;
    let (bundle, run) =
        prepared(Arc::clone(container), run, ids::map(context.privileged, context.ids)).await?;
    let client = containerizer.runtime.exec(
        &state(container),
        &bundle,
        container.shared.id.as_str(),
        run.tty.is_some(),
    );
    let client = Client { stage: containerizer.stage.clone(), ..in_cgroups(kernel, client) };
    let call = Run { runtime: Some(client), args: Vec::new(), env: Vec::new(), ..run };
    let started = match container.keeper.call(Call::Run(call), &[]).await {
        Ok(started) => Ok(started),
        Err(error) => Err(failure::of(container, &bundle, &format!("start process {id}"), error).await),
    };
    // Nobody waits for that: the container's directory goes in the end.
    tokio::task::spawn_blocking(move || bundle.remove());
    started
}

/// Nobody can hand out capabilities beyond his own bounding set; a user namespace has all of them.
pub(super) fn limit_to_available(run: &mut Run, privileged: bool) -> Result<()> {
    if privileged {
        let available = available()?;
        run.bounding = CapabilitySet(run.bounding).intersection(available).0;
        run.inheritable = CapabilitySet(run.inheritable).intersection(available).0;
    }
    Ok(())
}

/// A directory of its own for the call, with the process's description; its working directory is made.
async fn prepared(container: Arc<Container>, run: Run, ids: IdMap) -> Result<(Bundle, Run)> {
    let made = tokio::task::spawn_blocking(move || {
        workdir::make(
            container.root()?,
            &String::from_utf8_lossy(&run.dir),
            ids.to_host(run.uid).zip(ids.to_host(run.gid)),
        )?;
        let bundle = Bundle::make(container.directory.join(directory_name()))?;
        bundle.write("process.json", &process::document(&run)?)?;
        Ok::<_, Error>((bundle, run))
    });
    made.await.map_err(|error| failures::joined(&error))?
}

/// A name that no other call has.
fn directory_name() -> String {
    format!("call-{:08x}", Uuid::new_v4().as_fields().0)
}
