//! Files in and out, as tars on the caller's descriptors.

use std::os::fd::OwnedFd;

use gdn_traits::{ProcessOrigin, StreamOut};
use gdn_types::{Handle, Result, StreamInSpec, StreamOutSpec};

use crate::Gardener;

impl Gardener {
    /// Extracts the tar that `source` delivers.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; `Lost`; what the containerizer answers.
    pub async fn stream_in(&self, handle: &Handle, spec: &StreamInSpec, source: OwnedFd) -> Result<()> {
        let (container, _hold) = self.hold_living(handle)?;
        let (context, _) = self.context(&container, ProcessOrigin::default())?;
        let extract = self.components.containerizer.stream_in(&container.id, &context, spec, source);
        self.faults.caught("containerizer.stream_in", extract).await
    }

    /// Makes a tar of a file or directory. A lost container is asked too: the containerizer answers what it still can.
    ///
    /// The countdown is paused until the returned `done` is awaited or dropped.
    ///
    /// # Errors
    /// `ContainerNotFound`; `BeingDestroyed`; what the containerizer answers.
    pub async fn stream_out(&self, handle: &Handle, spec: &StreamOutSpec) -> Result<StreamOut> {
        let (container, hold) = self.hold(handle)?;
        container.must_stay()?;
        let (context, _) = self.context(&container, ProcessOrigin::default())?;
        let pack = self.components.containerizer.stream_out(&container.id, &context, spec);
        let StreamOut { tar, done } = self.faults.caught("containerizer.stream_out", pack).await?;
        let done = Box::pin(async move {
            let _hold = hold;
            done.await
        });
        Ok(StreamOut { tar, done })
    }
}
