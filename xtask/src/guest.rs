//! Tests in a guest: another kernel, with cgroup v2 only, XFS with project quotas, and without the newest system calls.
//!
//! The guest is User-Mode Linux, a kernel that is one program of the host. It boots in two seconds with the host's root,
//! read-only, as its own, so the test programs built here run there by the same path.

mod machine;
mod plan;
mod skips;
mod suites;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{self, cargo};
use crate::{packages, test};
use machine::{Console, Machine};
use plan::Plan;

/// The guest's first program.
const INIT: &str = include_str!("guest/init.sh");

/// Size of the guest's disk. The file is sparse: it takes what the tests of one run wrote.
const DISK_BYTES: u64 = 8 << 30;

/// The chosen tests together take some six minutes; a guest that takes this long makes no progress.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// What is asked of `cargo xtask guest`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A shell in the guest instead of tests; `exit` ends both.
    #[arg(long)]
    shell: bool,
    /// Only tests whose name contains one of these.
    filters: Vec<String>,
}

/// Runs tests, or a shell, in the guest.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    packages::install_for_tests()?;
    if options.shell {
        let place = Place::prepare(root, plan::SHELL)?;
        return place.machine(root, Console::Terminal).run(DEADLINE).map(drop);
    }
    run_tests(root, &options.filters)
}

/// Builds the test programs on the host, runs them in the guest and tells which passed.
///
/// # Errors
/// A test that failed, a guest that ended before all suites had, an entry of the skip list that names no test.
pub(crate) fn run_tests(root: &Path, filters: &[String]) -> Result<()> {
    shell::run(&mut cargo(root, &["build", "--locked", "--package", "gdn"]))?;
    let binary = test::target_directory(root).join("debug/gdn");
    let plan = Plan::new(&suites::build(root)?, filters, &binary)?;
    plan.print_skips();
    let place = Place::prepare(root, &plan.script())?;
    let begin = Instant::now();
    place.machine(root, Console::Log).run(DEADLINE)?;
    let seconds = begin.elapsed().as_secs_f64();
    plan.judge(&place.results()?).with_context(|| format!("see {}", place.console_log().display()))?;
    println!("guest: {} tests in {} programs passed in {seconds:.0} s", plan.count(), plan.suites.len());
    Ok(())
}

/// The guest's directory on the host.
struct Place {
    directory: PathBuf,
}

impl Place {
    /// Writes what the guest reads and makes an empty disk.
    fn prepare(root: &Path, script: &str) -> Result<Self> {
        Self::prepare_in(&test::target_directory(root).join("guest"), script)
    }

    fn prepare_in(directory: &Path, script: &str) -> Result<Self> {
        let place = Place { directory: directory.to_owned() };
        if place.directory.to_string_lossy().contains(char::is_whitespace) {
            bail!("{}: a kernel's command line cannot hold a path with blanks", place.directory.display());
        }
        fs::create_dir_all(place.directory.join("out"))?;
        remove(&place.directory.join("out/results"))?;
        fs::write(place.directory.join("plan.sh"), script)?;
        let init = place.directory.join("init.sh");
        fs::write(&init, INIT)?;
        fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        // What a guest left that was ended in mid-write is no concern of the next one.
        remove(&place.disk())?;
        fs::File::create(place.disk())?.set_len(DISK_BYTES)?;
        shell::run(std::process::Command::new("mkfs.xfs").arg("-q").arg(place.disk()))?;
        Ok(place)
    }

    fn machine(&self, root: &Path, console: Console) -> Machine {
        Machine {
            root: root.to_owned(),
            directory: self.directory.clone(),
            disk: self.disk(),
            log: self.console_log(),
            console,
        }
    }

    fn disk(&self) -> PathBuf {
        self.directory.join("disk.img")
    }

    fn console_log(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// The suites that ended, each with its exit status.
    fn results(&self) -> Result<String> {
        let path = self.directory.join("out/results");
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Builds a suite for tests of this module's parts.
#[cfg(test)]
fn suite(package: &str, target: &str, tests: &[&str]) -> suites::Suite {
    suites::Suite {
        package: package.into(),
        target: target.into(),
        directory: "/crate".into(),
        program: format!("/target/{target}").into(),
        tests: tests.iter().map(|test| (*test).to_owned()).collect(),
    }
}
