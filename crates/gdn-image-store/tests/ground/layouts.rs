//! A tiny writer of layouts, and a store to import them into.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

use gdn_image_store::{Digest, Error, Image, ImageSource, ImageStore, Limits};
use serde_json::{Value, json};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub(crate) fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A layout being written, each document of which can be spoilt before it is.
pub(crate) struct Layout(pub(crate) PathBuf);

impl Layout {
    pub(crate) fn new(path: PathBuf) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Layout(path)
    }
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.hex())
    }
    pub(crate) fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        fs::write(self.blob_path(&digest), content).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": content.len()})
    }
    pub(crate) fn document(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }
    pub(crate) fn manifest(&self, layers: &[&[u8]]) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let descriptors: Vec<Value> = layers.iter().map(|layer| self.blob(LAYER, &gzip(layer))).collect();
        let config = json!({
            "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "config": {"Env": ["PATH=/bin", "A=1"], "User": "7:8", "WorkingDir": "/w", "Entrypoint": ["/e"], "Cmd": ["c"]},
        });
        let config = self.document("application/vnd.oci.image.config.v1+json", &config);
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors})
    }
    pub(crate) fn index(&self, entries: &[(&str, Value)]) {
        let manifests: Vec<Value> = entries
            .iter()
            .map(|(tag, descriptor)| {
                let mut descriptor = descriptor.clone();
                descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
                descriptor
            })
            .collect();
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        fs::write(self.0.join("index.json"), index).unwrap();
    }
    pub(crate) fn tag(&self, tag: &str, layers: &[&[u8]]) {
        self.index(&[(tag, self.document(MANIFEST, &self.manifest(layers)))]);
    }
    pub(crate) fn source(&self, tag: &str) -> ImageSource {
        ImageSource::Layout(self.0.clone(), Some(tag.to_owned()))
    }
}

pub(crate) struct Ground(tempfile::TempDir);

impl Ground {
    pub(crate) fn new() -> Self {
        Ground(tempfile::tempdir().unwrap())
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    pub(crate) fn open(&self) -> ImageStore {
        ImageStore::open(&self.path("store"), Vec::new(), Limits::default()).unwrap()
    }
    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.path("layout"))
    }
    pub(crate) fn count(&self, name: &str) -> usize {
        fs::read_dir(self.path("store").join(name)).unwrap().count()
    }
    /// A refused source leaves nothing in the store.
    pub(crate) fn refused(&self, source: &ImageSource) -> Error {
        let error = self.open().ensure(source).unwrap_err();
        for name in ["layers", "images", "sources", "staging", "trash"] {
            assert_eq!(self.count(name), 0, "{name} after: {error}");
        }
        error
    }
}

/// Reads a file of an image's topmost layer that has it.
pub(crate) fn read(image: &Image, path: &str) -> String {
    let flags = rustix::fs::OFlags::RDONLY;
    let file = image
        .layers
        .iter()
        .find_map(|layer| rustix::fs::openat(layer.as_fd(), path, flags, rustix::fs::Mode::empty()).ok())
        .unwrap();
    std::io::read_to_string(fs::File::from(file)).unwrap()
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
