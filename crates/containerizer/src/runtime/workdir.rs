//! A process's working directory, which runtimes want to be there.

use std::path::{Component, Path, PathBuf};

use gdn_mounts::{Error as MountError, Root};
use gdn_types::{Error, ErrorKind, Result};
use rustix::fs::{Gid, Uid, fchown};
use rustix::io::Errno;

/// Makes what is missing of a directory, as the user's (host ids). Links are followed, but never out of the root.
pub(super) fn make(root: &Root, dir: &str, owner: Option<(u32, u32)>) -> Result<()> {
    let refused = |why: &dyn std::fmt::Display| {
        Error::new(ErrorKind::InvalidArgument, format!("use {dir} as the working directory: {why}"))
    };
    match root.open_dir(dir) {
        Err(MountError::Path { errno: Errno::NOENT, .. }) => {}
        // What else is wrong with it the runtime finds out as the user.
        _ => return Ok(()),
    }
    let (uid, gid) = owner.ok_or_else(|| refused(&"the user is not mapped in the container"))?;
    let mut walked = PathBuf::new();
    for component in Path::new(dir).components() {
        walked.push(component);
        if !matches!(component, Component::Normal(_)) {
            continue;
        }
        match root.open_dir(&walked) {
            Err(MountError::Path { errno: Errno::NOENT, .. }) => {}
            Err(error) => return Err(refused(&error)),
            Ok(_) => continue,
        }
        let made = root.create_dir(&walked, 0o755).map_err(|error| refused(&error))?;
        let made = rustix::fs::openat(
            &made,
            ".",
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        made.and_then(|made| fchown(made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
            .map_err(|errno| refused(&errno))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn missing_directories_are_the_users_and_never_outside() {
        let outside = tempfile::tempdir().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("there")).unwrap();
        symlink(outside.path(), directory.path().join("link")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        make(&root, "/there/a/b", Some((1000, 1001))).unwrap();
        for path in ["there/a", "there/a/b"] {
            let stat = std::fs::metadata(directory.path().join(path)).unwrap();
            assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (1000, 1001, 0o755), "{path}");
        }
        assert_eq!(std::fs::metadata(directory.path().join("there")).unwrap().uid(), 0);
        make(&root, "/there", None).unwrap();
        assert!(make(&root, "/new", None).is_err());
        // The link's target does not exist below the root: it may be made there, or refused, but not outside.
        let _either = make(&root, "/link/x", Some((1, 1)));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
