//! The root directory: space, and who uses it.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::output::time;
use crate::server::EngineLock;

/// Below this a few images fill the disk.
const ENOUGH_SPACE: u64 = 2 << 30;

/// Looks at all of it.
pub(super) fn check(root: &Path) -> Vec<Finding> {
    vec![space(root), engine(root)]
}

fn space(root: &Path) -> Finding {
    let name = format!("disk of {}", root.display());
    let figures = match rustix::fs::statvfs(existing(root)) {
        Ok(figures) => figures,
        Err(errno) => {
            let meaning = "images and containers have no place";
            return Finding::missing(&name, errno.to_string(), meaning, "give another directory with --root");
        }
    };
    let free = figures.f_bavail.saturating_mul(figures.f_frsize);
    let found = format!("{} free", time::bytes(free));
    match free {
        0 => Finding::missing(
            &name,
            found,
            "nothing can be written",
            "make room, or give another directory with --root",
        ),
        free if free < ENOUGH_SPACE => Finding::limited(
            &name,
            found,
            "a few images fill it",
            "make room, or give another directory with --root",
        ),
        _ => Finding::ok(&name, found),
    }
}

fn engine(root: &Path) -> Finding {
    match EngineLock::holder(root) {
        Some(pid) => Finding::ok("engine", format!("process {pid} runs on this root")),
        None => Finding::ok("engine", "none runs on this root"),
    }
}

/// The directory itself, or the nearest one above it that exists.
pub(super) fn existing(directory: &Path) -> PathBuf {
    directory.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_yet_to_be_made_is_judged_by_its_parent() {
        assert_eq!(existing(Path::new("/surely/not/there")), Path::new("/"));
        assert!(space(Path::new("/surely/not/there")).found.contains("free"));
    }
}
