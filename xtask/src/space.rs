//! Room on the disk for a build: a compiler that runs out of it says so in the middle, and not where.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{shell, test};

/// What a build from nothing leaves, with all tests and the release profile, and what the tests write, in KiB.
const FROM_NOTHING: u64 = 8 * 1024 * 1024;

/// What is needed beside a build that is there.
const BESIDE: u64 = 2 * 1024 * 1024;

/// Fails where the build's disk has not enough room.
pub(crate) fn run(root: &Path) -> Result<()> {
    let target = test::target_directory(root);
    let needed = needed(&target);
    std::fs::create_dir_all(&target).with_context(|| format!("make {}", target.display()))?;
    let table = shell::output(Command::new("df").args(["-Pk", "--"]).arg(&target))?;
    let free = available(&table).with_context(|| format!("df says {table:?}"))?;
    if free < needed {
        bail!(
            "{} has {} MiB free, and {} MiB are needed: free some, or set CARGO_TARGET_DIR to another disk",
            target.display(),
            free / 1024,
            needed / 1024
        );
    }
    Ok(())
}

/// A build that is there has the release profile, which this program's own has not.
fn needed(target: &Path) -> u64 {
    if target.join("release/deps").is_dir() { BESIDE } else { FROM_NOTHING }
}

/// The available KiB in the one line of `df -Pk` below its heading.
fn available(table: &str) -> Option<u64> {
    table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_from_nothing_needs_more_than_one_beside_what_is_there() {
        let target = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(target.path().join("debug/deps")).unwrap();
        assert_eq!(needed(target.path()), FROM_NOTHING, "this program is built before it looks");
        std::fs::create_dir_all(target.path().join("release/deps")).unwrap();
        assert_eq!(needed(target.path()), BESIDE);
    }

    #[test]
    fn the_available_room_is_the_fourth_column() {
        let table = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 100 40 60 40% /\n";
        assert_eq!(available(table), Some(60));
        assert_eq!(available("Filesystem\n"), None);
    }
}
