//! The two sides of a copy.

use std::path::{Path, PathBuf};

use gdn_types::{Error, Handle, Result};

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A file or directory on this side.
    Here(PathBuf),
    /// A path in a container.
    Inside(Handle, String),
    /// A tar on a standard stream.
    Stream,
}

/// Reads one side. What begins with `/` or `.`, or has no `:`, is a path on this side.
///
/// A handle may contain `:` itself: the last one that is followed by a path counts.
pub(super) fn parse(text: &str) -> Result<Place> {
    if text == "-" {
        return Ok(Place::Stream);
    }
    if text.is_empty() {
        return Err(Error::invalid("a path to copy is empty"));
    }
    // A path may have colons, a handle no slash: what separates them stands before the first slash.
    let head = text.find('/').map_or(text, |slash| &text[..slash]);
    match head.rfind(':') {
        Some(colon) if !text.starts_with(['/', '.']) => {
            let path = &text[colon + 1..];
            if path.is_empty() {
                return Err(Error::invalid(format!("{text:?} names no path in the container")));
            }
            Ok(Place::Inside(Handle::parse(&text[..colon])?, path.to_owned()))
        }
        _ => Ok(Place::Here(PathBuf::from(text))),
    }
}

/// A path's parent and its last component; `None` when the path says by itself that it is a directory: `x/`, `.`, `..`.
pub(super) fn split_last(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None => (".", path),
    };
    (!["", ".", ".."].contains(&name)).then_some((parent, name))
}

/// Whether a target on this side is a directory, or says that it is one.
pub(super) fn is_directory_here(target: &Path) -> bool {
    let text = target.as_os_str().as_encoded_bytes();
    target.is_dir() || text.ends_with(b"/") || text.ends_with(b"/.") || text == b"."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(handle: &str, path: &str) -> Place {
        Place::Inside(Handle::parse(handle).unwrap(), path.to_owned())
    }

    #[test]
    fn a_colon_before_the_first_slash_makes_a_place_in_a_container() {
        assert_eq!(parse("web:/etc/hosts").unwrap(), inside("web", "/etc/hosts"));
        assert_eq!(parse("web:file").unwrap(), inside("web", "file"));
        assert_eq!(parse("a:b:/x:y").unwrap(), inside("a:b", "/x:y"));
        assert_eq!(parse("/a:b").unwrap(), Place::Here("/a:b".into()));
        assert_eq!(parse("./a:b").unwrap(), Place::Here("./a:b".into()));
        assert_eq!(parse("file").unwrap(), Place::Here("file".into()));
        assert_eq!(parse("-").unwrap(), Place::Stream);
    }

    #[test]
    fn places_that_mean_nothing_are_refused() {
        for bad in ["", "web:", ":/x", "a b:/x"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_last_component_is_the_new_name() {
        assert_eq!(split_last("/etc/hosts"), Some(("/etc", "hosts")));
        assert_eq!(split_last("/x"), Some(("/", "x")));
        assert_eq!(split_last("x"), Some((".", "x")));
        for directory in ["/etc/", "/", ".", "..", "x/."] {
            assert_eq!(split_last(directory), None, "{directory}");
        }
    }
}
