//! List, info and metrics, one by one and in bulk.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use gdn_traits::{ContainerRecord, VolumeId};
use gdn_types::{
    ContainerInfo, ContainerMetrics, Error, Handle, LimitChange, Limits, Properties, PropertyFilter, Result,
    keys,
};

use crate::Gardener;
use crate::container::{Container, Phase};

/// How many containers of one bulk call are asked at the same time: enough to fill two cores, few enough that a bulk call
/// over a thousand containers does not hold a thousand descriptors.
pub(crate) const BULK_WIDTH: usize = 32;

impl Gardener {
    /// The handles whose containers match, in order. Without `garden.state=all` only acknowledged ones that are not being
    /// destroyed. Answered from memory; pauses no countdown.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn list(&self, filter: &PropertyFilter) -> Result<Vec<Handle>> {
        self.open()?;
        let everything =
            *filter == PropertyFilter::new([(keys::STATE, "all")]) || *filter == PropertyFilter::default();
        let listed = |container: &Container| match container.status().phase {
            Phase::Creating => false,
            Phase::Created => true,
            Phase::Destroying { .. } => filter.all_states(),
        };
        let matches = |container: &Container| {
            everything
                || self.record(container).is_ok_and(|record| filter.matches(&visible_properties(record)))
        };
        let containers = self.containers.all();
        let shown = containers.iter().filter(|container| listed(container) && matches(container));
        Ok(shown.map(|container| container.handle.clone()).collect())
    }

    /// One container, from memory.
    ///
    /// # Errors
    /// `ContainerNotFound`.
    pub async fn info(&self, handle: &Handle) -> Result<ContainerInfo> {
        let (container, _hold) = self.hold(handle)?;
        self.describe(&container)
    }

    /// Many containers, from memory; each answer has its own error. Pauses no countdown.
    pub async fn bulk_info(&self, handles: &[Handle]) -> Vec<(Handle, Result<ContainerInfo>)> {
        let describe = |handle: &Handle| self.describe(self.find(handle)?.as_ref());
        handles.iter().map(|handle| (handle.clone(), describe(handle))).collect()
    }

    /// The figures of one container, or of the sidecar with this process id.
    ///
    /// # Errors
    /// `ContainerNotFound`; `Lost`; what a component answers.
    pub async fn metrics(&self, handle: &Handle) -> Result<ContainerMetrics> {
        match self.hold(handle) {
            Ok((container, _hold)) => self.measure(&container).await,
            Err(error) => self.measure_sidecar(handle, error).await,
        }
    }

    /// The figures of many containers or sidecars, asked side by side; each answer has its own error. Pauses no countdown.
    pub async fn bulk_metrics(&self, handles: &[Handle]) -> Vec<(Handle, Result<ContainerMetrics>)> {
        bulk(handles, |handle| async move {
            match self.find(&handle) {
                Ok(container) => self.measure(&container).await,
                Err(error) => self.measure_sidecar(&handle, error).await,
            }
        })
        .await
    }

    /// The limits as the kernel has them.
    ///
    /// # Errors
    /// `ContainerNotFound`; `Lost`; what the containerizer and the networker answer.
    pub async fn limits(&self, handle: &Handle) -> Result<Limits> {
        let (container, _hold) = self.hold_living(handle)?;
        let (id, faults, components) = (&container.id, &self.faults, &self.components);
        let (limits, bandwidth) = futures::join!(
            faults.caught("containerizer.limits", components.containerizer.limits(id)),
            faults.caught("networker.bandwidth", components.networker.bandwidth(id)),
        );
        Ok(Limits { bandwidth: bandwidth?, ..limits? })
    }

    /// Changes limits of a container in use, and tells all of them as the kernel has them then.
    ///
    /// # Errors
    /// `ContainerNotFound`; `Lost`; what the containerizer and the networker answer. Nothing is changed then.
    pub async fn change_limits(self: &Arc<Self>, handle: &Handle, change: LimitChange) -> Result<Limits> {
        let (container, _hold) = self.hold_living(handle)?;
        let gardener = Arc::clone(self);
        let changed = async move {
            let _alone = container.limits.lock().await;
            let before = gardener.limit_network(&container, change.bandwidth).await?;
            let containerizer = &gardener.components.containerizer;
            let in_force = match containerizer.change_limits(&container.id, &change).await {
                Ok(in_force) => in_force,
                Err(error) => {
                    gardener.limit_network_again(&container, before).await;
                    return Err(error);
                }
            };
            let bandwidth = gardener.components.networker.bandwidth(&container.id).await?;
            let in_force = Limits { bandwidth, ..in_force };
            let asked = gardener.record(&container)?.spec.limits.changed(&change);
            gardener.components.properties.set_limits(&container.handle, asked).await?;
            Ok(in_force)
        };
        self.to_its_end("containerizer.change_limits", changed).await
    }

    /// The container's record.
    pub(crate) fn record(&self, container: &Container) -> Result<ContainerRecord> {
        self.components
            .properties
            .record(&container.handle)
            .filter(|record| record.id == container.id)
            .ok_or_else(|| Error::container_not_found(&container.handle))
    }

    fn describe(&self, container: &Container) -> Result<ContainerInfo> {
        let record = self.record(container)?;
        let status = container.status();
        let created = status.created.as_ref();
        Ok(ContainerInfo {
            state: status.life(),
            reason: status.why(),
            events: status.events(),
            host_ip: record.network.host_ip.clone(),
            container_ip: record.network.container_ip.clone(),
            container_ipv6: record.network.container_ipv6.clone(),
            external_ip: record.network.external_ip.clone(),
            container_path: created.map(|created| created.path.display().to_string()).unwrap_or_default(),
            process_ids: status.running(),
            mapped_ports: status.mapped_ports.clone(),
            image_command: record.image.command.clone(),
            init_pid: created.map_or(0, |created| created.init_pid),
            created_at_ms: record.created_at_ms,
            host_ids: record.ids,
            properties: visible_properties(record),
        })
    }

    async fn measure(&self, container: &Container) -> Result<ContainerMetrics> {
        container.must_live()?;
        let (id, faults, components) = (&container.id, &self.faults, &self.components);
        let volume = VolumeId::from(*id);
        let (figures, network, disk) = futures::join!(
            faults.caught("containerizer.metrics", components.containerizer.metrics(id)),
            faults.caught("networker.metrics", components.networker.metrics(id)),
            faults.caught("volumizer.metrics", components.volumizer.metrics(&volume)),
        );
        let record = self.record(container)?;
        let age = age(&record);
        let cpu_entitlement = self.config.cpu_entitlement.of(&record.spec.limits.cpu, age);
        let told = record.properties.get(keys::NETWORK_HEALTHCHECK) != Some("true");
        let network = network?.filter(|_| told);
        Ok(ContainerMetrics { network, disk: disk?, age, cpu_entitlement, ..figures? })
    }
}

/// How long ago it was made. A clock that was set back makes nobody younger than new.
pub(crate) fn age(record: &ContainerRecord) -> Duration {
    let created = UNIX_EPOCH + Duration::from_millis(record.created_at_ms);
    SystemTime::now().duration_since(created).unwrap_or_default()
}

/// The properties as clients see them: the grace time is the one in force, whoever changed it last.
pub(crate) fn visible_properties(record: ContainerRecord) -> Properties {
    let mut properties = record.properties;
    if record.grace_time.is_zero() {
        properties.remove(keys::GRACE_TIME);
    } else {
        // Fails only for a client that itself set as many properties as there may be; its own come first.
        let _ = properties.set(keys::GRACE_TIME, record.grace_time.as_nanos().to_string());
    }
    properties
}

async fn bulk<T, F: Future<Output = Result<T>>>(
    handles: &[Handle],
    ask: impl Fn(Handle) -> F,
) -> Vec<(Handle, Result<T>)> {
    let asked = futures::stream::iter(handles.iter().cloned()).map(|handle| {
        let answer = ask(handle.clone());
        async move { (handle, answer.await) }
    });
    asked.buffered(BULK_WIDTH).collect().await
}
