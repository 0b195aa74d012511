//! Mounts on their way to the runtime: detached ones, which the keeper shows to it on a stage.

use std::os::fd::OwnedFd;

use gdn_traits::ImageMount;
use gdn_types::BindMount;
use serde_json::{Value, json};

/// Name of the root file system on the stage.
const ROOTFS: &str = "rootfs";
/// Name of init's program there.
const INIT: &str = "garden-init";

/// The mounts of one container or sidecar, the root file system first.
pub(super) struct Mounts {
    stage: String,
    /// The name of each on the stage.
    pub(super) names: Vec<String>,
    /// What the runtime is to do with them, the root file system left out.
    pub(super) entries: Vec<Value>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Mounts {
    /// A root file system, the image's mounts and the client's, in this order.
    pub(super) fn new(
        stage: &str,
        rootfs: OwnedFd,
        image: Vec<ImageMount>,
        (binds, detached): (&[BindMount], Vec<OwnedFd>),
    ) -> Self {
        let mut mounts = Mounts {
            stage: stage.to_owned(),
            names: vec![ROOTFS.to_owned()],
            entries: Vec::new(),
            descriptors: vec![rootfs],
        };
        for ImageMount { mount, target } in image {
            mounts.add(&target.display().to_string(), mount);
        }
        for (bind, mount) in binds.iter().zip(detached) {
            mounts.add(&bind.target.display().to_string(), mount);
        }
        mounts
    }

    fn add(&mut self, target: &str, mount: OwnedFd) {
        let name = self.entries.len().to_string();
        self.entries.push(self.bind(&name, target));
        self.names.push(name);
        self.descriptors.push(mount);
    }

    /// A bind mount of something on the stage. It keeps the attributes that were set when its source was made.
    pub(super) fn bind(&self, name: &str, target: &str) -> Value {
        let source = format!("{}/{name}", self.stage);
        json!({ "type": "bind", "source": source, "destination": target, "options": ["rbind"] })
    }

    /// The root file system, as the runtime sees it.
    pub(super) fn rootfs(&self) -> String {
        format!("{}/{ROOTFS}", self.stage)
    }

    /// Init's program, as the runtime sees it.
    pub(super) fn init(&self) -> String {
        format!("{}/{INIT}", self.stage)
    }
}
