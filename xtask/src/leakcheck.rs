//! Hands over to the leak oracle's program in `gdn-testkit`, so that this package builds without the testkit.

use std::path::Path;

use anyhow::Result;

use crate::shell::{self, cargo};

/// Without arguments: lists what is left of any engine, and fails when there is anything.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let program = ["run", "--quiet", "--locked", "--package", "gdn-testkit", "--example", "leakcheck", "--"];
    shell::run(cargo(root, &program).args(arguments))
}
