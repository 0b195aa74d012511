//! Sidecars: processes with an image of their own, whose volumes last as long as they run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use gdn_traits::{Attachment, RunContext, SidecarPlan, VolumeId, VolumeRequest};
use gdn_types::{
    ContainerMetrics, ContainerSpec, DiskLimits, Error, ErrorKind, Handle, ImageRef, ProcessId, ProcessSpec,
    ProcessState, Result,
};

use crate::container::Container;
use crate::processes::with_image_defaults;
use crate::uid::UidGenerator;
use crate::{Gardener, Hold, RunningProcess};

/// The running sidecars by name, for clients that ask for figures with nothing else. Names are unique within a container
/// only; of two, the one that started last answers.
#[derive(Default)]
pub(crate) struct Sidecars(Mutex<HashMap<ProcessId, Vec<Running>>>);

/// Where a sidecar runs, and since when.
#[derive(Clone)]
struct Running {
    container: Arc<Container>,
    since: SystemTime,
}

impl Sidecars {
    fn add(&self, process: ProcessId, running: Running) {
        self.known().entry(process).or_default().push(running);
    }

    fn find(&self, process: &ProcessId) -> Option<Running> {
        self.known().get(process)?.last().cloned()
    }

    fn forget(&self, process: &ProcessId, container: &Container) {
        let mut known = self.known();
        let Some(namesakes) = known.get_mut(process) else { return };
        namesakes.retain(|running| running.container.id != container.id);
        if namesakes.is_empty() {
            known.remove(process);
        }
    }

    /// The container is gone, and its sidecars with it.
    pub(crate) fn forget_all(&self, container: &Container) {
        self.known().retain(|_, namesakes| {
            namesakes.retain(|running| running.container.id != container.id);
            !namesakes.is_empty()
        });
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ProcessId, Vec<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gardener {
    /// Starts a process that has an image of its own.
    pub(crate) async fn run_sidecar(
        self: &Arc<Self>,
        container: Arc<Container>,
        hold: Hold,
        mut spec: ProcessSpec,
    ) -> Result<RunningProcess> {
        let id = spec.id.get_or_insert_with(UidGenerator::process).clone();
        let gardener = Arc::clone(self);
        let launch = async move {
            // First of all: the volume of a name that is taken is the other one's.
            container.reserve(&id)?;
            let volume = VolumeId::sidecar(container.id, id.clone());
            let launched = gardener.launch_sidecar(&container, &volume, spec).await;
            match &launched {
                Ok((process, _)) => gardener.clean_up_after(&container, process, SystemTime::now()),
                Err(_) => {
                    gardener.remove_volume(&volume).await;
                    container.release(&id);
                }
            }
            // An image can take minutes to come: what failed for want of a container is told as its end.
            launched.map_err(|error| container.must_live().err().unwrap_or(error))
        };
        let (id, attachment) = self.to_its_end("run", launch).await?;
        Ok(RunningProcess { id, attachment, hold })
    }

    async fn launch_sidecar(
        &self,
        container: &Container,
        volume: &VolumeId,
        spec: ProcessSpec,
    ) -> Result<(ProcessId, Attachment)> {
        let ContainerSpec { privileged, capabilities, .. } = self.record(container)?.spec;
        let image = spec.image.clone().unwrap_or_else(|| ImageRef::uri(String::new()));
        let request = VolumeRequest { image, privileged, ids: container.ids, limits: DiskLimits::default() };
        let made = self.components.volumizer.create(volume, &request);
        let made = self.faults.caught("volumizer.create", made).await?;
        container.must_live()?;
        let context =
            RunContext { env: made.config.env.clone(), privileged, ids: container.ids, capabilities };
        let spec = with_image_defaults(spec, &made.config)?;
        let plan = SidecarPlan { rootfs: made.rootfs, image_mounts: made.mounts, places: made.places };
        self.launch(container, &context, &spec, Some(plan)).await
    }

    /// Removes a sidecar's volume when it has ended: the seed's `PeaCleaner`.
    fn clean_up_after(self: &Arc<Self>, container: &Arc<Container>, process: &ProcessId, since: SystemTime) {
        self.sidecars.add(process.clone(), Running { container: Arc::clone(container), since });
        let (gardener, closing) = (Arc::downgrade(self), self.closing.clone());
        let containerizer = Arc::clone(&self.components.containerizer);
        let (container, process) = (Arc::clone(container), process.clone());
        tokio::spawn(async move {
            // However it ended, and if nobody knows: it runs no more.
            let ended = closing.run_until_cancelled(containerizer.wait(&container.id, &process)).await;
            let (Some(_), Some(gardener)) = (ended, gardener.upgrade()) else { return };
            gardener.sidecars.forget(&process, &container);
            gardener.remove_volume(&VolumeId::sidecar(container.id, process)).await;
        });
    }

    /// What cannot be removed now goes with the container.
    async fn remove_volume(&self, volume: &VolumeId) {
        let removal = self.components.volumizer.destroy(volume);
        if let Err(error) = self.faults.caught("volumizer.destroy", removal).await {
            tracing::warn!(%volume, error = error.report(), "the volume stays until its container is destroyed");
        }
    }

    /// Finds the sidecars of a container again after a restart, and removes what those that have ended left.
    pub(crate) async fn adopt_sidecars(self: &Arc<Self>, container: &Arc<Container>) {
        let components = &self.components;
        let volumes = components.volumizer.sidecars(&container.id);
        let volumes = match self.faults.caught("volumizer.sidecars", volumes).await {
            Ok(volumes) if volumes.is_empty() => return,
            Ok(volumes) => volumes,
            Err(error) => {
                tracing::warn!(handle = %container.handle, error = error.report(), "sidecars are not listed");
                return;
            }
        };
        let processes = components.containerizer.processes(&container.id);
        let processes = match self.faults.caught("containerizer.processes", processes).await {
            Ok(processes) => processes,
            Err(error) => {
                tracing::warn!(handle = %container.handle, error = error.report(), "sidecars are not adopted");
                return;
            }
        };
        for (process, since) in volumes {
            if processes.contains(&(process.clone(), ProcessState::Running)) {
                self.clean_up_after(container, &process, since);
            } else {
                self.remove_volume(&VolumeId::sidecar(container.id, process)).await;
            }
        }
    }

    /// The figures of the sidecar with this name; `error` if there is none.
    pub(crate) async fn measure_sidecar(&self, name: &Handle, error: Error) -> Result<ContainerMetrics> {
        if error.kind() != ErrorKind::ContainerNotFound {
            return Err(error);
        }
        let Ok(process) = ProcessId::parse(name.as_str()) else { return Err(error) };
        let Some(Running { container, since }) = self.sidecars.find(&process) else { return Err(error) };
        let components = &self.components;
        let volume = VolumeId::sidecar(container.id, process.clone());
        let (figures, disk) = futures::join!(
            self.faults.caught(
                "containerizer.sidecar_metrics",
                components.containerizer.sidecar_metrics(&container.id, &process)
            ),
            self.faults.caught("volumizer.metrics", components.volumizer.metrics(&volume)),
        );
        let age = SystemTime::now().duration_since(since).unwrap_or_default();
        Ok(ContainerMetrics { disk: disk?, age, ..figures? })
    }
}
