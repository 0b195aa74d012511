//! Everything that must hold before a change lands. The cheapest checks come first; the first failure ends the run.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::shell::{self, cargo};
use crate::{bench, codegen, deny, layers, leakcheck, space, test, tidy};

type Check = fn(&Path) -> Result<()>;

/// In order of cost. `deny` builds cargo-deny where that is missing, which takes minutes once per machine.
const STEPS: [(&str, Check); 13] = [
    ("space", space::run),
    ("fmt", |root| shell::run(&mut cargo(root, &["fmt", "--all", "--check"]))),
    ("layers", layers::run),
    ("codegen", |root| codegen::run(root, true)),
    ("tidy", tidy::run),
    ("deny", deny::run),
    ("clippy", clippy),
    ("doc", doc),
    ("build", build),
    ("snapshot", |root| leftovers(root, "snapshot")),
    ("test", |root| test::run(root, None)),
    ("bench", |root| bench::run(root, &["--smoke".into()])),
    ("leftovers", |root| leftovers(root, "diff")),
];

/// Runs every step.
pub(crate) fn run(root: &Path) -> Result<()> {
    let begin = Instant::now();
    for (name, check) in STEPS {
        println!("ci: {name} ...");
        let start = Instant::now();
        check(root)
            .with_context(|| format!("ci step {name} failed after {:.1} s", start.elapsed().as_secs_f64()))?;
        println!("ci: {name} passed in {:.1} s", start.elapsed().as_secs_f64());
    }
    println!("ci: all {} steps passed in {:.0} s", STEPS.len(), begin.elapsed().as_secs_f64());
    Ok(())
}

fn clippy(root: &Path) -> Result<()> {
    shell::run(&mut cargo(
        root,
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    ))
}

/// What the benchmark runs: with it the engine's dependencies have features that it alone does not need, so that building it
/// alone first would build them twice.
fn build(root: &Path) -> Result<()> {
    shell::run(&mut cargo(
        root,
        &["build", "--release", "--locked", "--package", "gdn", "--package", "gdn-bench", "--bins"],
    ))
}

fn doc(root: &Path) -> Result<()> {
    shell::run(
        cargo(root, &["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Compares what the kernel holds of any engine before the tests with what it holds after the benchmark.
fn leftovers(root: &Path, action: &str) -> Result<()> {
    let file = test::target_directory(root).join("leak-before-tests.json");
    leakcheck::run(root, &[action.into(), file.to_string_lossy().into_owned()])
}
