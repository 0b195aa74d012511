//! OCI image layouts: from a name to a verified manifest and configuration.

use std::io::Read;

use gdn_layers::Digest;

use crate::directory::Directory;
use crate::document::{
    Configuration, Descriptor, INDEX_TYPES, MANIFEST_TYPES, parse, parse_index, parse_manifest,
};
use crate::error::document_error;
use crate::{Error, Result, RunConfig};

/// How many indexes may be inside each other.
const NESTING: usize = 4;

/// An image of a layout, its documents verified, its layers not looked at yet.
pub(crate) struct LayoutImage {
    pub(crate) manifest: Digest,
    pub(crate) config: RunConfig,
    /// Lowest first: where the blob is, and what it must unpack to.
    pub(crate) layers: Vec<(Descriptor, Digest)>,
}

/// Where a layout keeps a blob.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Finds an image in a layout and verifies its documents.
pub(crate) fn find(layout: &Directory, tag: Option<&str>) -> Result<LayoutImage> {
    check_version(layout)?;
    let index = parse_index(&format!("{}/index.json", layout.path), &layout.document("index.json")?)?;
    let mut chosen = choose_tag(layout, index.manifests, tag)?;
    for _ in 0..NESTING {
        if MANIFEST_TYPES.contains(&chosen.media_type.as_str()) {
            return read_manifest(layout, &chosen);
        }
        if !INDEX_TYPES.contains(&chosen.media_type.as_str()) {
            let reason = format!("{:?} is neither an index nor a manifest", chosen.media_type);
            return Err(document_error(chosen.digest()?.to_string(), reason));
        }
        let digest = chosen.digest()?.to_string();
        let nested = parse_index(&digest, &read_blob(layout, &chosen)?)?;
        chosen = nested
            .manifests
            .into_iter()
            .find(Descriptor::suits_host)
            .ok_or_else(|| document_error(digest, "it has no image for this host"))?;
    }
    Err(document_error(layout.path.clone(), format!("more than {NESTING} indexes are inside each other")))
}

fn check_version(layout: &Directory) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Version {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let document = format!("{}/oci-layout", layout.path);
    let version: Version = parse(&document, &layout.document("oci-layout")?)?;
    if version.version != "1.0.0" {
        return Err(document_error(
            document,
            format!("its version is {:?}, expected \"1.0.0\"", version.version),
        ));
    }
    Ok(())
}

fn choose_tag(layout: &Directory, manifests: Vec<Descriptor>, tag: Option<&str>) -> Result<Descriptor> {
    let tags: Vec<String> = manifests.iter().filter_map(|known| known.tag().map(str::to_owned)).collect();
    let missing =
        || Error::NoSuchTag { path: layout.path.clone(), tag: tag.unwrap_or_default().to_owned(), tags };
    let mut candidates: Vec<Descriptor> = match tag {
        Some(tag) => manifests.into_iter().filter(|known| known.tag() == Some(tag)).collect(),
        None if manifests.len() > 1 && manifests.iter().any(|known| known.tag() == Some("latest")) => {
            manifests.into_iter().filter(|known| known.tag() == Some("latest")).collect()
        }
        None => manifests,
    };
    if candidates.len() > 1 {
        candidates.retain(Descriptor::suits_host);
    }
    // Two manifests of one name, or several without one, leave open which is meant.
    if candidates.len() == 1 { candidates.pop().ok_or_else(missing) } else { Err(missing()) }
}

fn read_manifest(layout: &Directory, descriptor: &Descriptor) -> Result<LayoutImage> {
    let digest = descriptor.digest()?;
    let manifest = parse_manifest(&digest.to_string(), &read_blob(layout, descriptor)?)?;
    let document = manifest.config.digest()?.to_string();
    let configuration: Configuration = parse(&document, &read_blob(layout, &manifest.config)?)?;
    let diff_ids = configuration.diff_ids(&document, manifest.layers.len())?;
    for layer in &manifest.layers {
        layer.check_layer_type()?;
    }
    let layers = manifest.layers.into_iter().zip(diff_ids).collect();
    Ok(LayoutImage { manifest: digest, config: configuration.into_run_config(), layers })
}

/// Reads a document that is named by its digest.
fn read_blob(layout: &Directory, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let expected = descriptor.digest()?;
    let content = layout.document(&blob_path(&expected))?;
    let what = format!("{}/{}", layout.path, blob_path(&expected));
    check_size(&what, descriptor.size, content.len() as u64)?;
    check_digest(&what, expected, Digest::of(&content))?;
    Ok(content)
}

pub(crate) fn check_size(what: &str, expected: u64, found: u64) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::SizeMismatch { what: what.to_owned(), expected, found })
    }
}

pub(crate) fn check_digest(what: &str, expected: Digest, found: Digest) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::DigestMismatch { what: what.to_owned(), expected, found })
    }
}

/// A blob's bytes, at most one more than its descriptor says: enough to see that it is too long.
pub(crate) fn open_blob(layout: &Directory, descriptor: &Descriptor) -> Result<impl Read + use<>> {
    let path = blob_path(&descriptor.digest()?);
    Ok(layout.file(&path)?.take(descriptor.size.saturating_add(1)))
}
