//! What is run in the guest, and whether it went well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::skips::{SKIPS, Skip};
use super::suites::Suite;

/// Instead of tests: a shell on the console, with the terminal's job control.
pub(super) const SHELL: &str = "echo 'guest: exit ends the guest'\nsetsid -c sh -i\n";

/// Longest time for one test program, in seconds. The longest takes three minutes on a quiet machine.
const SUITE_SECONDS: u32 = 900;

/// Tests that run at the same time in one program. More than one, because tests wait more than they compute, although the
/// guest has one processor.
const THREADS: u32 = 2;

/// Rounds of the tests that repeat themselves; on the host each does more. One round takes a minute in the guest.
const ROUNDS: u32 = 1;

/// Of the black-box tests, those that another kernel could fail. All of them run by `cargo xtask guest ''`: the guest
/// computes at a tenth of the host's speed.
const OF_THE_KERNEL: [(&str, &[&str]); 4] = [
    (
        "engine-tests::conformance",
        &[
            "bind_mounts::",
            "block_io::",
            "devices::",
            "limits::",
            "maskedpaths::",
            "metrics::",
            "network::networked_creates_are_refused",
            "peas::",
            "rlimits::",
            "security::",
            "throttling::",
        ],
    ),
    (
        "engine-tests::garden",
        &[
            "calls::",
            "environment::",
            "processes::processes_get_the_limits",
            "processes::want_of_memory",
            "restarts::want_of_memory",
            "restarts::what_is_written",
        ],
    ),
    // Most of the others need nftables.
    ("engine-tests::operations", &["defects::the_user_decides", "hosts::a_host_is_prepared"]),
    ("engine-tests::suite", &["events::want_of_memory", "kills::", "lifecycle::", "limits::"]),
];

/// The chosen tests of each program.
pub(super) struct Plan {
    pub(super) suites: Vec<Chosen>,
    skips: Vec<&'static Skip>,
    engine: PathBuf,
}

/// A program and what of it is run.
pub(super) struct Chosen {
    name: String,
    directory: PathBuf,
    program: PathBuf,
    tests: Vec<String>,
}

impl Plan {
    /// Chooses the tests that match the filters and are not skipped. `engine` is the `gdn` of the black-box tests.
    pub(super) fn new(suites: &[Suite], filters: &[String], engine: &Path) -> Result<Self> {
        Self::with_skips(suites, filters, engine, SKIPS)
    }

    fn with_skips(
        suites: &[Suite],
        filters: &[String],
        engine: &Path,
        skips: &'static [Skip],
    ) -> Result<Self> {
        for skip in skips {
            if !suites.iter().any(|suite| suite.tests.iter().any(|test| skip.is_about(&suite.name(), test))) {
                bail!("the skip list names {} of {}, which is no test", skip.test, skip.suite);
            }
        }
        let matches = |name: &str, test: &String| match filters {
            [] => is_of_the_kernel(name, test),
            _ => filters.iter().any(|filter| test.contains(filter.as_str())),
        };
        let mut plan = Plan { suites: Vec::new(), skips: skips.iter().collect(), engine: engine.to_owned() };
        for suite in suites {
            let name = suite.name();
            let runs =
                |test: &&String| matches(&name, test) && !skips.iter().any(|skip| skip.is_about(&name, test));
            let tests: Vec<String> = suite.tests.iter().filter(runs).cloned().collect();
            if !tests.is_empty() {
                let (directory, program) = (suite.directory.clone(), suite.program.clone());
                plan.suites.push(Chosen { name, directory, program, tests });
            }
        }
        if plan.suites.is_empty() {
            bail!("no test matches {filters:?}");
        }
        Ok(plan)
    }

    /// Number of tests that are run.
    pub(super) fn count(&self) -> usize {
        self.suites.iter().map(|suite| suite.tests.len()).sum()
    }

    pub(super) fn print_skips(&self) {
        for skip in &self.skips {
            println!("guest: skipped: {} {}: {}", skip.suite, skip.test, skip.reason);
        }
        println!("guest: {} entries in the skip list (xtask/src/guest/skips.rs)", self.skips.len());
    }

    /// The shell script that the guest's first program runs.
    pub(super) fn script(&self) -> String {
        let engine = quoted(&self.engine.to_string_lossy());
        let mut script = format!("export GDN_BIN={engine} GDN_ROUNDS={ROUNDS}\n");
        for suite in &self.suites {
            let (directory, program) = (suite.directory.to_string_lossy(), suite.program.to_string_lossy());
            write!(
                script,
                "suite {} {} {SUITE_SECONDS} {} --color never --test-threads {THREADS} --exact",
                quoted(&suite.name),
                quoted(&directory),
                quoted(&program)
            )
            .expect("a string takes everything");
            for test in &suite.tests {
                script.push(' ');
                script.push_str(&quoted(test));
            }
            script.push('\n');
        }
        script
    }

    /// Compares what the guest recorded with what was planned.
    ///
    /// # Errors
    /// Every program that failed or is not among the results.
    pub(super) fn judge(&self, results: &str) -> Result<()> {
        let ended: BTreeMap<&str, &str> = results.lines().filter_map(|line| line.rsplit_once(' ')).collect();
        let fault = |suite: &Chosen| match ended.get(suite.name.as_str()).copied() {
            Some("0") => None,
            Some("124" | "137") => Some(format!("{} did not end within {SUITE_SECONDS} s", suite.name)),
            Some(status) => Some(format!("{} failed with status {status}", suite.name)),
            None => Some(format!("{} never ended", suite.name)),
        };
        let faults: Vec<String> = self.suites.iter().filter_map(fault).collect();
        if faults.is_empty() { Ok(()) } else { bail!("in the guest: {}", faults.join("; ")) }
    }
}

fn is_of_the_kernel(suite: &str, test: &str) -> bool {
    let chosen = OF_THE_KERNEL.iter().find(|(name, _)| *name == suite);
    chosen.is_none_or(|(_, beginnings)| beginnings.iter().any(|beginning| test.starts_with(beginning)))
}

impl Skip {
    fn is_about(&self, suite: &str, test: &str) -> bool {
        let same = match self.test.strip_suffix('*') {
            Some(beginning) => test.starts_with(beginning),
            None => test == self.test,
        };
        self.suite == suite && same
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::super::suite;
    use super::*;

    static ONE: [Skip; 1] = [Skip { suite: "a::one", test: "slow::*", reason: "needs a second processor" }];

    fn planned(filters: &[&str], skips: &'static [Skip]) -> Result<Plan> {
        let suites = [suite("a", "one", &["slow::x", "fast::y", "fast::z"]), suite("b", "two", &["other"])];
        let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        Plan::with_skips(&suites, &filters, Path::new("/bin/gdn"), skips)
    }

    #[test]
    fn what_matches_and_is_not_skipped_is_run_by_its_full_name() {
        let plan = planned(&[], &ONE).unwrap();
        assert_eq!(plan.count(), 3);
        let script = plan.script();
        assert!(
            script.starts_with("export GDN_BIN='/bin/gdn' GDN_ROUNDS=1\nsuite 'a::one' '/crate' "),
            "{script}"
        );
        assert!(script.contains("--exact 'fast::y' 'fast::z'\n") && !script.contains("slow"), "{script}");
        assert_eq!(planned(&["y", "oth"], &ONE).unwrap().count(), 2);
        assert_eq!(planned(&["oth"], &ONE).unwrap().suites.len(), 1);
    }

    #[test]
    fn a_filter_or_a_skip_without_a_test_is_an_error() {
        assert!(planned(&["nothing"], &[]).is_err());
        static STALE: [Skip; 1] = [Skip { suite: "b::two", test: "gone", reason: "" }];
        let error = planned(&[], &STALE).err().unwrap().to_string();
        assert!(error.contains("gone of b::two"), "{error}");
    }

    #[test]
    fn only_a_recorded_zero_is_a_success() {
        let plan = planned(&[], &[]).unwrap();
        plan.judge("a::one 0\nb::two 0\n").unwrap();
        for (results, said) in [
            ("a::one 0\nb::two 101\n", "b::two failed with status 101"),
            ("a::one 124\nb::two 0\n", "a::one did not end within"),
            ("a::one 0\n", "b::two never ended"),
            ("", "a::one never ended; b::two never ended"),
        ] {
            let error = plan.judge(results).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
