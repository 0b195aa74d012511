//! Where a row is played.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::report::{ControlReport, RowReport};
use crate::{Bed, Dice, Row, Verdict};

/// Where a row is played: counts its cases and keeps their verdicts.
pub struct Stage<'a> {
    bed: &'a mut Bed,
    row: &'a Row,
    only: Option<usize>,
    seed: u64,
    pub(crate) report: RowReport,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(bed: &'a mut Bed, row: &'a Row, attempts: u32, seed: u64, only: Option<usize>) -> Self {
        Stage { bed, row, only, seed, report: RowReport::new(row, attempts) }
    }

    /// The bed, for what all cases of a row need.
    pub fn bed(&mut self) -> &mut Bed {
        self.bed
    }

    /// How many attempts each case of a row with loops makes.
    pub fn attempts(&self) -> u32 {
        self.report.attempts
    }

    /// For how long something that is measured in time goes on: one second for each attempt.
    pub fn bound(&self) -> Duration {
        Duration::from_secs(self.attempts().into())
    }

    /// Chance, the same for the same seed and case.
    pub fn dice(&self) -> Dice {
        let row =
            self.row.id.bytes().fold(self.seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Dice::new(row.wrapping_mul(1009).wrapping_add(self.report.played as u64))
    }

    /// Whether the next case is one of those to be played: asked by rows with costly preparations.
    pub fn wants_next(&self) -> bool {
        self.wants(self.report.played + 1)
    }

    /// Whether the case of this number is one of those to be played.
    pub fn wants(&self, number: usize) -> bool {
        self.only.is_none_or(|only| only == number)
    }

    /// Plays the next case.
    pub fn case(&mut self, name: impl Into<String>, attempt: impl FnOnce(&mut Bed) -> Verdict) {
        let wanted = self.wants_next();
        self.report.played += 1;
        if wanted {
            let verdict = guarded(|| attempt(self.bed));
            self.report.note(self.report.played, name.into(), verdict);
        }
    }

    /// Plays the next case, of which is known that it escapes and why nothing is done about it. The report tells it apart;
    /// where it holds, on another kernel or host, it counts as held.
    pub fn excepted(
        &mut self,
        name: impl Into<String>,
        reason: &str,
        attempt: impl FnOnce(&mut Bed) -> Verdict,
    ) {
        let wanted = self.wants_next();
        self.report.played += 1;
        if wanted {
            let name = name.into();
            match guarded(|| attempt(self.bed)) {
                Verdict::Escaped(_) => {
                    self.report.excepted.push((self.report.played, name, reason.to_owned()))
                }
                verdict => self.report.note(self.report.played, name, verdict),
            }
        }
    }

    /// What the row does not hold against the target, because it is what is promised; the page tells it.
    pub fn accepts(&mut self, what: impl Into<String>) {
        self.report.accepted.push(what.into());
    }

    /// Plays the same against a target known to be weak, which must come out as [`Verdict::Escaped`].
    pub fn control(&mut self, name: impl Into<String>, attempt: impl FnOnce(&mut Bed) -> Verdict) {
        let (red, told) = match guarded(|| attempt(self.bed)) {
            Verdict::Escaped(evidence) => (true, evidence),
            Verdict::Held => (false, "the attempt did not escape from the weak target".to_owned()),
            Verdict::Broken(error) => (false, error),
        };
        self.report.controls.push(ControlReport { name: name.into(), red, told });
    }
}

/// A panic of an attempt is an attempt that could not be made.
pub(crate) fn guarded(attempt: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|panic| Verdict::Broken(message(&*panic)))
}

pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").chars().take(2000).collect()
}
