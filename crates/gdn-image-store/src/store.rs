//! The store itself: what it knows, and who may do what when.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use gdn_layers::{Digest, Limits, Unpacked, remove_tree};
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::import::{Form, assemble};
use crate::locks::{Held, Locks};
use crate::source::{Identity, identity};
use crate::staging::{Staging, load};
use crate::{BuiltinImage, Collected, Error, Image, ImageSource, Layer, Result, RunConfig};

/// Images below one directory. All calls may be made from many threads.
#[derive(Debug)]
pub struct ImageStore {
    layers: Directory,
    images: Directory,
    sources: Directory,
    staging: Directory,
    trash: Directory,
    builtin: HashMap<String, BuiltinImage>,
    limits: Limits,
    known: Mutex<Known>,
    /// One import at a time for each source and each layer.
    busy: Locks,
    /// Held for reading by imports: their layers belong to no image yet.
    collecting: RwLock<()>,
    /// Numbers temporary names, from the time of the start on, so that names of two runs differ.
    unique: AtomicU64,
    unpacked: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    images: HashMap<Digest, Arc<Image>>,
    layers: HashMap<Digest, Arc<Layer>>,
    sources: HashMap<String, (Identity, Digest)>,
}

#[derive(Serialize, Deserialize)]
struct ImageRecord {
    /// Topmost first.
    layers: Vec<String>,
    config: RunConfig,
}

#[derive(Serialize, Deserialize)]
struct SourceRecord {
    source: String,
    identity: Identity,
    image: String,
}

impl ImageStore {
    /// Opens a store, made when it is missing, and removes what an earlier process left half-done.
    ///
    /// An image of which anything is missing or damaged is forgotten; it is imported again when it is asked for. The caller
    /// sees to it that one process at a time has the store open.
    ///
    /// # Errors
    /// [`Error::File`] when a directory cannot be made, opened or listed.
    pub fn open(root: &Path, builtin: Vec<BuiltinImage>, limits: Limits) -> Result<Self> {
        let parent = Directory::open(root.parent().unwrap_or(Path::new("/")))?;
        let name = root.file_name().unwrap_or_default().to_string_lossy();
        let root = parent.subdirectory(&name)?;
        let store = ImageStore {
            layers: root.subdirectory("layers")?,
            images: root.subdirectory("images")?,
            sources: root.subdirectory("sources")?,
            staging: root.subdirectory("staging")?,
            trash: root.subdirectory("trash")?,
            builtin: builtin.into_iter().map(|image| (image.name.clone(), image)).collect(),
            limits,
            known: Mutex::default(),
            busy: Locks::default(),
            collecting: RwLock::default(),
            unique: AtomicU64::new(nanoseconds()),
            unpacked: AtomicU64::new(0),
        };
        rustix::fs::fchmod(root.as_fd(), rustix::fs::Mode::from_raw_mode(0o700))
            .map_err(crate::error::file_error("set the mode of", root.path.clone()))?;
        store.load()?;
        for leftovers in [&store.staging, &store.trash] {
            // Nobody needs them: what resists must not keep the images from being used.
            if let Err(error) = store.sweep(leftovers) {
                tracing::warn!(%error, "remove what an earlier life left; the next start tries again");
            }
        }
        Ok(store)
    }

    /// The image of a source, imported if it is not there yet or if the source has changed.
    ///
    /// An unchanged source costs one `stat(2)`. However many callers ask for one image at once, it is unpacked once.
    ///
    /// # Errors
    /// What is wrong with the source, naming it; see [`Error`].
    pub fn ensure(&self, source: &ImageSource) -> Result<Arc<Image>> {
        let key = source.key();
        if let Some(image) = self.lookup(&key, &self.identity(source)?.0) {
            return Ok(image);
        }
        let importing = self.busy.hold(key.clone());
        let _not_collecting = self.collecting.read().unwrap_or_else(PoisonError::into_inner);
        let (identity, is_directory) = self.identity(source)?;
        if let Some(image) = self.lookup(&key, &identity) {
            return Ok(image);
        }
        let image = self.import(source, is_directory)?;
        if self.identity(source)?.0 != identity {
            return Err(Error::Changed { path: key });
        }
        self.record_source(key, identity, image.id)?;
        drop(importing);
        Ok(image)
    }

    /// An image by its id, if it is in the store.
    pub fn image(&self, id: &Digest) -> Option<Arc<Image>> {
        self.known().images.get(id).cloned()
    }

    /// How many layers were unpacked and kept since the store was opened.
    pub fn unpacked_layers(&self) -> u64 {
        self.unpacked.load(Ordering::Relaxed)
    }

    /// Removes the images that nobody holds, and the layers that no image has. Does nothing while an import is under way.
    ///
    /// # Errors
    /// The first thing that could not be removed; it went out of use all the same.
    pub fn collect(&self) -> Result<Collected> {
        let mut collected = Collected::default();
        {
            let Ok(_collecting) = self.collecting.try_write() else { return Ok(collected) };
            let mut known = self.known();
            let unused: Vec<Digest> = known
                .images
                .iter()
                .filter(|(_, image)| Arc::strong_count(image) == 1)
                .map(|(id, _)| *id)
                .collect();
            for id in unused {
                self.discard(&self.images, &format!("{}.json", id.hex()))?;
                known.images.remove(&id);
                collected.images += 1;
            }
            let Known { images, layers, sources } = &mut *known;
            let stale: Vec<String> = sources
                .iter()
                .filter(|(_, (_, image))| !images.contains_key(image))
                .map(|(key, _)| key.clone())
                .collect();
            for key in stale {
                self.discard(&self.sources, &source_file(&key))?;
                sources.remove(&key);
            }
            let unused: Vec<Digest> =
                layers.iter().filter(|(_, layer)| Arc::strong_count(layer) == 1).map(|(id, _)| *id).collect();
            for id in unused {
                self.discard(&self.layers, &id.hex())?;
                layers.remove(&id);
                collected.layers += 1;
            }
        }
        self.sweep(&self.trash)?;
        Ok(collected)
    }

    fn identity(&self, source: &ImageSource) -> Result<(Identity, bool)> {
        match source {
            // It cannot change while the program runs, and is looked at again at the next start.
            ImageSource::Builtin(name) => Ok((Identity::of_content(format!("builtin {name}")), false)),
            other => identity(other.path().expect("every source but a built-in image has a path")),
        }
    }

    fn lookup(&self, key: &str, identity: &Identity) -> Option<Arc<Image>> {
        let known = self.known();
        let (known_identity, image) = known.sources.get(key)?;
        if known_identity == identity { known.images.get(image).cloned() } else { None }
    }

    fn import(&self, source: &ImageSource, is_directory: bool) -> Result<Arc<Image>> {
        match source {
            ImageSource::Layout(path, tag) => self.import_layout(&Directory::open(path)?, tag.as_deref()),
            ImageSource::Path(path) if is_directory => self.import_layout(&Directory::open(path)?, None),
            ImageSource::OciArchive(path, tag) => self.import_file(path, Form::OciArchive, tag.as_deref()),
            ImageSource::DockerArchive(path, tag) => {
                self.import_file(path, Form::DockerArchive, tag.as_deref())
            }
            ImageSource::Tar(path) => self.import_file(path, Form::Tar, None),
            ImageSource::Path(path) => self.import_file(path, Form::Any, None),
            ImageSource::Builtin(name) => match self.builtin.get(name) {
                Some(image) => self.import_builtin(image),
                None => Err(Error::NotFound { path: format!("builtin:{name}") }),
            },
        }
    }

    /// A layer of the store; `unpack` is called when it is not there, by one caller at a time.
    pub(crate) fn layer<'a>(
        &'a self,
        diff_id: Digest,
        unpack: impl FnOnce() -> Result<(Staging<'a>, Unpacked)>,
    ) -> Result<Arc<Layer>> {
        let _unpacking = self.busy.hold(diff_id.to_string());
        if let Some(layer) = self.known().layers.get(&diff_id) {
            return Ok(Arc::clone(layer));
        }
        let (staging, unpacked) = unpack()?;
        self.discard(&self.layers, &diff_id.hex())?;
        let layer = Arc::new(staging.keep(&unpacked)?);
        self.unpacked.fetch_add(1, Ordering::Relaxed);
        self.known().layers.insert(diff_id, Arc::clone(&layer));
        Ok(layer)
    }

    /// Notes a complete image, durably.
    pub(crate) fn record(&self, image: &Arc<Image>) -> Result<()> {
        let record = ImageRecord {
            layers: image.layers.iter().map(|layer| layer.diff_id.to_string()).collect(),
            config: image.config.clone(),
        };
        let text = serde_json::to_vec(&record).expect("strings can be written as JSON");
        self.images.write(&format!("{}.json", image.id.hex()), &text)?;
        self.known().images.insert(image.id, Arc::clone(image));
        Ok(())
    }

    fn record_source(&self, key: String, identity: Identity, image: Digest) -> Result<()> {
        let record =
            SourceRecord { source: key.clone(), identity: identity.clone(), image: image.to_string() };
        // A built-in image may be another one in the next version of the program.
        if !key.starts_with("Builtin") {
            let text = serde_json::to_vec(&record).expect("strings can be written as JSON");
            self.sources.write(&source_file(&key), &text)?;
        }
        self.known().sources.insert(key, (identity, image));
        Ok(())
    }

    /// Reads everything back; what cannot be read is forgotten.
    fn load(&self) -> Result<()> {
        let mut known = self.known();
        for name in self.layers.names()? {
            match Digest::from_hex(&name)
                .map_err(|_| ())
                .and_then(|id| load(&self.layers, &id).map_err(|_| ()))
            {
                Ok(layer) => {
                    known.layers.insert(layer.diff_id, Arc::new(layer));
                }
                Err(()) => self.forget(&self.layers, &name)?,
            }
        }
        for name in self.images.names()? {
            match self.load_image(&known, &name) {
                Some(image) => {
                    known.images.insert(image.id, Arc::new(image));
                }
                None => self.forget(&self.images, &name)?,
            }
        }
        for name in self.sources.names()? {
            match self.load_source(&known, &name) {
                Some((source, identity, image)) => {
                    known.sources.insert(source, (identity, image));
                }
                None => self.forget(&self.sources, &name)?,
            }
        }
        Ok(())
    }

    fn load_image(&self, known: &Known, name: &str) -> Option<Image> {
        let id = Digest::from_hex(name.strip_suffix(".json")?).ok()?;
        let record: ImageRecord = serde_json::from_slice(&self.images.document(name).ok()?).ok()?;
        let mut layers = Vec::new();
        for text in record.layers.iter().rev() {
            layers.push(Arc::clone(known.layers.get(&text.parse::<Digest>().ok()?)?));
        }
        (!layers.is_empty()).then(|| assemble(id, layers, record.config))
    }

    fn load_source(&self, known: &Known, name: &str) -> Option<(String, Identity, Digest)> {
        let record: SourceRecord = serde_json::from_slice(&self.sources.document(name).ok()?).ok()?;
        let image = record.image.parse().ok()?;
        known.images.contains_key(&image).then_some((record.source, record.identity, image))
    }

    fn forget(&self, directory: &Directory, name: &str) -> Result<()> {
        tracing::warn!(
            path = format!("{}/{name}", directory.path),
            "forget a damaged part of the image store"
        );
        self.discard(directory, name)
    }

    /// Takes something out of use at once; it is deleted later.
    fn discard(&self, directory: &Directory, name: &str) -> Result<()> {
        match directory.rename(name, &self.trash, &self.unique_name()) {
            Err(error) if error.errno() == Some(rustix::io::Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    fn sweep(&self, directory: &Directory) -> Result<()> {
        let mut failure = None;
        for name in directory.names()? {
            if let Err(source) = remove_tree(directory.as_fd(), &name) {
                failure.get_or_insert(Error::Layer { layer: format!("{}/{name}", directory.path), source });
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// A name that this store gives once.
    pub(crate) fn unique_name(&self) -> String {
        self.unique.fetch_add(1, Ordering::Relaxed).to_string()
    }

    pub(crate) fn one_at_a_time(&self, name: String) -> Held<'_> {
        self.busy.hold(name)
    }

    pub(crate) fn staging(&self) -> &Directory {
        &self.staging
    }

    pub(crate) fn layers(&self) -> &Directory {
        &self.layers
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file that remembers a source, whatever characters the source's name has.
fn source_file(key: &str) -> String {
    format!("{}.json", Digest::of(key).hex())
}

fn nanoseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(0)
}
