//! The volumizer of the in-memory world. The image `missing:` does not exist; any other does.

use std::time::SystemTime;

use async_trait::async_trait;
use gdn_traits::{Volume, VolumeId, VolumeRequest, Volumizer};
use gdn_types::{ContainerId, DiskStat, Environment, Error, ErrorKind, ImageConfig, ProcessId, Result};

use super::Life;
use super::containerizer::null;
use crate::Point::{After, Before, Halfway};

pub(crate) struct FakeVolumizer(pub(crate) Life);

#[async_trait]
impl Volumizer for FakeVolumizer {
    async fn create(&self, id: &VolumeId, request: &VolumeRequest) -> Result<Volume> {
        self.0.point("volumizer.create", Before).await?;
        if request.image.uri == "missing:" {
            return Err(Error::new(ErrorKind::ImageNotFound, "image missing: does not exist"));
        }
        {
            let mut host = self.0.world.host();
            if id.sidecar.is_some() && !host.volumes.contains(&id.container.into()) {
                return Err(Error::new(ErrorKind::FailedPrecondition, "the container has no volume"));
            }
            host.volumes.insert(id.clone());
        }
        self.0.point("volumizer.create", Halfway).await?;
        self.0.point("volumizer.create", After).await?;
        volume()
    }

    async fn mount(&self, id: &VolumeId, _request: &VolumeRequest) -> Result<Volume> {
        self.0.point("volumizer.mount", Before).await?;
        if !self.0.world.host().volumes.contains(id) {
            return Err(Error::new(ErrorKind::Lost, format!("volume {id} does not exist")));
        }
        volume()
    }

    async fn destroy(&self, id: &VolumeId) -> Result<()> {
        self.0.point("volumizer.destroy", Before).await?;
        self.0.point("volumizer.destroy", Halfway).await?;
        let goes = |known: &VolumeId| match id.sidecar {
            None => known.container == id.container,
            Some(_) => known == id,
        };
        self.0.world.host().volumes.retain(|known| !goes(known));
        self.0.point("volumizer.destroy", After).await
    }

    async fn restore(&self, known: &[ContainerId]) -> Result<()> {
        self.0.point("volumizer.restore", Before).await?;
        self.0.point("volumizer.restore", Halfway).await?;
        self.0.world.host().volumes.retain(|id| known.contains(&id.container));
        self.0.point("volumizer.restore", After).await
    }

    async fn sidecars(&self, id: &ContainerId) -> Result<Vec<(ProcessId, SystemTime)>> {
        self.0.point("volumizer.sidecars", Before).await?;
        let host = self.0.world.host();
        let sidecars = host.volumes.iter().filter(|known| known.container == *id);
        Ok(sidecars.filter_map(|known| Some((known.sidecar.clone()?, SystemTime::now()))).collect())
    }

    async fn metrics(&self, id: &VolumeId) -> Result<DiskStat> {
        self.0.point("volumizer.metrics", Before).await?;
        let exists = self.0.world.host().volumes.contains(id);
        Ok(DiskStat { total_bytes: u64::from(exists) * 4096, ..DiskStat::default() })
    }

    async fn capacity(&self) -> Result<(u64, u64)> {
        self.0.point("volumizer.capacity", Before).await?;
        Ok((1 << 40, 1 << 39))
    }

    async fn collect_garbage(&self) -> Result<()> {
        self.0.point("volumizer.collect_garbage", Before).await
    }
}

fn volume() -> Result<Volume> {
    let config = ImageConfig {
        env: Environment::parse(["PATH=/bin"])?,
        user: "nobody".to_owned(),
        working_dir: "/srv".to_owned(),
        command: vec!["/bin/echo".to_owned(), "hello".to_owned()],
    };
    Ok(Volume { rootfs: null()?, mounts: Vec::new(), config, places: None })
}
