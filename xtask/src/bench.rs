//! Hands over to the benchmark in `bench/`, a package of its own because it needs the client and an async runtime.

use std::path::Path;

use anyhow::Result;

use crate::packages;
use crate::shell::{self, cargo};

/// Where the last whole run is drawn.
const PAGE: &str = "docs/bench/index.html";

/// Builds the release server and the benchmark, and runs it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    packages::install_for_tests()?;
    if arguments.is_empty() {
        packages::install_peers()?;
    }
    shell::run(&mut cargo(
        root,
        &["build", "--release", "--locked", "--package", "gdn", "--package", "gdn-bench", "--bins"],
    ))?;
    let release = crate::test::target_directory(root).join("release");
    let mut program = std::process::Command::new(release.join("gdn-bench"));
    program.current_dir(root).arg("--gdn").arg(release.join("gdn")).args(arguments);
    // Only a whole run is worth a page.
    if arguments.is_empty() {
        program.args(["--page", PAGE]);
    }
    shell::run(&mut program)
}
