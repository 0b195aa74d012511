//! Create: claim and build, commit; anything else is unwound by the ordinary destroy.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::maybe_done;
use gdn_traits::{
    ContainerPlan, ContainerRecord, CreatedContainer, NetworkInfo, NetworkRequest, Sandbox, SandboxSpec,
    Volume, VolumeId, VolumeRequest,
};
use gdn_types::{
    ApparmorProfile, ContainerSpec, ContainerState, Error, ErrorKind, EventKind, Handle, Properties, Result,
    SeccompProfile, keys,
};
use tokio_util::sync::CancellationToken;

use crate::Gardener;
use crate::container::{Container, Phase};
use crate::ports;
use crate::uid::UidGenerator;

impl Gardener {
    /// Creates a container and answers its handle once it is durable and complete.
    ///
    /// Dropping the future before that leaves nothing behind: the steps under way come to their end, and then the
    /// ordinary destroy runs in the background.
    ///
    /// # Errors
    /// In this order: `PermissionDenied` for a privileged container where they are switched off, `AlreadyExists` for a
    /// handle in use, `ResourceExhausted` for too many containers or no free
    /// host ids; then what a component answers.
    pub async fn create(self: &Arc<Self>, spec: ContainerSpec) -> Result<Handle> {
        let call = self.timings.create.begin();
        let _working = self.work.token();
        self.open()?;
        self.permit(&spec)?;
        let handle = spec.handle.clone().unwrap_or_else(UidGenerator::handle);
        let most = self.config.max_containers;
        let pool = self.config.id_pool.as_ref().filter(|_| !spec.privileged);
        let container = self.containers.reserve(UidGenerator::container(), handle, most, pool)?;
        self.events.register(&container);

        let cancelled = CancellationToken::new();
        let abandoned = cancelled.clone().drop_guard();
        let gardener = Arc::clone(self);
        let task = async move { Creation { gardener, container, spec, cancelled }.carry_out().await };
        let outcome = self.to_its_end("create", task).await;
        abandoned.disarm();
        call.with(outcome)
    }

    fn permit(&self, spec: &ContainerSpec) -> Result<()> {
        if spec.privileged && !self.config.allow_privileged {
            return Err(Error::new(ErrorKind::PermissionDenied, "privileged container creation is disabled"));
        }
        if spec.seccomp != SeccompProfile::Engine && !self.config.allow_privileged {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "system calls beyond the engine's profile are disabled with privileged containers",
            ));
        }
        if spec.apparmor == ApparmorProfile::Unconfined && !self.config.allow_privileged {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "containers without the engine's AppArmor profile are disabled with privileged containers",
            ));
        }
        Ok(())
    }
}

/// One create under way.
struct Creation {
    gardener: Arc<Gardener>,
    container: Arc<Container>,
    spec: ContainerSpec,
    /// The client has gone away.
    cancelled: CancellationToken,
}

impl Creation {
    async fn carry_out(mut self) -> Result<Handle> {
        if self.spec.image.uri.is_empty() {
            self.spec.image.uri.clone_from(&self.gardener.config.default_image);
        }
        let record = self.intent();
        let mut claim = pin!(maybe_done(self.claim(&record)));
        // What the store's memory can refuse is refused here, before anything is made that would have to be unwound.
        let _ = futures::poll!(claim.as_mut());
        if claim.as_mut().output_mut().is_some_and(|claimed| claimed.is_err())
            && let Some(Err(error)) = claim.as_mut().take_output()
        {
            self.forget(&error).await;
            return Err(error);
        }
        let claimed = async {
            claim.as_mut().await;
            claim.as_mut().take_output().unwrap_or(Ok(()))
        };
        // Caught as a whole too: whatever happens from here on, the destroy must run.
        let built = self.gardener.faults.caught("create", self.build(record.clone(), claimed)).await;
        match built {
            Ok(created) => {
                self.publish(created);
                Ok(self.container.handle.clone())
            }
            Err(error) => {
                self.unwind(&error).await;
                Err(error)
            }
        }
    }

    /// What the claim writes down.
    fn intent(&self) -> ContainerRecord {
        let mut spec = self.spec.clone();
        spec.image.password.clear();
        spec.handle = Some(self.container.handle.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ContainerRecord {
            id: self.container.id,
            handle: self.container.handle.clone(),
            state: ContainerState::Claimed,
            stopped: false,
            properties: spec.properties.clone(),
            grace_time: spec.grace_time.unwrap_or(self.gardener.config.default_grace_time),
            boot_id: self.gardener.config.boot_id.clone(),
            created_at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            image: gdn_types::ImageConfig::default(),
            network: NetworkInfo::default(),
            ids: self.container.ids,
            events: Vec::new(),
            spec,
        }
    }

    /// Takes the handle durably. A record can be there although the claim failed; it then goes the ordinary way.
    async fn claim(&self, record: &ContainerRecord) -> Result<()> {
        let gardener = &self.gardener;
        let claim = gardener.components.properties.claim(record.clone(), gardener.config.max_containers);
        let claimed = gardener.faults.caught("properties.claim", claim).await;
        self.container.status().refused = claimed.is_err() && !gardener.is_recorded(&self.container);
        claimed
    }

    /// Takes a create back whose claim failed before anything was made.
    async fn forget(&self, error: &Error) {
        if self.container.status().refused {
            self.gardener.events.unregister(&self.container.id);
            self.gardener.containers.remove(&self.container);
        } else {
            self.unwind(error).await;
        }
    }

    /// Everything up to the acknowledgement. The claim's way to the disk takes about as long as the first parts, and they
    /// need nothing of it: what they make carries the container's id, and is found and removed by a start that has no
    /// record of it (docs/adr/0004). Nothing more is made before the claim is durable.
    async fn build(
        &self,
        record: ContainerRecord,
        claimed: impl Future<Output = Result<()>>,
    ) -> Result<CreatedContainer> {
        let (claimed, gathered) = futures::join!(claimed, self.gather());
        claimed?;
        let (volume, network, sandbox) = gathered?;
        self.go_on()?;
        let network = self.attach(&sandbox).await?.unwrap_or(network);
        self.go_on()?;
        let Volume { rootfs, mounts, config, places } = volume;
        let mut bind_mounts = self.spec.bind_mounts.clone();
        bind_mounts.extend(network.bind_mounts.iter().cloned());
        let plan = ContainerPlan {
            rootfs,
            image_mounts: mounts,
            places,
            bind_mounts,
            sysctls: self.sysctls(),
            seccomp: self.spec.seccomp.clone(),
            capabilities: self.spec.capabilities,
            apparmor: self.spec.apparmor.clone(),
        };
        let created = self.complete(plan).await?;
        self.go_on()?;
        self.container.status().mapped_ports.clone_from(&network.mapped_ports);
        let properties = final_properties(&record.properties, &network, record.grace_time)?;
        let record =
            ContainerRecord { state: ContainerState::Created, properties, image: config, network, ..record };
        let commit = self.gardener.components.properties.commit(record);
        self.gardener.faults.caught("properties.commit", commit).await?;
        Ok(created)
    }

    /// The three parts that need nothing of each other, each to its end: one that failed must not leave another behind
    /// half done, going on behind the unwind.
    async fn gather(&self) -> Result<(Volume, NetworkInfo, Sandbox)> {
        let (id, spec) = (&self.container.id, &self.spec);
        let faults = &self.gardener.faults;
        let components = &self.gardener.components;
        let volume = VolumeRequest {
            image: spec.image.clone(),
            privileged: spec.privileged,
            ids: self.container.ids,
            limits: spec.limits.disk,
        };
        let network = NetworkRequest {
            handle: self.container.handle.clone(),
            privileged: spec.privileged,
            ids: self.container.ids,
            mode: spec.network.clone(),
            netin: spec.netin.clone(),
            netout: spec.netout.clone(),
            egress: spec.egress,
            bandwidth: spec.limits.bandwidth,
            properties: spec.properties.clone(),
        };
        let sandbox = SandboxSpec {
            id: *id,
            hostname: self.container.handle.hostname().to_owned(),
            privileged: spec.privileged,
            ids: self.container.ids,
            limits: spec.limits,
        };
        let volume_id = VolumeId::from(*id);
        let (volume, network, sandbox) = futures::join!(
            faults.caught("volumizer.create", components.volumizer.create(&volume_id, &volume)),
            faults.caught("networker.reserve", components.networker.reserve(id, &network)),
            faults.caught("containerizer.prepare", components.containerizer.prepare(&sandbox)),
        );
        Ok((volume?, network?, sandbox?))
    }

    async fn attach(&self, sandbox: &Sandbox) -> Result<Option<NetworkInfo>> {
        let attach = self.gardener.components.networker.attach(&self.container.id, sandbox);
        self.gardener.faults.caught("networker.attach", attach).await
    }

    async fn complete(&self, plan: ContainerPlan) -> Result<CreatedContainer> {
        let create = self.gardener.components.containerizer.create(&self.container.id, plan);
        self.gardener.faults.caught("containerizer.create", create).await
    }

    /// Between two steps: whether the next one still makes sense.
    /// The operator's settings, then the client's: of two for one name the later is in force.
    fn sysctls(&self) -> Vec<(String, String)> {
        self.gardener.config.default_sysctls.iter().chain(&self.spec.sysctls).cloned().collect()
    }

    fn go_on(&self) -> Result<()> {
        let handle = &self.container.handle;
        if self.cancelled.is_cancelled() {
            return Err(Error::new(
                ErrorKind::Cancelled,
                format!("create of {handle} was abandoned by its client"),
            ));
        }
        if let Some(reason) = &self.container.status().lost {
            return Err(Error::internal(format!("container {handle} ended while it was created: {reason}")));
        }
        Ok(())
    }

    /// Shows the container to clients and starts its countdown.
    fn publish(&self, created: CreatedContainer) {
        let mut status = self.container.status();
        status.phase = Phase::Created;
        status.countdown.grace_time = self.spec.grace_time.unwrap_or(self.gardener.config.default_grace_time);
        let lost = status.lost.clone();
        if lost.is_none() {
            status.created = Some(created);
        }
        self.gardener.clock.wind(&self.container.handle, &mut status);
        self.gardener.events.emit(&self.container, EventKind::Created);
        if let Some(reason) = lost {
            self.gardener.events.emit(&self.container, EventKind::Lost(reason));
        }
    }

    async fn unwind(&self, error: &Error) {
        self.container.doom(&format!("its create failed: {}", error.report()));
        // What could not be removed is on its way through the reclaim queue; the client learns the first error.
        let _ = self.gardener.destroy_pass(&self.container).await;
    }
}

/// The client's properties with the engine's own laid over them.
fn final_properties(client: &Properties, network: &NetworkInfo, grace_time: Duration) -> Result<Properties> {
    let mut properties = client.clone();
    // After a restart it would be believed.
    properties.remove(keys::MAPPED_PORTS);
    for (key, value) in network.properties.iter() {
        properties.set(key, value)?;
    }
    if !network.mapped_ports.is_empty() {
        properties.set(keys::MAPPED_PORTS, ports::to_json(&network.mapped_ports))?;
    }
    if !grace_time.is_zero() {
        properties.set(keys::GRACE_TIME, grace_time.as_nanos().to_string())?;
    }
    properties.set(keys::STATE, "created")?;
    Ok(properties)
}
