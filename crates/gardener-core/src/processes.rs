//! Processes: the orchestrator looks the container up and hands the descriptors on; no byte passes through it.

use std::sync::Arc;

use gdn_traits::{Attachment, RunContext, SidecarPlan};
use gdn_types::{
    AttachFrom, Error, EventKind, ExitStatus, Handle, ProcessId, ProcessSpec, ProcessState, Result, Signal,
    WindowSize,
};

use crate::container::Container;
use crate::uid::UidGenerator;
use crate::{Gardener, Hold};

/// A process and the caller's own ends of its streams. The container's grace time is paused while this lives.
#[derive(Debug)]
pub struct RunningProcess {
    /// The process.
    pub id: ProcessId,
    /// Its streams.
    pub attachment: Attachment,
    /// Pauses the countdown.
    pub hold: Hold,
}

impl Gardener {
    /// Starts a process. An empty path means the image's command; the client's arguments then replace its defaults.
    ///
    /// A caller that goes away once the process started only detaches from it.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; `Lost`; `InvalidArgument` for a path that neither the client nor the image
    /// names, and for bind mounts without an image of its own; what the components answer.
    pub async fn run(self: &Arc<Self>, handle: &Handle, spec: ProcessSpec) -> Result<RunningProcess> {
        let call = self.timings.run.begin();
        let (container, hold) = self.hold_living(handle)?;
        if spec.image.is_some() {
            return call.with(self.run_sidecar(container, hold, spec).await);
        }
        refuse_bind_mounts(&spec)?;
        let (context, image) = self.context(&container)?;
        let spec = with_image_defaults(spec, &image)?;
        let gardener = Arc::clone(self);
        let launch = async move {
            let id = spec.id.clone().expect("the defaults gave it a name");
            container.reserve(&id)?;
            gardener.launch(&container, &context, &spec, None).await.inspect_err(|_| container.release(&id))
        };
        let (id, attachment) = self.to_its_end("run", launch).await?;
        call.with(Ok(RunningProcess { id, attachment, hold }))
    }

    /// Attaches to a process, running or ended, from the given bytes of its output on.
    ///
    /// # Errors
    /// `ContainerNotFound`; `ProcessNotFound`; `Lost`.
    pub async fn attach(
        &self,
        handle: &Handle,
        process: &ProcessId,
        from: AttachFrom,
    ) -> Result<RunningProcess> {
        let (container, hold) = self.hold_living(handle)?;
        let attach = self.components.containerizer.attach(&container.id, process, from);
        let attachment = self.faults.caught("containerizer.attach", attach).await?;
        Ok(RunningProcess { id: process.clone(), attachment, hold })
    }

    /// Waits until a process has ended.
    ///
    /// # Errors
    /// `ContainerNotFound`; `ProcessNotFound`; `Lost`.
    pub async fn wait(&self, handle: &Handle, process: &ProcessId) -> Result<ExitStatus> {
        let (container, _hold) = self.hold_living(handle)?;
        let wait = self.components.containerizer.wait(&container.id, process);
        let status = self.faults.caught("containerizer.wait", wait).await?;
        // What ended it is told with the container's description, also after a kill of the engine.
        self.save_events(&container).await;
        if self.config.release_names_on_wait {
            self.release_name(&container, process).await;
        }
        Ok(status)
    }

    /// Lets the name of a process that has ended be taken again.
    pub(crate) async fn release_name(&self, container: &Container, process: &ProcessId) {
        let release = self.components.containerizer.release_name(&container.id, process);
        if let Err(error) = self.faults.caught("containerizer.release_name", release).await {
            tracing::warn!(handle = %container.handle, %process, error = error.report(), "its name stays taken");
        }
    }

    /// Sends a signal to a process.
    ///
    /// # Errors
    /// `ContainerNotFound`; `ProcessNotFound`; `Lost`.
    pub async fn signal(&self, handle: &Handle, process: &ProcessId, signal: Signal) -> Result<()> {
        let (container, _hold) = self.hold_living(handle)?;
        let signalling = self.components.containerizer.signal(&container.id, process, signal);
        self.faults.caught("containerizer.signal", signalling).await
    }

    /// Changes the size of a process's terminal.
    ///
    /// # Errors
    /// `ContainerNotFound`; `ProcessNotFound`; `FailedPrecondition` without a terminal; `Lost`.
    pub async fn resize(&self, handle: &Handle, process: &ProcessId, size: WindowSize) -> Result<()> {
        let (container, _hold) = self.hold_living(handle)?;
        let resize = self.components.containerizer.resize(&container.id, process, size);
        self.faults.caught("containerizer.resize", resize).await
    }

    /// Ends a process's standard input.
    ///
    /// # Errors
    /// `ContainerNotFound`; `ProcessNotFound`; `Lost`.
    pub async fn close_stdin(&self, handle: &Handle, process: &ProcessId) -> Result<()> {
        let (container, _hold) = self.hold_living(handle)?;
        let close = self.components.containerizer.close_stdin(&container.id, process);
        self.faults.caught("containerizer.close_stdin", close).await
    }

    /// The processes whose records exist.
    ///
    /// # Errors
    /// `ContainerNotFound`; `Lost`.
    pub async fn processes(&self, handle: &Handle) -> Result<Vec<(ProcessId, ProcessState)>> {
        let (container, _hold) = self.hold_living(handle)?;
        let processes = self.components.containerizer.processes(&container.id);
        self.faults.caught("containerizer.processes", processes).await
    }

    /// Ends every process but init. The container is `stopped` from then on, and stays usable.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; `Lost`.
    pub async fn stop(&self, handle: &Handle, kill: bool) -> Result<()> {
        let (container, _hold) = self.hold_living(handle)?;
        let stop = self.components.containerizer.stop(&container.id, kill);
        self.faults.caught("containerizer.stop", stop).await?;
        let mark = self.components.properties.mark_stopped(handle);
        self.faults.caught("properties.mark_stopped", mark).await?;
        container.status().stopped = true;
        self.events.emit(&container, EventKind::Stopped);
        Ok(())
    }

    /// What a process inherits from its container, and the image it is made of.
    pub(crate) fn context(&self, container: &Container) -> Result<(RunContext, gdn_types::ImageConfig)> {
        let record = self.record(container)?;
        let env = record.image.env.clone().overlaid(&record.spec.env);
        let (privileged, capabilities) = (record.spec.privileged, record.spec.capabilities);
        Ok((RunContext { env, privileged, ids: record.ids, capabilities }, record.image))
    }

    /// Starts the process whose name was reserved.
    pub(crate) async fn launch(
        &self,
        container: &Container,
        context: &RunContext,
        spec: &ProcessSpec,
        sidecar: Option<SidecarPlan>,
    ) -> Result<(ProcessId, Attachment)> {
        let id = spec.id.clone().expect("the defaults gave it a name");
        let run = self.components.containerizer.run(&container.id, context, spec, sidecar);
        let outcome = self.faults.caught("containerizer.run", run).await;
        if outcome.is_ok() {
            self.events.started(container, &id);
        }
        outcome
    }
}

fn refuse_bind_mounts(spec: &ProcessSpec) -> Result<()> {
    if !spec.bind_mounts.is_empty() {
        return Err(Error::invalid(
            "Running a process with bind mounts and no image provided is not allowed",
        ));
    }
    Ok(())
}

/// Gives the process a name, and for an empty path the image's command, user and working directory.
pub(crate) fn with_image_defaults(
    mut spec: ProcessSpec,
    image: &gdn_types::ImageConfig,
) -> Result<ProcessSpec> {
    spec.id.get_or_insert_with(UidGenerator::process);
    if !spec.path.is_empty() {
        return Ok(spec);
    }
    let Some((path, args)) = image.command.split_first() else {
        return Err(Error::invalid("process path is empty and the image names no command"));
    };
    spec.path.clone_from(path);
    if spec.args.is_empty() {
        spec.args = args.to_vec();
    }
    if spec.user.is_empty() {
        spec.user.clone_from(&image.user);
    }
    if spec.dir.is_empty() {
        spec.dir.clone_from(&image.working_dir);
    }
    Ok(spec)
}
