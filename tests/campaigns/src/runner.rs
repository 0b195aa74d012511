//! Plays rows one after the other on one bed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::stage::message;
use crate::{Bed, Campaign, Report, Row, RowReport, Stage, find};

/// How many attempts the cases of rows with loops make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempts {
    /// What the row says.
    OfTheRow,
    /// As few as show that the row works: for the tests of every day.
    Fewest,
    /// So many.
    Exactly(u32),
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `S4`.
    pub campaign: String,
    /// Ids of rows; none means all.
    pub rows: Vec<String>,
    /// Attempts of each case.
    pub attempts: Attempts,
    /// Only the case of this number.
    pub case: Option<usize>,
    /// Decides what is left to chance.
    pub seed: u64,
}

impl Plan {
    /// Some rows of a campaign, all cases.
    pub fn new(campaign: &str, rows: &[&str], attempts: Attempts) -> Self {
        let rows = rows.iter().map(ToString::to_string).collect();
        Plan { campaign: campaign.into(), rows, attempts, case: None, seed: 1 }
    }

    fn attempts(&self, row: &Row) -> u32 {
        match self.attempts {
            _ if row.attempts == 1 => 1,
            Attempts::OfTheRow => row.attempts,
            Attempts::Fewest => row.attempts.min(3),
            Attempts::Exactly(attempts) => attempts.max(1),
        }
    }
}

/// Plays a plan, and tells `progress` of each row that has been played.
///
/// # Errors
/// When there is no such campaign or row.
pub fn run(plan: &Plan, mut progress: impl FnMut(&RowReport)) -> Result<Report> {
    let campaign = find(&plan.campaign).with_context(|| format!("there is no campaign {}", plan.campaign))?;
    let rows = chosen(campaign, &plan.rows)?;
    let mut bed = (campaign.bed)();
    let mut reports = Vec::new();
    for row in rows {
        let report = play(&mut bed, row, plan);
        progress(&report);
        reports.push(report);
    }
    let faults = bed.finish().into_iter().collect();
    let (id, title) = (campaign.id.to_owned(), campaign.title.to_owned());
    Ok(Report { campaign: id, title, seed: plan.seed, rows: reports, faults })
}

fn chosen<'a>(campaign: &'a Campaign, ids: &[String]) -> Result<Vec<&'a Row>> {
    if ids.is_empty() {
        return Ok(campaign.rows.iter().collect());
    }
    let find = |id: &String| campaign.rows.iter().find(|row| row.id.eq_ignore_ascii_case(id));
    if let Some(unknown) = ids.iter().find(|id| find(id).is_none()) {
        bail!("campaign {} has no row {unknown}", campaign.id);
    }
    Ok(ids.iter().filter_map(find).collect())
}

fn play(bed: &mut Bed, row: &Row, plan: &Plan) -> RowReport {
    let begin = Instant::now();
    let mut stage = Stage::new(bed, row, plan.attempts(row), plan.seed, plan.case);
    let played = catch_unwind(AssertUnwindSafe(|| (row.play)(&mut stage)));
    let mut report = stage.report;
    match played {
        Err(panic) => report.faults.push(message(&*panic)),
        Ok(()) if report.played != row.cases => {
            report.faults.push(format!("{} cases were played and {} are declared", report.played, row.cases));
        }
        Ok(()) => {}
    }
    report.faults.extend(bed.faults());
    report.seconds = begin.elapsed().as_secs_f64();
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn played(play: fn(&mut Stage<'_>)) -> RowReport {
        let mut bed = Bed::start();
        let row = Row { id: "S0.01", title: "", reference: "", cases: 1, attempts: 1, play };
        let report = super::play(&mut bed, &row, &Plan::new("S0", &[], Attempts::Fewest));
        assert_eq!(bed.finish(), None);
        report
    }

    fn escapes(stage: &mut Stage<'_>) {
        stage.control("weak", |_| Verdict::Escaped("out".into()));
    }

    #[test]
    fn a_row_that_held_with_a_red_control_is_good() {
        let report = played(|stage| {
            stage.case("held", |_| Verdict::Held);
            escapes(stage);
        });
        assert!(report.is_good(), "{report:?}");
    }

    #[test]
    fn a_row_without_a_red_control_is_not_good() {
        assert!(!played(|stage| stage.case("held", |_| Verdict::Held)).is_good(), "no control");
        let report = played(|stage| {
            stage.case("held", |_| Verdict::Held);
            stage.control("strong", |_| Verdict::Held);
        });
        assert!(!report.is_good(), "{report:?}");
    }

    #[test]
    fn escapes_panics_missing_cases_and_touched_canaries_are_told() {
        let rows: [fn(&mut Stage<'_>); 4] = [
            |stage| stage.case("out", |_| Verdict::Escaped("out".into())),
            |stage| stage.case("broken", |_| panic!("a step failed")),
            |_| {},
            |stage| {
                stage.case("touches", |bed| {
                    std::fs::write(bed.canary().file(), "other").unwrap();
                    Verdict::Held
                });
            },
        ];
        for row in rows {
            let mut report = played(row);
            assert!(!report.is_good(), "{report:?}");
            report.escaped.clear();
            report.broken.clear();
            report.faults.clear();
            report.controls.push(crate::ControlReport {
                name: String::new(),
                red: true,
                told: String::new(),
            });
            assert!(report.is_good(), "nothing else was wrong: {report:?}");
        }
    }
}
