//! Image URIs as clients write them.

use std::path::PathBuf;

use gdn_image_store::ImageSource;
use gdn_types::{Error, ErrorKind, Result};

/// What a root file system is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rootfs {
    /// A directory of the host, used as it is.
    Raw(PathBuf),
    /// An image of the store, with a writable layer above it.
    Image(ImageSource),
}

impl Rootfs {
    /// Parses `raw:///dir`, `oci:///layout[:tag]`, `oci-archive:///file[:tag]`, `docker-archive:///file[:tag]`,
    /// `tar:///file`, `builtin:name`, an absolute path, or the bare name of a built-in image.
    ///
    /// # Errors
    /// `Unimplemented` for `docker://` and `preloaded+layer://`, `InvalidArgument` for anything else.
    pub fn parse(uri: &str) -> Result<Self> {
        if uri.is_empty() || uri.contains('\0') {
            return Err(Error::invalid(format!("image {uri:?} is empty or contains a NUL byte")));
        }
        if uri.starts_with('/') {
            return Ok(Rootfs::Image(ImageSource::Path(uri.into())));
        }
        if let Some(name) = uri.strip_prefix("builtin:") {
            return builtin(uri, name);
        }
        let Some((scheme, rest)) = uri.split_once("://") else {
            return builtin(uri, uri);
        };
        match scheme {
            "raw" => Ok(Rootfs::Raw(absolute(uri, rest)?)),
            "tar" => Ok(Rootfs::Image(ImageSource::Tar(absolute(uri, rest)?))),
            "oci" => tagged(uri, rest, ImageSource::Layout),
            "oci-archive" => tagged(uri, rest, ImageSource::OciArchive),
            "docker-archive" => tagged(uri, rest, ImageSource::DockerArchive),
            "docker" | "preloaded+layer" => Err(Error::new(
                ErrorKind::Unimplemented,
                format!("image {uri:?}: {scheme}:// is not available yet"),
            )),
            _ => Err(Error::invalid(format!("image {uri:?} has the unknown scheme {scheme:?}"))),
        }
    }
}

fn builtin(uri: &str, name: &str) -> Result<Rootfs> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    if name.is_empty() || !name.chars().all(is_word) {
        return Err(Error::invalid(format!(
            "image {uri:?} is neither an absolute path, a URI nor the name of a built-in image"
        )));
    }
    Ok(Rootfs::Image(ImageSource::Builtin(name.to_owned())))
}

fn absolute(uri: &str, path: &str) -> Result<PathBuf> {
    if !path.starts_with('/') {
        return Err(Error::invalid(format!("image {uri:?} has no absolute path")));
    }
    Ok(path.into())
}

/// A tag follows the last colon of the last path component.
fn tagged(
    uri: &str,
    rest: &str,
    make: impl FnOnce(PathBuf, Option<String>) -> ImageSource,
) -> Result<Rootfs> {
    let name_at = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match rest[name_at..].split_once(':') {
        Some((name, tag)) => (&rest[..name_at + name.len()], Some(tag)),
        None => (rest, None),
    };
    if tag == Some("") {
        return Err(Error::invalid(format!("image {uri:?} has an empty tag")));
    }
    Ok(Rootfs::Image(make(absolute(uri, path)?, tag.map(str::to_owned))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let image = |uri| match Rootfs::parse(uri).unwrap() {
            Rootfs::Image(source) => source,
            Rootfs::Raw(path) => panic!("{uri} is raw {path:?}"),
        };
        assert_eq!(Rootfs::parse("raw:///a/b").unwrap(), Rootfs::Raw("/a/b".into()));
        assert_eq!(image("oci:///a:b/c:v1.2"), ImageSource::Layout("/a:b/c".into(), Some("v1.2".into())));
        assert_eq!(image("oci:///a/b"), ImageSource::Layout("/a/b".into(), None));
        assert_eq!(
            image("oci-archive:///a.tar:x"),
            ImageSource::OciArchive("/a.tar".into(), Some("x".into()))
        );
        assert_eq!(image("docker-archive:///a.tar"), ImageSource::DockerArchive("/a.tar".into(), None));
        assert_eq!(image("tar:///a.tar.gz"), ImageSource::Tar("/a.tar.gz".into()));
        assert_eq!(image("/a.tar"), ImageSource::Path("/a.tar".into()));
        assert_eq!(image("hello"), ImageSource::Builtin("hello".into()));
        assert_eq!(image("builtin:hello"), image("hello"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_and_named() {
        for uri in ["docker:///busybox", "docker://host/x#y", "preloaded+layer:///a?b=c"] {
            let error = Rootfs::parse(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unimplemented);
            assert!(error.message().contains("not available yet"), "{}", error.message());
        }
        for uri in [
            "",
            "raw://relative",
            "oci://x:y",
            "oci:///x:",
            "ftp:///x",
            "a/b",
            "builtin:",
            "../x",
            "/a\0b",
            "raw:/x",
        ] {
            let error = Rootfs::parse(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{uri}");
            assert!(error.message().contains(&format!("{uri:?}")), "{}", error.message());
        }
    }
}
