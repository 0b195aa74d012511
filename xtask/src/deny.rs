//! Licences, sources and banned crates, by cargo-deny and `deny.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{self, cargo};
use crate::test::target_directory;

/// Runs the checks that need no network, and the advisories where their database lies on this machine.
pub(crate) fn run(root: &Path) -> Result<()> {
    let program = cargo_deny(root)?;
    let graph = dependency_graph(root)?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(root).args(["--workspace", "--log-level", "error", "--metadata-path"]);
        shell::run(command.arg(&graph).arg("check").args(what))
    };
    check(&["bans", "licenses", "sources"])?;
    if !advisories_are_here() {
        println!(
            "deny: advisories are NOT checked: their database is not on this machine and is not fetched"
        );
        return Ok(());
    }
    check(&["advisories"])
}

/// The crates that a Linux build needs, as cargo sees them; other platforms' crates need not be on the machine.
fn dependency_graph(root: &Path) -> Result<PathBuf> {
    let platform = ["metadata", "--format-version", "1", "--locked", "--all-features", "--filter-platform"];
    let graph = shell::output(cargo(root, &platform).arg("x86_64-unknown-linux-gnu"))?;
    let file = target_directory(root).join("deny-graph.json");
    std::fs::write(&file, graph).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}

/// The program from `PATH`, or from the target directory, where it is built when missing.
fn cargo_deny(root: &Path) -> Result<PathBuf> {
    if shell::has("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let tools = target_directory(root).join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.exists() {
        println!("deny: building cargo-deny into {} (some minutes, once)", tools.display());
        // A development build: it is used for seconds and would take three times as long to build optimised.
        let mut install = cargo(root, &["install", "cargo-deny", "--locked", "--debug", "--quiet", "--root"]);
        shell::run(install.arg(&tools))
            .context("install cargo-deny, without which licences and bans are not checked")?;
    }
    Ok(program)
}

fn advisories_are_here() -> bool {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let databases = home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok());
    databases.is_some_and(|mut entries| entries.next().is_some())
}
