//! Which rows of Garden's own suite are shown through the gate of Garden's clients.
//!
//! A row that is shown over gRPC says nothing about the other gate's words and bytes. The tests of `tests/engine/tests/garden`
//! speak nothing but HTTP, so what they cite is shown over it; no further word in a comment is needed, and none can be wrong.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::Standing;
use super::scan::Citation;
use super::table::RowId;

/// Where the tests are that speak the Garden API over HTTP, from the repository's root.
const TESTS: &str = "tests/engine/tests/garden/";

/// Letters of the rows that come from Garden's own black-box suite.
const LETTERS: [char; 2] = ['G', 'P'];

/// Rows of that suite which this gate cannot show, with the reason.
const ELSEWHERE: [(&str, &str); 1] = [("G12", "the port for operators is not this gate's")];

/// Whether a test that runs shows the row over HTTP.
pub(super) fn shows(citation: &Citation) -> bool {
    citation.test.starts_with(TESTS) && !citation.ignored
}

/// How many rows are shown over HTTP, of how many that are due, and which are not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    shown: usize,
    missing: Vec<RowId>,
    /// Rows that are due nowhere, by the reason.
    not_due: BTreeMap<String, Vec<RowId>>,
}

impl Tally {
    /// Counts the rows that are shown or due, whatever the gate.
    pub(super) fn of(standings: &[Standing]) -> Result<Self> {
        let mut tally = Tally::default();
        let mut elsewhere = Vec::new();
        for (id, _) in ELSEWHERE {
            elsewhere.extend(RowId::range(id)?);
        }
        for standing in standings {
            let of_the_suite = |id: &RowId| LETTERS.contains(&id.letter()) && !elsewhere.contains(id);
            let due = standing.done.keys().chain(standing.missing.keys());
            for id in due.filter(|id| of_the_suite(id)) {
                match standing.over_http.contains(id) {
                    true => tally.shown += 1,
                    false => tally.missing.push(*id),
                }
            }
            let others = standing.later.iter().chain(&standing.excepted);
            for (id, reason) in others.filter(|(id, _)| of_the_suite(id)) {
                tally.not_due.entry(reason.clone()).or_default().push(*id);
            }
        }
        Ok(tally)
    }

    /// Says it.
    pub(super) fn print(&self) {
        println!(
            "over HTTP: {} of {} rows of Garden's own suite",
            self.shown,
            self.shown + self.missing.len()
        );
        for id in &self.missing {
            println!("  {id} missing over HTTP");
        }
        for (id, reason) in ELSEWHERE {
            println!("  {id} not over HTTP: {reason}");
        }
        for (reason, ids) in &self.not_due {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            println!("  {} not due: {reason}", ids.join(", "));
        }
    }

    /// Fails when a row is missing.
    pub(super) fn expect_all(&self) -> Result<()> {
        if !self.missing.is_empty() {
            bail!("{} rows are not shown over HTTP", self.missing.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Missing;
    use super::*;

    #[test]
    fn only_rows_of_gardens_suite_that_are_due_or_done_count() {
        let ids = |text: &str| RowId::range(text).unwrap();
        let standing = Standing {
            done: ids("G1-3").into_iter().chain(ids("Q4")).map(|id| (id, Vec::new())).collect(),
            over_http: ids("G2").into_iter().collect(),
            missing: ids("G12-13").into_iter().map(|id| (id, Missing::default())).collect(),
            later: BTreeMap::from([(ids("G14")[0], "later".to_owned())]),
            ..Standing::default()
        };
        let tally = Tally::of(&[standing]).unwrap();
        let missing: Vec<String> = tally.missing.iter().map(ToString::to_string).collect();
        assert_eq!((tally.shown, &missing[..]), (1, &["G1", "G3", "G13"].map(String::from)[..]));
        assert_eq!(tally.not_due.len(), 1);
        assert!(tally.expect_all().is_err());
    }

    #[test]
    fn a_test_shows_it_that_speaks_http_and_runs() {
        let row = RowId::range("G1").unwrap()[0];
        let cited = |file: &str, ignored| Citation { row, test: format!("{file}: name"), ignored };
        assert!(shows(&cited("tests/engine/tests/garden/calls.rs", false)));
        assert!(!shows(&cited("tests/engine/tests/garden/calls.rs", true)));
        assert!(!shows(&cited("tests/engine/tests/conformance/limits.rs", false)));
    }
}
