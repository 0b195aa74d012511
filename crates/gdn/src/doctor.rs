//! What this host has and lacks, and what that means for the engine.
//!
//! Each check tries the real thing where that leaves no trace, and reads the kernel's own word where it would.

use std::path::Path;

use gdn_types::PoolUsage;
use serde::Serialize;

use crate::output::{Show, columns};

mod cgroups;
mod kernel;
mod mounts;
mod network;
mod plugins;
mod procfs;
mod rights;
mod storage;

/// How well one thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// The engine works, something does not.
    Limited,
    /// The engine cannot work.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) name: String,
    pub(crate) status: Status,
    /// What was found.
    pub(crate) found: String,
    /// What it means; empty when all is well.
    pub(crate) meaning: String,
    /// What to do; empty when all is well.
    pub(crate) advice: String,
}

impl Finding {
    /// All is well.
    fn ok(name: &str, found: impl Into<String>) -> Self {
        Finding {
            name: name.to_owned(),
            status: Status::Ok,
            found: found.into(),
            meaning: String::new(),
            advice: String::new(),
        }
    }

    /// Something does not work.
    fn limited(name: &str, found: impl Into<String>, meaning: &str, advice: &str) -> Self {
        Finding {
            status: Status::Limited,
            meaning: meaning.into(),
            advice: advice.into(),
            ..Finding::ok(name, found)
        }
    }

    /// Nothing works.
    fn missing(name: &str, found: impl Into<String>, meaning: &str, advice: &str) -> Self {
        Finding { status: Status::Missing, ..Finding::limited(name, found, meaning, advice) }
    }
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// Whether the engine can run here.
    pub(crate) can_run: bool,
    pub(crate) findings: Vec<Finding>,
}

impl Diagnosis {
    /// Looks at everything, for an engine with this root directory, of which a server may have told its pools.
    pub(crate) fn of(root: &Path, pools: &[PoolUsage]) -> Self {
        let groups = [
            kernel::check(),
            cgroups::check(),
            mounts::check(root),
            vec![procfs::check()],
            network::check(),
            network::pools(pools).into_iter().collect(),
            rights::check(),
            storage::check(root),
            plugins::check(),
        ];
        Diagnosis::from_findings(groups.into_iter().flatten().collect())
    }

    fn from_findings(findings: Vec<Finding>) -> Self {
        let can_run = findings.iter().all(|finding| finding.status != Status::Missing);
        Diagnosis { can_run, findings }
    }
}

impl Show for Diagnosis {
    fn text(&self) -> String {
        let word = |status| match status {
            Status::Ok => "ok",
            Status::Limited => "limited",
            Status::Missing => "missing",
        };
        let rows = self
            .findings
            .iter()
            .map(|finding| [word(finding.status).into(), finding.name.clone(), finding.found.clone()]);
        let mut text = columns(["STATUS", "WHAT", "FOUND"], rows);
        for finding in self.findings.iter().filter(|finding| finding.status != Status::Ok) {
            text.push_str(&format!(
                "\n\n{}: {}\n  what to do: {}",
                finding.name, finding.meaning, finding.advice
            ));
        }
        text.push_str(if self.can_run {
            "\n\nThe engine can run here."
        } else {
            "\n\nThe engine cannot run here."
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_keeps_the_engine_from_running() {
        let limited = Diagnosis::from_findings(vec![
            Finding::ok("a", "x"),
            Finding::limited("b", "y", "slower", "wait"),
        ]);
        assert!(limited.can_run);
        assert!(limited.text().contains("b: slower\n  what to do: wait"), "{}", limited.text());
        let missing = Diagnosis::from_findings(vec![Finding::missing("c", "no", "nothing works", "upgrade")]);
        assert!(!missing.can_run);
        assert_eq!(serde_json::to_value(&missing).unwrap()["findings"][0]["status"], "missing");
    }

    #[test]
    fn whatever_is_not_well_says_what_it_means_and_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let diagnosis = Diagnosis::of(root.path(), &[]);
        assert!(diagnosis.findings.len() > 20, "{}", diagnosis.findings.len());
        for finding in &diagnosis.findings {
            let explained = !finding.meaning.is_empty() && !finding.advice.is_empty();
            assert_eq!(explained, finding.status != Status::Ok, "{finding:?}");
        }
        // Nothing stays behind.
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
