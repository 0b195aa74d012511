//! Where the runtime is shown the parts of a container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gdn_types::{Error, ErrorKind, Result};

/// Directories directly below the root that nothing of a runtime is in, as a rule; one is enough.
const CANDIDATES: [&str; 6] = ["/mnt", "/media", "/srv", "/opt", "/home", "/run"];

/// A directory that everybody can enter and that hides nothing of what is needed when it is mounted upon.
pub(super) fn find(needed: &[&Path]) -> Result<String> {
    let serves = |path: &&&str| {
        let path = Path::new(path);
        let stat = fs::symlink_metadata(path);
        stat.is_ok_and(|stat| stat.is_dir() && stat.permissions().mode() & 0o001 != 0)
            && !needed.iter().any(|needed| needed.starts_with(path))
    };
    CANDIDATES.iter().find(serves).map(ToString::to_string).ok_or_else(|| {
        let message =
            format!("none of {} can show a runtime plug-in the parts of containers", CANDIDATES.join(", "));
        Error::new(ErrorKind::FailedPrecondition, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_hides_nothing_that_is_needed() {
        let first = find(&[]).unwrap();
        assert_ne!(find(&[&Path::new(&first).join("gdn/run")]).unwrap(), first);
        let all = CANDIDATES.map(Path::new);
        assert_eq!(find(&all).unwrap_err().kind(), ErrorKind::FailedPrecondition);
    }
}
