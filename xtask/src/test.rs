//! Runs every test of the workspace, with everything they need in place.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::shell::{self, cargo};
use crate::{guest, packages};

/// Installs packages, builds `gdn`, then runs the tests (by nextest where it is installed), the doc tests, and those that
/// another kernel could fail once more in the guest, which adds some four minutes.
///
/// Black-box tests find the binary through `GDN_BIN`. It is the development build: its overflow checks and debug
/// assertions take part in the tests.
pub(crate) fn run(root: &Path, filter: Option<&str>) -> Result<()> {
    packages::install_for_tests()?;
    shell::run(&mut cargo(root, &["build", "--locked", "--package", "gdn"]))?;
    let binary = target_directory(root).join("debug/gdn");
    let tests: &[&str] = if has_nextest(root) {
        &["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--no-tests=fail"]
    } else {
        println!("cargo-nextest is not installed: the tests run by cargo test");
        &["test", "--workspace", "--locked", "--all-targets", "--no-fail-fast"]
    };
    shell::run(cargo(root, tests).args(filter).env("GDN_BIN", &binary))?;
    if filter.is_none() {
        shell::run(cargo(root, &["test", "--workspace", "--locked", "--doc"]).env("GDN_BIN", &binary))?;
        guest::run_tests(root, &[])?;
    }
    Ok(())
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |directory| root.join(directory))
}

fn has_nextest(root: &Path) -> bool {
    shell::output(&mut cargo(root, &["--list"]))
        .is_ok_and(|list| list.lines().any(|line| line.trim_start().starts_with("nextest")))
}
