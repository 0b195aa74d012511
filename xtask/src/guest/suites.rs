//! The test programs that run in the guest, built on the host.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::shell::{self, cargo};

/// Packages whose tests depend on the kernel's version, its control groups or its file systems.
const PACKAGES: [&str; 9] = [
    "gdn-cgroups",
    "gdn-namespaces",
    "gdn-mounts",
    "gdn-seccomp",
    "gdn-keeper",
    "gdn-launcher",
    "containerizer",
    "volumizer",
    "engine-tests",
];

/// One test program.
pub(super) struct Suite {
    pub(super) package: String,
    pub(super) target: String,
    /// The package's directory, in which cargo runs its tests.
    pub(super) directory: PathBuf,
    pub(super) program: PathBuf,
    pub(super) tests: Vec<String>,
}

impl Suite {
    pub(super) fn name(&self) -> String {
        format!("{}::{}", self.package, self.target)
    }
}

/// A line of what cargo says with `--message-format json`; most lines are about other things.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the test programs and lists their tests.
pub(super) fn build(root: &Path) -> Result<Vec<Suite>> {
    let fixed = ["test", "--no-run", "--locked", "--message-format", "json-render-diagnostics"];
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let messages = shell::output(cargo(root, &fixed).args(packages))?;
    let mut suites = Vec::new();
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).with_context(|| format!("read {line:?}"))?;
        suites.extend(suite(message)?);
    }
    let order = |suite: &Suite| PACKAGES.iter().position(|package| *package == suite.package);
    suites.sort_by_key(|suite| (order(suite), suite.target.clone()));
    Ok(suites)
}

fn suite(message: Message) -> Result<Option<Suite>> {
    let Message { executable: Some(program), manifest_path: Some(manifest), target, profile } = message
    else {
        return Ok(None);
    };
    let (Some(target), Some(Profile { test: true })) = (target, profile) else { return Ok(None) };
    let directory = manifest.parent().context("a manifest lies in a directory")?.to_owned();
    let package = package_name(&directory)?;
    let tests = list(&program)?;
    Ok((!tests.is_empty()).then_some(Suite { package, target: target.name, directory, program, tests }))
}

/// The package that lies in a directory: crates by the directory's name, the suites of `tests/` with `-tests` behind it.
fn package_name(directory: &Path) -> Result<String> {
    let name = directory.file_name().context("a package has a directory")?.to_string_lossy();
    let candidates = [name.to_string(), format!("{name}-tests")];
    match candidates.into_iter().find(|name| PACKAGES.contains(&name.as_str())) {
        Some(package) => Ok(package),
        None => bail!("{} holds no package for the guest", directory.display()),
    }
}

fn list(program: &Path) -> Result<Vec<String>> {
    let listed = shell::output(Command::new(program).args(["--list", "--format", "terse"]))?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}
