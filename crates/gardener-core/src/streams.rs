//! Files in and out, as tars on the caller's descriptors.

use std::os::fd::OwnedFd;

use gdn_traits::{ContainerPlan, ContainerRecord, RunContext, SandboxSpec, StreamOut, VolumeRequest};
use gdn_types::{
    ApparmorProfile, CapabilityProfile, ContainerId, Error, Handle, Result, SeccompProfile, StreamInSpec,
    StreamOutSpec,
};

use crate::Gardener;
use crate::uid::UidGenerator;

impl Gardener {
    /// Extracts the tar that `source` delivers.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; `Lost`; what the containerizer answers.
    pub async fn stream_in(&self, handle: &Handle, spec: &StreamInSpec, source: OwnedFd) -> Result<()> {
        let (container, _hold) = self.hold_living(handle)?;
        let (context, _) = self.context(&container)?;
        let extract = self.components.containerizer.stream_in(&container.id, &context, spec, source);
        self.faults.caught("containerizer.stream_in", extract).await
    }

    /// Makes a tar of a file or directory, of a lost container too: its volume is mounted again for that.
    ///
    /// The countdown is paused until the returned `done` is awaited or dropped.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; what the components answer.
    pub async fn stream_out(&self, handle: &Handle, spec: &StreamOutSpec) -> Result<StreamOut> {
        let (container, hold) = self.hold(handle)?;
        container.must_stay()?;
        let (context, _) = self.context(&container)?;
        let StreamOut { tar, done } = if container.must_live().is_ok() {
            let pack = self.components.containerizer.stream_out(&container.id, &context, spec);
            self.faults.caught("containerizer.stream_out", pack).await?
        } else {
            self.stream_out_of_lost(&self.record(&container)?, &context, spec).await?
        };
        let done = Box::pin(async move {
            let _hold = hold;
            done.await
        });
        Ok(StreamOut { tar, done })
    }

    /// Shows the files of a lost container in one that lives as long as the copy, has no record, and is found and removed by
    /// the next start should the engine die meanwhile.
    async fn stream_out_of_lost(
        &self,
        record: &ContainerRecord,
        context: &RunContext,
        spec: &StreamOutSpec,
    ) -> Result<StreamOut> {
        let shown = UidGenerator::container();
        let opened = self.faults.caught("stream out of a lost container", self.show(&shown, record)).await;
        let packed = match opened {
            Ok(()) => {
                let pack = self.components.containerizer.stream_out(&shown, context, spec);
                self.faults.caught("containerizer.stream_out", pack).await
            }
            Err(error) => Err(error),
        };
        let containerizer = self.components.containerizer.clone();
        match packed {
            Ok(StreamOut { tar, done }) => {
                // To its end whether or not anybody waits for the outcome.
                let copy = tokio::spawn(async move {
                    let outcome = done.await;
                    let removed = containerizer.destroy(&shown).await;
                    outcome.and(removed)
                });
                let done = async move {
                    copy.await.unwrap_or_else(|error| {
                        Err(Error::internal(format!("the copy ended early: {error}")))
                    })
                };
                Ok(StreamOut { tar, done: Box::pin(done) })
            }
            Err(error) => {
                let removed = containerizer.destroy(&shown).await;
                let errors = std::iter::once(error).chain(removed.err()).collect();
                Err(Error::gathered("stream out of a lost container", errors)
                    .unwrap_or_else(|| Error::internal("stream out of a lost container")))
            }
        }
    }

    async fn show(&self, shown: &ContainerId, record: &ContainerRecord) -> Result<()> {
        let spec = &record.spec;
        let volume = VolumeRequest {
            image: spec.image.clone(),
            privileged: spec.privileged,
            ids: record.ids,
            limits: spec.limits.disk,
        };
        let volume = self.components.volumizer.mount(&record.id.into(), &volume).await?;
        let sandbox = SandboxSpec {
            id: *shown,
            hostname: record.handle.hostname().to_owned(),
            privileged: spec.privileged,
            ids: record.ids,
            limits: spec.limits,
        };
        self.components.containerizer.prepare(&sandbox).await?;
        let plan = ContainerPlan {
            rootfs: volume.rootfs,
            image_mounts: volume.mounts,
            places: volume.places,
            bind_mounts: Vec::new(),
            sysctls: Vec::new(),
            seccomp: SeccompProfile::Engine,
            capabilities: CapabilityProfile::Strict,
            apparmor: ApparmorProfile::Unconfined,
        };
        self.components.containerizer.create(shown, plan).await.map(drop)
    }
}
