//! Containers made by an external OCI runtime, behind the same trait.
//!
//! The runtime's program is executed by the container's keeper, once for each step: `run` makes the container, `exec` starts a
//! process, `delete` forgets a container. It leaves what it starts to the keeper and ends. So keepers, exit records, streams,
//! cgroups, copies of files and everything that is asked of a container are the same as without one, and so is what survives a
//! kill of the engine.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use gdn_launcher::protocol::{Call, Sandbox as SandboxCall};
use gdn_traits::{
    Attachment, ContainerPlan, Containerizer, CreatedContainer, Restored, RunContext, Sandbox, SandboxSpec,
    SidecarPlan, StreamOut,
};
use gdn_types::{
    AttachFrom, ContainerId, ContainerMetrics, Error, ErrorKind, ExitStatus, LimitChange, Limits, ProcessId,
    ProcessSpec, ProcessState, Result, SeccompProfile, Signal, StreamInSpec, StreamOutSpec, WindowSize,
};

use crate::component::{KernelContainerizer, Reservation, attachment, process_id, refuse_sidecar_parts};
use crate::container::Container;
use crate::{ids, restore, sandbox};

mod bundle;
mod config;
mod create;
mod delete;
mod failure;
mod filter;
mod mounts;
mod process;
mod program;
mod run;
mod sidecar;
mod stage;
mod workdir;

pub use program::Runtime;

/// Containers made by an external OCI runtime.
#[derive(Clone)]
pub struct RuntimeContainerizer {
    kernel: Arc<KernelContainerizer>,
    runtime: Runtime,
    /// Where the runtime is shown the parts of containers, in a mount namespace of its own.
    stage: String,
    /// The profile of containers that name none.
    seccomp: SeccompProfile,
    /// Sandboxes that are no containers yet, and what those will be.
    prepared: Arc<Mutex<HashMap<ContainerId, SandboxSpec>>>,
}

impl RuntimeContainerizer {
    /// Has the runtime do what the other would do itself. `seccomp` is for containers that name no profile.
    ///
    /// # Errors
    /// `InvalidArgument` for a profile that runtimes cannot be told of; `FailedPrecondition` when no directory of the host can
    /// serve as a stage.
    pub fn new(kernel: Arc<KernelContainerizer>, runtime: Runtime, seccomp: SeccompProfile) -> Result<Self> {
        filter::of(&seccomp, &seccomp, false)?;
        let stage = stage::find(&[&kernel.run_dir, Path::new(runtime.program())])?;
        Ok(RuntimeContainerizer { kernel, runtime, stage, seccomp, prepared: Arc::default() })
    }

    fn prepared(&self) -> MutexGuard<'_, HashMap<ContainerId, SandboxSpec>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container in which this runtime can start processes.
    fn own(&self, id: &ContainerId) -> Result<Arc<Container>> {
        let container = self.kernel.living(id)?;
        if container.of_runtime.load(Ordering::Relaxed) {
            return Ok(container);
        }
        Err(Error::new(
            ErrorKind::FailedPrecondition,
            "the container was made without a runtime plug-in: start the engine without one to run processes in it",
        ))
    }
}

/// A container that an external runtime builds.
const OF_RUNTIME: sandbox::Kind = sandbox::Kind { call: of_runtime, shows_cgroups: false };

/// The namespaces that exist before the runtime makes the container.
fn of_runtime(spec: &SandboxSpec, unified: bool) -> Call {
    Call::Sandbox(SandboxCall {
        privileged: spec.privileged,
        unified,
        map: ids::triples(spec.privileged, spec.ids),
    })
}

#[async_trait]
impl Containerizer for RuntimeContainerizer {
    async fn prepare(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        self.prepared().insert(spec.id, spec.clone());
        let sandbox = sandbox::prepare(&self.kernel, spec, OF_RUNTIME).await?;
        self.kernel.living(&spec.id)?.of_runtime.store(true, Ordering::Relaxed);
        Ok(sandbox)
    }

    async fn create(&self, id: &ContainerId, plan: ContainerPlan) -> Result<CreatedContainer> {
        let container = self.own(id)?;
        let spec = self.prepared().remove(id);
        let spec = spec.ok_or_else(|| Error::internal(format!("no sandbox was prepared for {id}")))?;
        create::create(self, &container, &spec, plan).await?;
        container.shared.complete()?;
        Ok(restore::created(&container))
    }

    async fn destroy(&self, id: &ContainerId) -> Result<()> {
        self.prepared().remove(id);
        delete::container(self, id).await;
        self.kernel.destroy(id).await
    }

    async fn restore(&self, known: &[ContainerId]) -> Result<Vec<Restored>> {
        let unknown = restore::traces(&self.kernel)?.into_iter().filter(|id| !known.contains(id));
        let deletions = stream::iter(unknown).map(async |id| delete::container(self, &id).await);
        deletions.buffer_unordered(restore::AT_ONCE).collect::<()>().await;
        self.kernel.restore(known).await
    }

    async fn run(
        &self,
        id: &ContainerId,
        context: &RunContext,
        spec: &ProcessSpec,
        sidecar: Option<SidecarPlan>,
    ) -> Result<(ProcessId, Attachment)> {
        let container = self.own(id)?;
        let process = process_id(spec)?;
        let reserved = Reservation::of(&container, &process)?;
        let started = match sidecar {
            Some(plan) => sidecar::run(self, &container, context, (&process, spec), plan).await?,
            None => {
                refuse_sidecar_parts(spec)?;
                run::run(self, &container, context, (&process, spec)).await?
            }
        };
        reserved.keep();
        Ok((process, attachment(started)?))
    }

    async fn attach(&self, id: &ContainerId, process: &ProcessId, from: AttachFrom) -> Result<Attachment> {
        self.kernel.attach(id, process, from).await
    }

    async fn wait(&self, id: &ContainerId, process: &ProcessId) -> Result<ExitStatus> {
        self.kernel.wait(id, process).await
    }

    async fn release_name(&self, id: &ContainerId, process: &ProcessId) -> Result<()> {
        self.kernel.release_name(id, process).await
    }

    async fn signal(&self, id: &ContainerId, process: &ProcessId, signal: Signal) -> Result<()> {
        self.kernel.signal(id, process, signal).await
    }

    async fn resize(&self, id: &ContainerId, process: &ProcessId, size: WindowSize) -> Result<()> {
        self.kernel.resize(id, process, size).await
    }

    async fn close_stdin(&self, id: &ContainerId, process: &ProcessId) -> Result<()> {
        self.kernel.close_stdin(id, process).await
    }

    async fn processes(&self, id: &ContainerId) -> Result<Vec<(ProcessId, ProcessState)>> {
        self.kernel.processes(id).await
    }

    async fn stop(&self, id: &ContainerId, kill: bool) -> Result<()> {
        self.kernel.stop(id, kill).await
    }

    async fn stream_in(
        &self,
        id: &ContainerId,
        context: &RunContext,
        spec: &StreamInSpec,
        source: OwnedFd,
    ) -> Result<()> {
        self.kernel.stream_in(id, context, spec, source).await
    }

    async fn stream_out(
        &self,
        id: &ContainerId,
        context: &RunContext,
        spec: &StreamOutSpec,
    ) -> Result<StreamOut> {
        self.kernel.stream_out(id, context, spec).await
    }

    async fn metrics(&self, id: &ContainerId) -> Result<ContainerMetrics> {
        self.kernel.metrics(id).await
    }

    async fn sidecar_metrics(&self, id: &ContainerId, process: &ProcessId) -> Result<ContainerMetrics> {
        self.kernel.sidecar_metrics(id, process).await
    }

    async fn limits(&self, id: &ContainerId) -> Result<Limits> {
        self.kernel.limits(id).await
    }

    async fn change_limits(&self, id: &ContainerId, change: &LimitChange) -> Result<Limits> {
        self.kernel.change_limits(id, change).await
    }
    async fn demote(&self, id: &ContainerId, part: Option<f64>) -> Result<()> {
        self.kernel.demote(id, part).await
    }
}
