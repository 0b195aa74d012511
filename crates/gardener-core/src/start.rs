//! Start: adopt what the earlier run left, and go on with what it had begun to destroy.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gdn_traits::{ContainerRecord, Restored};
use gdn_types::{ContainerId, ContainerState, Error, EventKind, Properties, Result, keys};
use tokio::task::JoinHandle;

use crate::container::{Container, Phase, ProcessMark};
use crate::{AfterReboot, Gardener, StartReport, ports};

/// How long a start waits for the containers it was told to destroy: a client that asked for an empty engine should
/// find one, but a task stuck in the kernel must not keep the engine from serving.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a container of an earlier boot is lost.
const HOST_RESTARTED: &str = "host restarted";

impl Gardener {
    /// Restores the containers of the earlier run and begins to serve. After an error it can be called again.
    ///
    /// # Errors
    /// What a component's restore answers; the engine then goes on refusing calls.
    pub async fn start(self: &Arc<Self>) -> Result<StartReport> {
        let _alone = self.starting.lock().await;
        if self.started.load(Ordering::Acquire) {
            return Err(Error::new(
                gdn_types::ErrorKind::FailedPrecondition,
                "the engine has already started",
            ));
        }
        self.containers.clear();
        let report = Restorer { gardener: self }.restore().await?;
        self.keep_time();
        self.keep_fair();
        self.keep_events();
        self.started.store(true, Ordering::Release);
        Ok(report)
    }

    /// Starts the one task that destroys what no request has named for its grace time.
    fn keep_time(self: &Arc<Self>) {
        let (gardener, clock, stopping) =
            (Arc::downgrade(self), Arc::clone(&self.clock), self.stopping.clone());
        tokio::spawn(async move {
            while let Some((look, handle)) = stopping.run_until_cancelled(clock.due()).await {
                let Some(gardener) = gardener.upgrade() else { return };
                let Some(container) = gardener.containers.get(&handle) else { continue };
                if clock.expires(&container, look) {
                    tracing::info!(%handle, "grace time is over");
                    gardener.destroy_in_background(container);
                }
            }
        });
    }
}

/// Brings the containers of the earlier run back: the seed's `Restorer`.
struct Restorer<'a> {
    gardener: &'a Arc<Gardener>,
}

impl Restorer<'_> {
    async fn restore(&self) -> Result<StartReport> {
        let gardener = self.gardener;
        let records = gardener.components.properties.records();
        let (kept, doomed): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| record.state == ContainerState::Created && !gardener.config.destroy_on_start);
        self.write_intents(&doomed).await?;
        let kept: Vec<_> = kept.into_iter().map(|record| (self.load(&record), record)).collect();
        let restored = self.adopt(&kept).await?;

        let mut report = StartReport {
            quarantined: gardener.components.properties.quarantined(),
            ..StartReport::default()
        };
        let mut passes: Vec<JoinHandle<()>> = Vec::new();
        for ((container, record), restored) in kept.into_iter().zip(restored) {
            self.agree_on_ports(&container).await;
            self.revive(&container, &record, restored).await;
            let lost = container.status().lost.is_some();
            match (lost, gardener.config.after_reboot) {
                (false, _) => report.running += 1,
                (true, AfterReboot::Keep) => report.lost += 1,
                (true, AfterReboot::Destroy) => passes.push(self.destroy(&container, "it was lost")),
            }
        }
        for record in &doomed {
            passes.push(self.destroy(&self.load(record), "the earlier run left it unfinished"));
        }
        report.destroying = passes.len();
        if gardener.config.destroy_on_start {
            // What takes longer goes on behind.
            let _ = tokio::time::timeout(PATIENCE, futures::future::join_all(passes)).await;
        }
        Ok(report)
    }

    /// Notes for every committed container that is to go that it goes, before anything of it is touched.
    async fn write_intents(&self, doomed: &[ContainerRecord]) -> Result<()> {
        let properties = &self.gardener.components.properties;
        let committed = doomed.iter().filter(|record| record.state == ContainerState::Created);
        let marks = committed.map(|record| properties.mark(&record.handle, ContainerState::Destroying));
        let marks = futures::future::try_join_all(marks);
        self.gardener.faults.caught("properties.mark", marks).await.map(drop)
    }

    /// Puts a record's container into memory, hidden until it is revived or destroyed.
    fn load(&self, record: &ContainerRecord) -> Arc<Container> {
        let container =
            Arc::new(Container::new(record.id, record.handle.clone(), record.ids, Phase::Creating));
        let recorded = record.properties.get(keys::MAPPED_PORTS).and_then(ports::from_json);
        let mut status = container.status();
        status.stopped = record.stopped;
        status.recall_events(record.events.clone());
        status.countdown.grace_time = record.grace_time;
        status.mapped_ports = recorded.unwrap_or_else(|| record.network.mapped_ports.clone());
        drop(status);
        self.gardener.containers.insert(Arc::clone(&container));
        self.gardener.events.register(&container);
        container
    }

    /// Tells every component which containers are known, so that it adopts those and removes all else. Processes end
    /// first: they hold networks and mounts. A lost container is known too: its address and files are still its own.
    async fn adopt(&self, kept: &[(Arc<Container>, ContainerRecord)]) -> Result<Vec<Restored>> {
        let (faults, components) = (&self.gardener.faults, &self.gardener.components);
        let ids: Vec<ContainerId> = kept.iter().map(|(container, _)| container.id).collect();
        let networks: Vec<(ContainerId, Properties)> =
            kept.iter().map(|(_, record)| (record.id, record.properties.clone())).collect();
        let restored = faults.caught("containerizer.restore", components.containerizer.restore(&ids)).await?;
        if restored.len() != ids.len() {
            let (asked, told) = (ids.len(), restored.len());
            return Err(Error::internal(format!("containerizer restored {told} containers of {asked}")));
        }
        let (network, volume) = futures::join!(
            faults.caught("networker.restore", components.networker.restore(&networks)),
            faults.caught("volumizer.restore", components.volumizer.restore(&ids)),
        );
        network.and(volume)?;
        Ok(restored)
    }

    /// Shows a committed container again, running or lost, and starts its countdown afresh.
    async fn revive(&self, container: &Arc<Container>, record: &ContainerRecord, restored: Restored) {
        let gardener = self.gardener;
        let rebooted = record.boot_id != gardener.config.boot_id;
        {
            let mut status = container.status();
            status.phase = Phase::Created;
            match restored {
                _ if rebooted => status.lost = Some(HOST_RESTARTED.to_owned()),
                Restored::Lost(reason) => status.lost = Some(reason),
                // An event may have been quicker than the answer.
                Restored::Running(created) if status.lost.is_none() => status.created = Some(created),
                Restored::Running(_) => (),
            }
            gardener.clock.wind(&container.handle, &mut status);
            if let Some(reason) = status.lost.clone() {
                gardener.events.emit(container, EventKind::Lost(reason));
                return;
            }
        }
        self.list_processes(container).await;
        gardener.adopt_sidecars(container).await;
    }

    /// Tells of the ports that lead into a container: a kill may have come between the mapping of one and the note of it here.
    async fn agree_on_ports(&self, container: &Container) {
        let gardener = self.gardener;
        let Some(mapped) = gardener.components.networker.mapped_ports(&container.id) else { return };
        if mapped == container.status().mapped_ports {
            return;
        }
        let text = ports::to_json(&mapped);
        container.status().mapped_ports = mapped;
        let set = gardener.components.properties.set(&container.handle, keys::MAPPED_PORTS, &text);
        if let Err(error) = gardener.faults.caught("properties.set", set).await {
            // The next start finds the same.
            tracing::warn!(handle = %container.handle, error = error.report(), "mapped ports are not written down");
        }
    }

    /// Fills in the processes that run. Listed again when one ended meanwhile: the listing may be older than its exit.
    async fn list_processes(&self, container: &Container) {
        let (faults, containerizer) = (&self.gardener.faults, &self.gardener.components.containerizer);
        loop {
            let exits = container.status().exits;
            let listing =
                faults.caught("containerizer.processes", containerizer.processes(&container.id)).await;
            let processes = match listing {
                Ok(processes) => processes,
                Err(error) => {
                    tracing::warn!(handle = %container.handle, error = error.report(), "processes are not listed");
                    return;
                }
            };
            let mut status = container.status();
            if status.exits == exits {
                let running =
                    processes.into_iter().filter(|(_, state)| *state == gdn_types::ProcessState::Running);
                status.processes.extend(running.map(|(process, _)| (process, ProcessMark::Running)));
                return;
            }
        }
    }

    fn destroy(&self, container: &Arc<Container>, reason: &str) -> JoinHandle<()> {
        container.doom(reason);
        self.gardener.destroy_in_background(Arc::clone(container))
    }
}
