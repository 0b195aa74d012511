//! The containerizer of the in-memory world.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;
use gdn_traits::{
    Attachment, ContainerPlan, Containerizer, CreatedContainer, Restored, RunContext, Sandbox, SandboxSpec,
    SidecarPlan, StreamOut,
};
use gdn_types::{
    AttachFrom, ContainerId, ContainerMetrics, Error, ErrorKind, ExitStatus, LimitChange, Limits, ProcessId,
    ProcessSpec, ProcessState, Result, Signal, StreamInSpec, StreamOutSpec, WindowSize,
};

use super::{FakeContainer, Life};
use crate::Point::{After, Before, Halfway};
use crate::processes::{FakeProcess, pipe};

pub(crate) struct FakeContainerizer(pub(crate) Life);

impl FakeContainerizer {
    fn with<T>(&self, id: &ContainerId, look: impl FnOnce(&mut FakeContainer) -> Result<T>) -> Result<T> {
        let mut host = self.0.world.host();
        let container = host
            .sandboxes
            .get_mut(id)
            .ok_or_else(|| Error::new(ErrorKind::Lost, format!("container {id} has no sandbox")))?;
        look(container)
    }

    fn with_process<T>(
        &self,
        id: &ContainerId,
        process: &ProcessId,
        look: impl FnOnce(&mut FakeProcess) -> Result<T>,
    ) -> Result<T> {
        self.with(id, |container| {
            look(container.processes.get_mut(process).ok_or_else(|| Error::process_not_found(process))?)
        })
    }

    /// Ends every process, and tells so.
    fn end_all(&self, id: &ContainerId, status: ExitStatus) {
        let processes: Vec<ProcessId> = {
            let host = self.0.world.host();
            host.sandboxes
                .get(id)
                .map(|container| container.processes.keys().cloned().collect())
                .unwrap_or_default()
        };
        for process in processes {
            self.0.world.end(id, &process, status);
        }
    }
}

#[async_trait]
impl Containerizer for FakeContainerizer {
    async fn prepare(&self, spec: &SandboxSpec) -> Result<Sandbox> {
        self.0.point("containerizer.prepare", Before).await?;
        self.0.world.host().cgroups.insert(spec.id);
        self.0.point("containerizer.prepare", Halfway).await?;
        let pid = {
            let mut host = self.0.world.host();
            host.pids += 1;
            let pid = host.pids;
            host.sandboxes
                .insert(spec.id, FakeContainer { pid, limits: spec.limits, ..FakeContainer::default() });
            pid
        };
        self.0.point("containerizer.prepare", After).await?;
        Ok(Sandbox { pid, pidfd: null()?, netns: null()? })
    }

    async fn create(&self, id: &ContainerId, plan: ContainerPlan) -> Result<CreatedContainer> {
        self.0.point("containerizer.create", Before).await?;
        drop(plan);
        self.0.point("containerizer.create", Halfway).await?;
        let created = self.with(id, |container| {
            container.complete = true;
            Ok(described(id, container))
        })?;
        self.0.point("containerizer.create", After).await?;
        Ok(created)
    }

    async fn destroy(&self, id: &ContainerId) -> Result<()> {
        self.0.point("containerizer.destroy", Before).await?;
        self.end_all(id, ExitStatus::Signal(9));
        self.0.world.host().sandboxes.remove(id);
        self.0.point("containerizer.destroy", Halfway).await?;
        self.0.world.host().cgroups.remove(id);
        self.0.point("containerizer.destroy", After).await
    }

    async fn restore(&self, known: &[ContainerId]) -> Result<Vec<Restored>> {
        self.0.point("containerizer.restore", Before).await?;
        self.0.world.host().sandboxes.retain(|id, _| known.contains(id));
        self.0.point("containerizer.restore", Halfway).await?;
        self.0.world.host().cgroups.retain(|id| known.contains(id));
        self.0.world.host().sandboxes.values_mut().for_each(|container| container.part = None);
        self.0.point("containerizer.restore", After).await?;
        let host = self.0.world.host();
        let restored = known.iter().map(|id| match host.sandboxes.get(id) {
            Some(container) if container.complete => Restored::Running(described(id, container)),
            Some(_) | None => Restored::Lost("its keeper is gone".to_owned()),
        });
        Ok(restored.collect())
    }

    async fn run(
        &self,
        id: &ContainerId,
        _: &RunContext,
        spec: &ProcessSpec,
        sidecar: Option<SidecarPlan>,
    ) -> Result<(ProcessId, Attachment)> {
        self.0.point("containerizer.run", Before).await?;
        if sidecar.is_some() != spec.image.is_some() {
            return Err(Error::internal("an image and its root file system come together"));
        }
        let process =
            spec.id.clone().ok_or_else(|| Error::invalid("the fake containerizer mints no process ids"))?;
        if spec.path == "/missing" {
            return Err(Error::new(
                ErrorKind::ExecutableNotFound,
                "executable file /missing not found in $PATH",
            ));
        }
        let attachment = self.with(id, |container| {
            if container.processes.get(&process).is_some_and(|known| !known.is_replaceable()) {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("process ID '{process}' already in use"),
                ));
            }
            let (started, attachment) = FakeProcess::start(spec)?;
            container.processes.insert(process.clone(), started);
            Ok(attachment)
        })?;
        if let Some(status) = FakeProcess::ends_at_once(spec) {
            self.0.world.end(id, &process, status);
        }
        self.0.point("containerizer.run", Halfway).await?;
        self.0.point("containerizer.run", After).await?;
        Ok((process, attachment))
    }

    async fn attach(&self, id: &ContainerId, process: &ProcessId, _from: AttachFrom) -> Result<Attachment> {
        self.0.point("containerizer.attach", Before).await?;
        self.with_process(id, process, FakeProcess::attach)
    }

    async fn wait(&self, id: &ContainerId, process: &ProcessId) -> Result<ExitStatus> {
        self.0.point("containerizer.wait", Before).await?;
        let mut watch = self.with_process(id, process, |process| Ok(process.watch()))?;
        let ended = watch.wait_for(Option::is_some).await.map(|status| *status);
        ended
            .ok()
            .flatten()
            .ok_or_else(|| Error::new(ErrorKind::Lost, format!("status of process {process} is lost")))
    }

    async fn release_name(&self, id: &ContainerId, process: &ProcessId) -> Result<()> {
        self.0.point("containerizer.release_name", Before).await?;
        self.with(id, |container| {
            if let Some(known) = container.processes.get_mut(process) {
                known.release_name();
            }
            Ok(())
        })
    }

    async fn signal(&self, id: &ContainerId, process: &ProcessId, signal: Signal) -> Result<()> {
        self.0.point("containerizer.signal", Before).await?;
        self.with_process(id, process, |_| Ok(()))?;
        if signal == Signal::TERM || signal == Signal::KILL {
            let number = u8::try_from(signal.number()).expect("a signal is at most 64");
            self.0.world.end(id, process, ExitStatus::Signal(number));
        }
        Ok(())
    }

    async fn resize(&self, id: &ContainerId, process: &ProcessId, _size: WindowSize) -> Result<()> {
        self.0.point("containerizer.resize", Before).await?;
        self.with_process(id, process, |known| match known.has_tty() {
            true => Ok(()),
            false => {
                Err(Error::new(ErrorKind::FailedPrecondition, format!("process {process} has no terminal")))
            }
        })
    }

    async fn close_stdin(&self, id: &ContainerId, process: &ProcessId) -> Result<()> {
        self.0.point("containerizer.close_stdin", Before).await?;
        self.with_process(id, process, |_| Ok(()))
    }

    async fn processes(&self, id: &ContainerId) -> Result<Vec<(ProcessId, ProcessState)>> {
        self.0.point("containerizer.processes", Before).await?;
        self.with(id, |container| {
            Ok(container.processes.iter().map(|(id, process)| (id.clone(), process.state())).collect())
        })
    }

    async fn stop(&self, id: &ContainerId, kill: bool) -> Result<()> {
        self.0.point("containerizer.stop", Before).await?;
        self.with(id, |_| Ok(()))?;
        self.end_all(id, ExitStatus::Signal(if kill { 9 } else { 15 }));
        self.0.point("containerizer.stop", After).await
    }

    async fn stream_in(
        &self,
        id: &ContainerId,
        _: &RunContext,
        _: &StreamInSpec,
        source: OwnedFd,
    ) -> Result<()> {
        self.0.point("containerizer.stream_in", Before).await?;
        // Whoever writes may be a task of the same thread.
        let reading = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            File::from(source).read_to_end(&mut bytes).map(|_| bytes)
        });
        let read = reading.await.map_err(|error| Error::internal(format!("read tar: {error}")))?;
        let bytes = read.map_err(|error| Error::internal(format!("read tar: {error}")))?;
        self.with(id, |container| {
            container.files = bytes;
            Ok(())
        })
    }

    async fn stream_out(&self, id: &ContainerId, _: &RunContext, _: &StreamOutSpec) -> Result<StreamOut> {
        self.0.point("containerizer.stream_out", Before).await?;
        let bytes = self.with(id, |container| Ok(container.files.clone()))?;
        let (tar, end) = pipe()?;
        // Tests stream less than a pipe holds, so this never waits for the reader.
        File::from(end).write_all(&bytes).map_err(|error| Error::internal(format!("write tar: {error}")))?;
        Ok(StreamOut { tar, done: Box::pin(async { Ok(()) }) })
    }

    async fn sidecar_metrics(&self, id: &ContainerId, process: &ProcessId) -> Result<ContainerMetrics> {
        self.0.point("containerizer.sidecar_metrics", Before).await?;
        self.with_process(id, process, |_| {
            let mut metrics = ContainerMetrics::default();
            metrics.pids.current = 1;
            Ok(metrics)
        })
    }

    async fn metrics(&self, id: &ContainerId) -> Result<ContainerMetrics> {
        self.0.point("containerizer.metrics", Before).await?;
        self.with(id, |container| {
            let mut metrics = ContainerMetrics::default();
            metrics.pids.current = 1 + container.processes.len() as u64;
            (metrics.cpu.usage, metrics.cpu.demoted) = (container.cpu_usage, container.part.is_some());
            Ok(metrics)
        })
    }

    async fn change_limits(&self, id: &ContainerId, change: &LimitChange) -> Result<Limits> {
        self.0.point("containerizer.change_limits", Before).await?;
        self.with(id, |container| {
            container.limits = container.limits.changed(change);
            Ok(container.limits)
        })
    }

    async fn demote(&self, id: &ContainerId, part: Option<f64>) -> Result<()> {
        self.0.point("containerizer.demote", Before).await?;
        self.with(id, |container| {
            container.part = part;
            Ok(())
        })
    }

    async fn limits(&self, id: &ContainerId) -> Result<Limits> {
        self.0.point("containerizer.limits", Before).await?;
        self.with(id, |container| Ok(container.limits))
    }
}

fn described(id: &ContainerId, container: &FakeContainer) -> CreatedContainer {
    CreatedContainer { init_pid: container.pid, path: PathBuf::from(format!("/world/{id}")) }
}

/// A descriptor that stands for a kernel object.
pub(crate) fn null() -> Result<OwnedFd> {
    File::open("/dev/null")
        .map(OwnedFd::from)
        .map_err(|error| Error::internal(format!("open /dev/null: {error}")))
}
