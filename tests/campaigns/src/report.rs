//! What came of a run, as a table, a page and JSON.

use std::fmt;

use serde::Serialize;

use crate::{Row, Verdict};

/// What came of a run of a campaign.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `S4`.
    pub campaign: String,
    /// Its subject.
    pub title: String,
    /// The seed, to play it again.
    pub seed: u64,
    /// Its rows.
    pub rows: Vec<RowReport>,
    /// What was wrong at the end: what the engine left on the host.
    pub faults: Vec<String>,
}

/// What came of a row.
#[derive(Clone, Debug, Serialize)]
pub struct RowReport {
    /// `S4.01`.
    pub id: String,
    /// What must hold.
    pub title: String,
    /// Where the attack was seen.
    pub reference: String,
    /// How many cases were counted, also those that were not asked for.
    pub played: usize,
    /// How many attempts each made.
    pub attempts: u32,
    /// How many held.
    pub held: usize,
    /// Number, name and evidence of those that did not.
    pub escaped: Vec<(usize, String, String)>,
    /// Number, name and error of those that could not be played.
    pub broken: Vec<(usize, String, String)>,
    /// Number, name and reason of those that are known not to hold.
    pub excepted: Vec<(usize, String, String)>,
    /// What is as it is on purpose, and why.
    pub accepted: Vec<String>,
    /// The controls.
    pub controls: Vec<ControlReport>,
    /// What was wrong after the row.
    pub faults: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// What came of a control.
#[derive(Clone, Debug, Serialize)]
pub struct ControlReport {
    /// The weak target.
    pub name: String,
    /// Whether the attempt escaped from it, as it must.
    pub red: bool,
    /// The evidence, or why not.
    pub told: String,
}

impl RowReport {
    pub(crate) fn new(row: &Row, attempts: u32) -> Self {
        RowReport {
            id: row.id.into(),
            title: row.title.into(),
            reference: row.reference.into(),
            played: 0,
            attempts,
            held: 0,
            escaped: Vec::new(),
            broken: Vec::new(),
            excepted: Vec::new(),
            accepted: Vec::new(),
            controls: Vec::new(),
            faults: Vec::new(),
            seconds: 0.0,
        }
    }

    pub(crate) fn note(&mut self, number: usize, name: String, verdict: Verdict) {
        match verdict {
            Verdict::Held => self.held += 1,
            Verdict::Escaped(evidence) => self.escaped.push((number, name, evidence)),
            Verdict::Broken(error) => self.broken.push((number, name, error)),
        }
    }

    /// Whether there are controls and all have been seen red.
    pub fn control_is_red(&self) -> bool {
        !self.controls.is_empty() && self.controls.iter().all(|control| control.red)
    }

    /// Whether the row has shown what it is for.
    pub fn is_good(&self) -> bool {
        self.escaped.is_empty() && self.broken.is_empty() && self.faults.is_empty() && self.control_is_red()
    }

    fn complaints(&self, seed: u64) -> Vec<String> {
        let again = |number: usize| format!("cargo xtask campaign {} --seed {seed} --case {number}", self.id);
        let kinds = [("escaped", &self.escaped), ("broken", &self.broken)];
        let cases = kinds.into_iter().flat_map(|(kind, cases)| {
            cases.iter().map(move |(number, name, told)| {
                format!("{} case {number} ({name}) {kind}: {told}\n    again: {}", self.id, again(*number))
            })
        });
        let controls = self.controls.iter().filter(|control| !control.red);
        let controls = controls
            .map(|control| format!("{} control not red ({}): {}", self.id, control.name, control.told));
        let missing = self.controls.is_empty().then(|| format!("{} has no control", self.id));
        let faults = self.faults.iter().map(|fault| format!("{} after the row: {fault}", self.id));
        cases.chain(controls).chain(missing).chain(faults).collect()
    }
}

impl Report {
    /// Whether everything held, every control was red, and nothing was left.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.rows.iter().all(RowReport::is_good)
    }

    fn sum(&self, of: impl Fn(&RowReport) -> usize) -> usize {
        self.rows.iter().map(of).sum()
    }

    /// Everything that is not as it should be, each with how to see it again.
    pub fn complaints(&self) -> Vec<String> {
        let rows = self.rows.iter().flat_map(|row| row.complaints(self.seed));
        rows.chain(self.faults.iter().map(|fault| format!("at the end: {fault}"))).collect()
    }

    /// The page of the last whole run, for `docs/campaigns`.
    pub fn page(&self) -> String {
        let mut page = format!("# Campaign {}: {}\n\n", self.campaign, self.title);
        page.push_str(&format!(
            "Written by `cargo xtask campaign {0} --page docs/campaigns/{0}.md`; what rows, cases and controls are is told in \
             `tests/campaigns/src/lib.rs`.\n\n| row | what must hold | seen as | cases | attempts each | held | escaped | broken | excepted | \
             red against |\n|---|---|---|---|---|---|---|---|---|---|\n",
            self.campaign
        ));
        for row in &self.rows {
            let controls: Vec<_> = row
                .controls
                .iter()
                .map(|control| format!("{}{}", if control.red { "" } else { "NOT RED: " }, control.name))
                .collect();
            page.push_str(&format!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                row.id,
                row.title,
                row.reference,
                row.played,
                row.attempts,
                row.held,
                row.escaped.len(),
                row.broken.len(),
                row.excepted.len(),
                controls.join("; ")
            ));
        }
        page.push_str(&format!("\n{}\n", self.totals()));
        let excepted = self.rows.iter().flat_map(|row| row.excepted.iter().map(move |case| (row, case)));
        for (index, (row, (number, name, reason))) in excepted.enumerate() {
            let title = if index == 0 { "\n## Excepted\n" } else { "" };
            page.push_str(&format!("{title}* {} case {number} ({name}): {reason}\n", row.id));
        }
        let accepted = self.rows.iter().flat_map(|row| row.accepted.iter().map(move |what| (row, what)));
        for (index, (row, what)) in accepted.enumerate() {
            let title = if index == 0 { "\n## Accepted\n" } else { "" };
            page.push_str(&format!("{title}* {}: {what}\n", row.id));
        }
        page
    }

    fn totals(&self) -> String {
        format!(
            "{} rows, {} cases: {} held, {} escaped, {} broken, {} excepted; {} of {} rows red against their controls.",
            self.rows.len(),
            self.sum(|row| row.played),
            self.sum(|row| row.held),
            self.sum(|row| row.escaped.len()),
            self.sum(|row| row.broken.len()),
            self.sum(|row| row.excepted.len()),
            self.sum(|row| row.control_is_red().into()),
            self.rows.len()
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} (seed {})", self.campaign, self.title, self.seed)?;
        writeln!(f, "row     cases attempts  held escaped broken excepted control  seconds  what must hold")?;
        for row in &self.rows {
            writeln!(
                f,
                "{:7} {:>5} {:>8} {:>5} {:>7} {:>6} {:>8} {:>7} {:>8.1}  {}",
                row.id,
                row.played,
                row.attempts,
                row.held,
                row.escaped.len(),
                row.broken.len(),
                row.excepted.len(),
                if row.control_is_red() { "red" } else { "NOT RED" },
                row.seconds,
                row.title
            )?;
        }
        for complaint in self.complaints() {
            writeln!(f, "{complaint}")?;
        }
        write!(f, "{}", self.totals())
    }
}
