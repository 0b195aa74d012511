//! Hands over to the benchmark in `bench/`, a package of its own because it needs the client and an async runtime.

use std::path::Path;

use anyhow::Result;

use crate::packages;
use crate::shell::{self, cargo};

/// Builds the release server and the benchmark, and runs it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    packages::install_for_tests()?;
    shell::run(&mut cargo(
        root,
        &["build", "--release", "--locked", "--package", "gdn", "--package", "gdn-bench", "--bins"],
    ))?;
    let release = crate::test::target_directory(root).join("release");
    let mut program = std::process::Command::new(release.join("gdn-bench"));
    shell::run(program.current_dir(root).arg("--gdn").arg(release.join("gdn")).args(arguments))
}
