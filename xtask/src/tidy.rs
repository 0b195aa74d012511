//! Checks what no compiler checks: file lengths, ignored tests, machine paths, links.

mod rules;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Checks every file that git tracks or would track.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = files(root)?;
    let mut faults = Vec::new();
    for file in &files {
        // A symbolic link or a file deleted but not yet committed has no text to check.
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        faults.extend(
            rules::check(root, file, &text).into_iter().map(|fault| format!("{}:{fault}", file.display())),
        );
    }
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    match faults.len() {
        0 => {
            println!("tidy: {} files are in order", files.len());
            Ok(())
        }
        count => bail!("{count} places are not in order; the rules are in xtask/src/tidy/rules.rs"),
    }
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let names = shell::output(std::process::Command::new("git").current_dir(root).args(list))
        .context("list the files")?;
    Ok(names.split_terminator('\0').map(PathBuf::from).collect())
}
