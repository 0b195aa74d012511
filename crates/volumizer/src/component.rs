//! The engine's view: one call after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use gdn_image_store::{BuiltinImage, Image, ImageSource, ImageStore, Limits, RunConfig};
use gdn_mounts::Detached;
use gdn_readers::Readers;
use gdn_traits::{Volume, VolumeId, VolumeRequest, Volumizer};
use gdn_types::{
    ContainerId, DiskStat, EngineId, Environment, Error, ErrorKind, HostIds, ImageConfig, ProcessId, Result,
};

use crate::Rootfs;
use crate::errors::{file_error, image_error, mount_error};
use crate::janitor::Janitor;
use crate::mounting::{Lowers, MAX_LAYERS, Shown};
use crate::volumes::{Volumes, open_raw};

/// Makes the id maps of containers that have host ids of their own.
#[async_trait]
pub trait IdMaps: fmt::Debug + Send + Sync + 'static {
    /// A user namespace that maps into these ids.
    ///
    /// # Errors
    /// `ResourceExhausted` when the kernel has no more namespaces.
    async fn user_namespace(&self, ids: HostIds) -> Result<OwnedFd>;
}

/// What an [`ImageVolumizer`] needs.
#[derive(Debug)]
pub struct VolumizerConfig {
    /// Directory below which `images`, `volumes` and `trash` are made. One engine at a time.
    pub root: PathBuf,
    /// The engine, for log lines.
    pub engine: EngineId,
    /// The user namespace whose id map unprivileged containers have.
    pub idmap: OwnedFd,
    /// The host's id of an unprivileged container's root.
    pub container_root_uid: u32,
    /// The host's id of an unprivileged container's root group.
    pub container_root_gid: u32,
    /// Makes those of containers that have host ids of their own.
    pub own_idmaps: Arc<dyn IdMaps>,
    /// Images that come with the program.
    pub builtin: Vec<BuiltinImage>,
}

/// Volumes that are measured at the same time at most: as many with very many files can be asked for before one without
/// waits for them.
const MEASURED_AT_ONCE: usize = 8;

/// The volumizer over a local image store and overlayfs.
#[derive(Debug)]
pub struct ImageVolumizer {
    shared: Arc<Shared>,
    own_idmaps: Arc<dyn IdMaps>,
    readers: Readers,
}

/// What calls share; each works on a blocking thread.
#[derive(Debug)]
struct Shared {
    store: ImageStore,
    volumes: Arc<Volumes>,
    lowers: Lowers,
    janitor: Janitor,
    container_root: (u32, u32),
    /// Names of the images that come with the program.
    builtin: Vec<String>,
    /// Images in use: what is in here is not collected.
    used: Mutex<BTreeMap<VolumeId, Arc<Image>>>,
}

impl ImageVolumizer {
    /// Opens the store and the volumes, and begins to remove what an earlier life left behind.
    ///
    /// # Errors
    /// `Internal` or `ResourceExhausted` when a directory cannot be made or read.
    pub fn open(config: VolumizerConfig) -> Result<Self> {
        let volumes = Arc::new(Volumes::open(&config.root)?);
        let builtin = config.builtin.iter().map(|image| image.name.to_string()).collect();
        let store = ImageStore::open(&config.root.join("images"), config.builtin, Limits::default())
            .map_err(|error| {
                Error::caused(ErrorKind::Internal, format!("open the image store: {error}"), error)
            })?;
        let janitor = Janitor::start(Arc::clone(&volumes))?;
        janitor.wake();
        tracing::debug!(engine = %config.engine, root = %config.root.display(), "opened the volumes");
        let shared = Shared {
            store,
            volumes,
            lowers: Lowers::new(config.idmap),
            janitor,
            container_root: (config.container_root_uid, config.container_root_gid),
            builtin,
            used: Mutex::default(),
        };
        let readers = Readers::new(MEASURED_AT_ONCE);
        Ok(ImageVolumizer { shared: Arc::new(shared), own_idmaps: config.own_idmaps, readers })
    }

    /// Waits until the files of all destroyed containers are deleted; to be called when the engine stops.
    ///
    /// # Errors
    /// `Internal` when the work panicked.
    pub async fn close(&self) -> Result<()> {
        self.blocking(|shared| {
            shared.janitor.close();
            Ok(())
        })
        .await
    }

    /// Whose the files of a volume are to be.
    async fn shown(&self, request: &VolumeRequest) -> Result<Shown> {
        match (request.privileged, request.ids) {
            (true, _) => Ok(Shown::AsStored),
            (false, None) => Ok(Shown::Shared),
            (false, Some(ids)) => Ok(Shown::Own(ids, self.own_idmaps.user_namespace(ids).await?)),
        }
    }

    /// Runs blocking work on a thread for it. A dropped future lets the work go on to its end.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(result) => result,
            Err(error) => Err(Error::caused(ErrorKind::Internal, "the volumizer's work panicked", error)),
        }
    }
}

#[async_trait]
impl Volumizer for ImageVolumizer {
    async fn create(&self, id: &VolumeId, request: &VolumeRequest) -> Result<Volume> {
        let (id, request, shown) = (id.clone(), request.clone(), self.shown(request).await?);
        self.blocking(move |shared| shared.make(&id, &request, None, &shown)).await
    }

    async fn mount(&self, id: &VolumeId, request: &VolumeRequest) -> Result<Volume> {
        let (id, request, shown) = (id.clone(), request.clone(), self.shown(request).await?);
        self.blocking(move |shared| {
            if !shared.volumes.exists(&id)? {
                return Err(Error::new(ErrorKind::Lost, format!("volume {id} is not there any more")));
            }
            let image = shared.volumes.image(&id).and_then(|image| shared.store.image(&image));
            shared.make(&id, &request, image, &shown)
        })
        .await
    }

    async fn destroy(&self, id: &VolumeId) -> Result<()> {
        let id = id.clone();
        self.blocking(move |shared| shared.destroy(&id)).await
    }

    async fn restore(&self, known: &[ContainerId]) -> Result<()> {
        let known = known.to_vec();
        self.blocking(move |shared| shared.restore(&known)).await
    }

    async fn sidecars(&self, id: &ContainerId) -> Result<Vec<(ProcessId, SystemTime)>> {
        let id = *id;
        self.blocking(move |shared| shared.volumes.sidecars(&id)).await
    }

    async fn metrics(&self, id: &VolumeId) -> Result<DiskStat> {
        let (id, shared) = (id.clone(), Arc::clone(&self.shared));
        let read = self.readers.read(move || shared.metrics(&id)).await;
        read.map_err(|error| Error::caused(ErrorKind::Internal, "measure a volume", error))?
    }

    async fn capacity(&self) -> Result<(u64, u64)> {
        let size = self.shared.volumes.capacity()?;
        Ok((size, size))
    }

    async fn collect_garbage(&self) -> Result<()> {
        self.blocking(|shared| {
            // Images in use stay; those that come with the program are always about to be used.
            let kept =
                shared.builtin.iter().map(|name| shared.store.ensure(&ImageSource::Builtin(name.clone())));
            let _kept: Vec<Arc<Image>> =
                kept.collect::<Result<_, _>>().map_err(|error| image_error("built in", error))?;
            shared.lowers.clear();
            let collected = shared.store.collect().map_err(|error| image_error("collect", error))?;
            tracing::debug!(images = collected.images, layers = collected.layers, "collected garbage");
            Ok(())
        })
        .await
    }
}

impl Shared {
    /// Makes and mounts a volume; of `image` when it is known already.
    fn make(
        &self,
        id: &VolumeId,
        request: &VolumeRequest,
        image: Option<Arc<Image>>,
        shown: &Shown,
    ) -> Result<Volume> {
        refuse_limits(request)?;
        match Rootfs::parse(&request.image.uri)? {
            Rootfs::Raw(path) => self.make_raw(id, &path),
            Rootfs::Image(source) => {
                let image = match image {
                    Some(image) => image,
                    None => self.image(&source, request)?,
                };
                self.make_overlay(id, &image, shown)
            }
        }
    }

    fn image(&self, source: &ImageSource, request: &VolumeRequest) -> Result<Arc<Image>> {
        let uri = &request.image.uri;
        let image = self.store.ensure(source).map_err(|error| image_error(uri, error))?;
        if image.layers.len() > MAX_LAYERS {
            let message = format!(
                "image {uri:?} has {} layers, at most {MAX_LAYERS} can be stacked",
                image.layers.len()
            );
            return Err(Error::new(ErrorKind::ImageInvalid, message));
        }
        Ok(image)
    }

    fn make_overlay(&self, id: &VolumeId, image: &Arc<Image>, shown: &Shown) -> Result<Volume> {
        self.used().insert(id.clone(), Arc::clone(image));
        let config = image_config(&image.config)?;
        let owner = match shown {
            Shown::AsStored => (image.root.uid, image.root.gid),
            Shown::Shared => self.mapped_owner(image),
            Shown::Own(ids, _) => own_owner(image, *ids)?,
        };
        let writable = self.volumes.make(id, image, owner)?;
        let rootfs = self.lowers.mount(image, &writable, shown)?;
        let root = match shown {
            Shown::AsStored => (0, 0),
            Shown::Shared => self.container_root,
            Shown::Own(ids, _) => (ids.first(), ids.first()),
        };
        Ok(Volume { rootfs, mounts: Vec::new(), config, places: Some(root) })
    }

    fn make_raw(&self, id: &VolumeId, path: &Path) -> Result<Volume> {
        let directory = open_raw(path)?;
        self.volumes.make_raw(id)?;
        let mount = Detached::recursive_copy_of(directory.as_fd())
            .and_then(|mount| mount.make_private().map(|()| mount))
            .map_err(|error| mount_error(&format!("mount {}", path.display()), error))?;
        let config = ImageConfig::default();
        Ok(Volume { rootfs: mount.into_fd(), mounts: Vec::new(), config, places: None })
    }

    /// The image root's owner as the host stores it in the writable directory, which is never mapped.
    fn mapped_owner(&self, image: &Image) -> (u32, u32) {
        let map = |id, root| if id == 0 { root } else { id };
        (map(image.root.uid, self.container_root.0), map(image.root.gid, self.container_root.1))
    }

    fn destroy(&self, id: &VolumeId) -> Result<()> {
        if self.volumes.throw_away(id)? {
            self.janitor.wake();
        }
        let mut used = self.used();
        used.remove(id);
        if id.sidecar.is_none() {
            let of_container = |other: &&VolumeId| other.container == id.container;
            let sidecars: Vec<VolumeId> =
                used.range(id..).map(|(other, _)| other).take_while(of_container).cloned().collect();
            for sidecar in sidecars {
                used.remove(&sidecar);
            }
        }
        Ok(())
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Arc<Image>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn restore(&self, known: &[ContainerId]) -> Result<()> {
        let mut failure = None;
        for name in self.volumes.names()? {
            if known.iter().any(|id| id.as_str() == name) {
                continue;
            }
            if let Err(error) = self.volumes.throw_away_named(&name) {
                failure.get_or_insert(error);
            }
        }
        self.janitor.wake();
        let mut used = self.used();
        for container in known {
            let sidecars = self.volumes.sidecars(container)?.into_iter();
            let sidecars = sidecars.map(|(process, _)| VolumeId::sidecar(*container, process));
            for id in std::iter::once(VolumeId::from(*container)).chain(sidecars) {
                if let Some(image) = self.volumes.image(&id).and_then(|image| self.store.image(&image)) {
                    used.insert(id, image);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn metrics(&self, id: &VolumeId) -> Result<DiskStat> {
        let image = self.used().get(id).cloned();
        let own = match self.volumes.upper(id)? {
            Some(upper) => crate::usage::measure(upper.as_fd())
                .map_err(|errno| file_error("measure", &format!("volume {id}"), errno))?,
            None => crate::usage::Usage::default(),
        };
        let (bytes, inodes) = image.map_or((0, 0), |image| (image.bytes(), image.inodes()));
        Ok(DiskStat {
            total_bytes: bytes + own.bytes,
            total_inodes: inodes + own.inodes,
            exclusive_bytes: own.bytes,
            exclusive_inodes: own.inodes,
        })
    }
}

/// The same in a container with host ids of its own.
fn own_owner(image: &Image, ids: HostIds) -> Result<(u32, u32)> {
    let (uid, gid) = (image.root.uid, image.root.gid);
    ids.to_host(uid).zip(ids.to_host(gid)).ok_or_else(|| {
        let count = ids.count();
        let message = format!(
            "the image's root directory is of user {uid} and group {gid}, the container has {count} ids"
        );
        Error::new(ErrorKind::ImageInvalid, message)
    })
}

fn refuse_limits(request: &VolumeRequest) -> Result<()> {
    let limits = &request.limits;
    if limits.bytes == 0 && limits.inodes == 0 {
        return Ok(());
    }
    let message = format!(
        "disk limits are not available yet ({} bytes, {} inodes were asked for)",
        limits.bytes, limits.inodes
    );
    Err(Error::new(ErrorKind::Unimplemented, message))
}

fn image_config(config: &RunConfig) -> Result<ImageConfig> {
    let env = Environment::parse(&config.env).map_err(|error| {
        Error::caused(
            ErrorKind::ImageInvalid,
            format!("environment of the image: {}", error.message()),
            error,
        )
    })?;
    Ok(ImageConfig {
        env,
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        command: config.command.clone(),
    })
}
