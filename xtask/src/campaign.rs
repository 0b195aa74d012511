//! Hands over to the security campaigns in `tests/campaigns`.

use std::path::Path;

use anyhow::Result;

use crate::packages;
use crate::shell::{self, cargo};

/// Builds the release server and the campaigns, and plays one.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    packages::install_for_tests()?;
    let packages =
        ["build", "--release", "--locked", "--package", "gdn", "--package", "gdn-campaigns", "--bins"];
    shell::run(&mut cargo(root, &packages))?;
    let release = crate::test::target_directory(root).join("release");
    let mut program = std::process::Command::new(release.join("gdn-campaign"));
    shell::run(program.current_dir(root).env("GDN_BIN", release.join("gdn")).args(arguments))
}
