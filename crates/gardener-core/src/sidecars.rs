//! Sidecars: processes with an image of their own, whose volumes last as long as they run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use gdn_traits::{Attachment, RunContext, SidecarPlan, VolumeId, VolumeRequest};
use gdn_types::{
    ContainerMetrics, ContainerSpec, DiskLimits, Error, ErrorKind, Handle, ImageRef, ProcessId, ProcessSpec,
    ProcessState, Result,
};

use tokio_util::sync::CancellationToken;

use crate::container::Container;
use crate::processes::with_image_defaults;
use crate::uid::UidGenerator;
use crate::{Gardener, Hold, RunningProcess};

/// The running sidecars by name, for clients that ask for figures with nothing else. Names are unique within a container
/// only; of two, the one that started last answers.
#[derive(Default)]
pub(crate) struct Sidecars(Mutex<HashMap<ProcessId, Vec<Running>>>);

/// Where a sidecar runs, and since when.
struct Running {
    container: Arc<Container>,
    since: SystemTime,
    /// Set when it has ended: it has no figures any more.
    ended: bool,
    /// Told when its volume is gone and its name is free, or that failed.
    cleaned: CancellationToken,
}

impl Sidecars {
    fn add(&self, process: ProcessId, running: Running) {
        self.known().entry(process).or_default().push(running);
    }

    fn find(&self, process: &ProcessId) -> Option<(Arc<Container>, SystemTime)> {
        let known = self.known();
        let running = known.get(process)?.iter().rfind(|running| !running.ended)?;
        Some((Arc::clone(&running.container), running.since))
    }

    /// How one of this name in this container is cleaned up after, until that is done.
    fn clean_up_of(&self, process: &ProcessId, container: &Container) -> Option<CancellationToken> {
        let known = self.known();
        let running = known.get(process)?.iter().find(|running| running.container.id == container.id)?;
        Some(running.cleaned.clone())
    }

    fn end(&self, process: &ProcessId, container: &Container) {
        let mut known = self.known();
        let namesakes = known.get_mut(process).into_iter().flatten();
        namesakes
            .filter(|running| running.container.id == container.id)
            .for_each(|running| running.ended = true);
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
            // One that had the name and has ended still has its volume for a moment.
            if let Some(cleaned) = gardener.sidecars.clean_up_of(&id, &container) {
                cleaned.cancelled().await;
            }
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

    /// Removes a sidecar's volume when it has ended, and lets its name be taken again: the seed's `PeaCleaner`.
    fn clean_up_after(self: &Arc<Self>, container: &Arc<Container>, process: &ProcessId, since: SystemTime) {
        let cleaned = CancellationToken::new();
        let running =
            Running { container: Arc::clone(container), since, ended: false, cleaned: cleaned.clone() };
        self.sidecars.add(process.clone(), running);
        let (gardener, closing) = (Arc::downgrade(self), self.closing.clone());
        let containerizer = Arc::clone(&self.components.containerizer);
        let (container, process) = (Arc::clone(container), process.clone());
        tokio::spawn(async move {
            // Whatever comes of it, nobody waits for ever.
            let _told = cleaned.drop_guard();
            // However it ended, and if nobody knows: it runs no more.
            let ended = closing.run_until_cancelled(containerizer.wait(&container.id, &process)).await;
            let (Some(_), Some(gardener)) = (ended, gardener.upgrade()) else { return };
            gardener.sidecars.end(&process, &container);
            gardener.clear_away(&container, &process).await;
            gardener.sidecars.forget(&process, &container);
        });
    }

    /// Removes what a sidecar that has ended leaves, and lets its name be taken again.
    async fn clear_away(&self, container: &Container, process: &ProcessId) {
        if self.remove_volume(&VolumeId::sidecar(container.id, process.clone())).await {
            self.release_name(container, process).await;
        }
    }

    /// Removes a volume; whether it is gone. What cannot be removed now goes with the container.
    async fn remove_volume(&self, volume: &VolumeId) -> bool {
        let removal = self.components.volumizer.destroy(volume);
        let removed = self.faults.caught("volumizer.destroy", removal).await;
        if let Err(error) = &removed {
            tracing::warn!(%volume, error = error.report(), "the volume stays until its container is destroyed");
        }
        removed.is_ok()
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
                self.clear_away(container, &process).await;
            }
        }
    }

    /// The figures of the sidecar with this name; `error` if there is none.
    pub(crate) async fn measure_sidecar(&self, name: &Handle, error: Error) -> Result<ContainerMetrics> {
        if error.kind() != ErrorKind::ContainerNotFound {
            return Err(error);
        }
        let Ok(process) = ProcessId::parse(name.as_str()) else { return Err(error) };
        let Some((container, since)) = self.sidecars.find(&process) else { return Err(error) };
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
