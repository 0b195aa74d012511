//! Images with anything in them, and whatever their author says of them.

use std::fs;
use std::path::{Path, PathBuf};

use engine_tests::images;
use serde_json::{Value, json};

use crate::Hostile;

/// What the author of an image writes beside its files.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// The member `config` of the image's configuration.
    pub config: Value,
    /// Annotations of the manifest.
    pub annotations: Value,
}

/// Makes OCI layouts that share one layer of busybox. That layer has no `/proc`, `/dev` or `/sys`.
#[derive(Debug)]
pub struct Images {
    place: PathBuf,
    base: PathBuf,
    descriptor: Value,
}

impl Images {
    /// Makes the common layer of a root file system; layouts will lie below `place`, which does not exist yet.
    pub fn new(place: &Path, rootfs: &Path) -> Self {
        fs::create_dir(place).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        builder.follow_symlinks(false);
        for entry in fs::read_dir(rootfs).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            match name.to_str() {
                Some("proc" | "dev" | "sys") => {}
                _ if entry.file_type().unwrap().is_dir() => {
                    builder.append_dir_all(&name, entry.path()).unwrap()
                }
                _ => builder.append_path_with_name(entry.path(), &name).unwrap(),
            }
        }
        let layer = builder.into_inner().unwrap();
        let base = place.join("base.tar");
        fs::write(&base, &layer).unwrap();
        Images { place: place.to_owned(), base, descriptor: descriptor(LAYER, &layer) }
    }

    /// The image of the common layer and nothing else.
    pub fn plain(&self, name: &str) -> String {
        self.layered(name, &[], &Words::default())
    }

    /// An image with this on top of the common layer.
    pub fn with(&self, name: &str, top: Hostile) -> String {
        self.layered(name, &[top.finish()], &Words::default())
    }

    /// An image whose author writes these words.
    pub fn saying(&self, name: &str, words: &Words) -> String {
        self.layered(name, &[], words)
    }

    /// An image of these layers on top of the common one; answers with its URI.
    pub fn layered(&self, name: &str, tops: &[Vec<u8>], words: &Words) -> String {
        let layout = self.place.join(name);
        fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let digest = self.descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
        fs::hard_link(&self.base, layout.join("blobs/sha256").join(digest)).unwrap();
        let mut layers = vec![self.descriptor.clone()];
        layers.extend(tops.iter().map(|layer| blob(&layout, LAYER, layer)));
        let digests: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": words.config,
            "rootfs": { "type": "layers", "diff_ids": digests },
        });
        let config = blob(&layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        });
        if !words.annotations.is_null() {
            manifest["annotations"] = words.annotations.clone();
        }
        let manifest = manifest.to_string();
        let mut manifest = blob(&layout, "application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        format!("oci://{}:v1", layout.display())
    }

    /// A directory that is a root file system, for `raw://`.
    pub fn directory(&self, name: &str) -> PathBuf {
        let target = self.place.join(name);
        tar::Archive::new(fs::File::open(&self.base).unwrap()).unpack(&target).unwrap();
        target
    }
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{}", images::sha256(bytes)), "size": bytes.len() })
}

fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let path = layout.join("blobs/sha256").join(images::sha256(bytes));
    fs::write(path, bytes).unwrap();
    descriptor(media_type, bytes)
}
