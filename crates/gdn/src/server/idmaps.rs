//! What the volumizer needs of the containerizer.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use containerizer::KernelContainerizer;
use gdn_types::{HostIds, Result};
use volumizer::IdMaps;

/// Id maps made by the containerizer's launcher.
pub(super) struct OfContainerizer(pub(super) Arc<KernelContainerizer>);

#[async_trait]
impl IdMaps for OfContainerizer {
    async fn user_namespace(&self, ids: HostIds) -> Result<OwnedFd> {
        self.0.user_namespace(Some(ids)).await
    }
}

impl fmt::Debug for OfContainerizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OfContainerizer")
    }
}
