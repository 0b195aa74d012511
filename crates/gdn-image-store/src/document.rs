//! The JSON documents of images: only what is needed is read, and that strictly.

use gdn_layers::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::document_error;
use crate::{Result, RunConfig};

pub(crate) const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
pub(crate) const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
/// Prefixes of the media types of layers.
const LAYER_TYPES: [&str; 4] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    digest: String,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

impl Descriptor {
    pub(crate) fn digest(&self) -> Result<Digest> {
        self.digest
            .parse()
            .map_err(|error: gdn_layers::Error| document_error(&self.digest, error.to_string()))
    }

    /// The name of the image in a layout.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.annotations.as_ref()?.get("org.opencontainers.image.ref.name").map(String::as_str)
    }

    pub(crate) fn check_layer_type(&self) -> Result<()> {
        if LAYER_TYPES.iter().any(|known| self.media_type.starts_with(known)) {
            return Ok(());
        }
        Err(document_error(&self.digest, format!("{:?} is not the media type of a layer", self.media_type)))
    }

    /// Whether this host can run it. A descriptor that does not say is taken at its word's absence.
    pub(crate) fn suits_host(&self) -> bool {
        self.platform
            .as_ref()
            .is_none_or(|platform| platform.os == "linux" && platform.architecture == host_architecture())
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Platform {
    os: String,
    architecture: String,
}

/// This host's architecture, as Go and therefore images name it.
fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[derive(Deserialize)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// One image of a `docker save` archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SavedImage {
    pub(crate) config: String,
    pub(crate) repo_tags: Option<Vec<String>>,
    pub(crate) layers: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct Configuration {
    #[serde(default)]
    os: String,
    config: Option<Run>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Run {
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
}

impl Configuration {
    /// The layers' digests, checked against their number in the manifest.
    pub(crate) fn diff_ids(&self, document: &str, layers: usize) -> Result<Vec<Digest>> {
        if !self.os.is_empty() && self.os != "linux" {
            return Err(document_error(document, format!("the image is for {:?}", self.os)));
        }
        let texts = self.rootfs.diff_ids.as_deref().unwrap_or_default();
        if texts.len() != layers {
            let reason = format!("it names {} layers, the manifest {layers}", texts.len());
            return Err(document_error(document, reason));
        }
        texts
            .iter()
            .map(|text| {
                text.parse().map_err(|error: gdn_layers::Error| document_error(document, error.to_string()))
            })
            .collect()
    }

    pub(crate) fn into_run_config(self) -> RunConfig {
        let run = self.config.unwrap_or_default();
        RunConfig {
            env: run.env.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
            command: run
                .entrypoint
                .unwrap_or_default()
                .into_iter()
                .chain(run.cmd.unwrap_or_default())
                .collect(),
        }
    }
}

/// Parses a document of unspecified kind.
pub(crate) fn parse<T: DeserializeOwned>(document: &str, content: &[u8]) -> Result<T> {
    serde_json::from_slice(content).map_err(|error| document_error(document, error.to_string()))
}

/// Parses an index or a manifest, of which it must be exactly the one that it is taken for (CVE-2021-41190).
pub(crate) fn parse_typed<T: DeserializeOwned>(
    document: &str,
    content: &[u8],
    types: &[&str],
    foreign: &[&str],
) -> Result<T> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Members {
        media_type: Option<String>,
        #[serde(flatten)]
        all: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
    }
    let members: Members = parse(document, content)?;
    if let Some(found) = members.media_type.filter(|found| !types.contains(&found.as_str())) {
        return Err(document_error(document, format!("it calls itself {found:?}, expected {:?}", types[0])));
    }
    if let Some(member) = foreign.iter().find(|member| members.all.contains_key(**member)) {
        return Err(document_error(
            document,
            format!("it is both an index and a manifest: it has a member {member:?}"),
        ));
    }
    parse(document, content)
}

pub(crate) fn parse_index(document: &str, content: &[u8]) -> Result<Index> {
    parse_typed(document, content, &INDEX_TYPES, &["config", "layers", "fsLayers"])
}

pub(crate) fn parse_manifest(document: &str, content: &[u8]) -> Result<Manifest> {
    parse_typed(document, content, &MANIFEST_TYPES, &["manifests", "fsLayers"])
}
