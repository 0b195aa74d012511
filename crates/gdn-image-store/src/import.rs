//! From a source to an image in the store.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use gdn_layers::{Digest, RootAttributes, Unpacked};

use crate::directory::Directory;
use crate::document::{Configuration, SavedImage, parse};
use crate::layout::{blob_path, check_digest, check_size, find, open_blob};
use crate::staging::Staging;
use crate::{BuiltinImage, Error, Image, ImageStore, Layer, Result, RunConfig};

/// What the archive of a layer or a root file system begins to be checked against.
struct Expected {
    what: String,
    digest: Option<(Digest, u64)>,
    diff_id: Option<Digest>,
}

impl ImageStore {
    /// An image of a layout. One that is known by its manifest is not read again.
    pub(crate) fn import_layout(&self, layout: &Directory, tag: Option<&str>) -> Result<Arc<Image>> {
        let found = find(layout, tag)?;
        if let Some(image) = self.image(&found.manifest) {
            return Ok(image);
        }
        let mut layers = Vec::new();
        for (descriptor, diff_id) in &found.layers {
            let what = format!("{}/{}", layout.path, blob_path(&descriptor.digest()?));
            let expected = Expected {
                what,
                digest: Some((descriptor.digest()?, descriptor.size)),
                diff_id: Some(*diff_id),
            };
            layers.push(self.layer(*diff_id, || self.unpack(open_blob(layout, descriptor)?, &expected))?);
        }
        self.admit(found.manifest, layers, found.config)
    }

    /// An image of an unpacked `docker save` archive.
    pub(crate) fn import_saved(&self, archive: &Directory, tag: Option<&str>) -> Result<Arc<Image>> {
        let document = format!("{}/manifest.json", archive.path);
        let saved: Vec<SavedImage> = parse(&document, &archive.document("manifest.json")?)?;
        let chosen = choose_saved(archive, saved, tag)?;
        let content = archive.document(&chosen.config)?;
        let id = Digest::of(&content);
        if let Some(image) = self.image(&id) {
            return Ok(image);
        }
        let configuration: Configuration = parse(&chosen.config, &content)?;
        let diff_ids = configuration.diff_ids(&chosen.config, chosen.layers.len())?;
        let mut layers = Vec::new();
        for (path, diff_id) in chosen.layers.iter().zip(diff_ids) {
            let expected = Expected { what: path.clone(), digest: None, diff_id: Some(diff_id) };
            layers.push(self.layer(diff_id, || self.unpack(archive.file(path)?, &expected))?);
        }
        self.admit(id, layers, configuration.into_run_config())
    }

    /// A tar that is a root file system, or an archive of images: its content tells.
    pub(crate) fn import_file(&self, path: &Path, form: Form, tag: Option<&str>) -> Result<Arc<Image>> {
        let (staging, unpacked) = {
            let what = path.display().to_string();
            let file = Directory::open(path.parent().unwrap_or(Path::new("/")))?
                .following_host_links()
                .file(&path.file_name().unwrap_or_default().to_string_lossy())?;
            self.unpack(file, &Expected { what, digest: None, diff_id: None })?
        };
        let content = staging.content()?.following_links();
        let has_layout = content.has("oci-layout") && content.has("index.json");
        match form {
            Form::OciArchive => self.import_layout(&content, tag),
            Form::DockerArchive => self.import_saved(&content, tag),
            Form::Any if has_layout => self.import_layout(&content, tag),
            Form::Any if is_saved(&content) => self.import_saved(&content, tag),
            Form::Any | Form::Tar => {
                let layer = self.layer(unpacked.diff_id, || Ok((staging, unpacked)))?;
                self.admit_plain(layer, RunConfig::default())
            }
        }
    }

    /// An image that came with the program.
    pub(crate) fn import_builtin(&self, image: &BuiltinImage) -> Result<Arc<Image>> {
        let archive = pack(image);
        let diff_id = Digest::of(&archive);
        let expected = Expected {
            what: format!("built-in image {:?}", image.name),
            digest: None,
            diff_id: Some(diff_id),
        };
        let layer = self.layer(diff_id, || self.unpack(archive.as_slice(), &expected))?;
        self.admit_plain(layer, image.config.clone())
    }

    fn admit_plain(&self, layer: Arc<Layer>, config: RunConfig) -> Result<Arc<Image>> {
        let text = serde_json::to_string(&config).expect("strings can be written as JSON");
        let id = Digest::of(format!("{} {text}", layer.diff_id));
        self.admit(id, vec![layer], config)
    }

    /// Unpacks a layer into a directory of its own and verifies it.
    fn unpack(&self, source: impl Read, expected: &Expected) -> Result<(Staging<'_>, Unpacked)> {
        let staging = Staging::new(self)?;
        let unpacked = gdn_layers::unpack(source, staging.content()?.as_fd(), self.limits())
            .map_err(|source| Error::Layer { layer: expected.what.clone(), source })?;
        if !unpacked.end_mark
            && expected.digest.is_none()
            && expected.diff_id.is_none()
            && unpacked.archive_bytes > 0
        {
            let source = gdn_layers::Error::Truncated { entry: String::new() };
            return Err(Error::Layer { layer: expected.what.clone(), source });
        }
        if let Some((digest, size)) = expected.digest {
            check_size(&expected.what, size, unpacked.compressed_bytes)?;
            check_digest(&expected.what, digest, unpacked.digest)?;
        }
        if let Some(diff_id) = expected.diff_id {
            check_digest(&format!("{} uncompressed", expected.what), diff_id, unpacked.diff_id)?;
        }
        Ok((staging, unpacked))
    }

    /// Makes an image out of layers in the order of application, durably.
    fn admit(&self, id: Digest, mut lowest_first: Vec<Arc<Layer>>, config: RunConfig) -> Result<Arc<Image>> {
        if lowest_first.is_empty() {
            // Overlayfs wants at least one layer.
            let empty = [0_u8; 1024];
            let expected = Expected { what: "the empty layer".to_owned(), digest: None, diff_id: None };
            lowest_first.push(self.layer(Digest::of(empty), || self.unpack(&empty[..], &expected))?);
        }
        // Two sources of one image may be imported at the same time.
        let _admitting = self.one_at_a_time(format!("image {id}"));
        if let Some(image) = self.image(&id) {
            return Ok(image);
        }
        let image = Arc::new(assemble(id, lowest_first, config));
        self.record(&image)?;
        Ok(image)
    }
}

/// The layers as overlayfs takes them: topmost first; of one that occurs twice the upper occurrence, which hides the lower
/// wholly; and nothing below one that hides everything.
pub(crate) fn assemble(id: Digest, lowest_first: Vec<Arc<Layer>>, config: RunConfig) -> Image {
    let mut layers: Vec<Arc<Layer>> = Vec::new();
    for layer in lowest_first.into_iter().rev() {
        if layers.iter().any(|known| known.diff_id == layer.diff_id) {
            continue;
        }
        let hides_rest = layer.opaque_root;
        layers.push(layer);
        if hides_rest {
            break;
        }
    }
    let default = RootAttributes { uid: 0, gid: 0, mode: 0o755 };
    let root = layers.iter().find_map(|layer| layer.root).unwrap_or(default);
    Image { id, layers, config, root }
}

/// How a file is to be read.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    OciArchive,
    DockerArchive,
    Tar,
    Any,
}

/// Whether a directory is what `docker save` packs, and not a root file system that has a file of that name.
fn is_saved(content: &Directory) -> bool {
    let Ok(document) = content.document("manifest.json") else { return false };
    let saved: Result<Vec<SavedImage>> = parse("manifest.json", &document);
    saved.is_ok_and(|saved| !saved.is_empty() && saved.iter().all(|image| content.has(&image.config)))
}

fn choose_saved(archive: &Directory, mut saved: Vec<SavedImage>, tag: Option<&str>) -> Result<SavedImage> {
    let tags: Vec<String> =
        saved.iter().flat_map(|image| image.repo_tags.clone().unwrap_or_default()).collect();
    let missing =
        || Error::NoSuchTag { path: archive.path.clone(), tag: tag.unwrap_or_default().to_owned(), tags };
    if let Some(tag) = tag {
        saved.retain(|image| {
            image.repo_tags.iter().flatten().any(|known| known == tag || known.ends_with(&format!(":{tag}")))
        });
    }
    if saved.len() == 1 { saved.pop().ok_or_else(missing) } else { Err(missing()) }
}

/// A tar of a built-in image's files; the same files always give the same bytes.
fn pack(image: &BuiltinImage) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in &image.files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        builder
            .append_data(&mut header, path.trim_start_matches('/'), content.as_slice())
            .expect("writing to memory cannot fail, and built-in paths are short");
    }
    builder.into_inner().expect("writing to memory cannot fail")
}
