//! All cases, one after the other.

use std::fmt;

use crate::bed::{Bed, Verdict};
use crate::script::Scenario;

/// Which cases to play.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// With which kind of container.
    pub scenario: Scenario,
    /// The first call to kill before, from 1.
    pub first: u64,
    /// The last one; `None` = as many as the script makes, and some more, since their number varies.
    pub last: Option<u64>,
    /// How far from one to the next.
    pub step: u64,
    /// Decides the order in which the cases are played: one case may prepare the next one's failure.
    pub seed: u64,
}

/// Above the number of calls counted once: threads race, so that another run may make some more.
const MARGIN: u64 = 5;

/// What came of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The kind of container.
    pub scenario: Scenario,
    /// Calls counted in a run without a kill.
    pub calls: u64,
    /// Cases played.
    pub cases: u64,
    /// Cases in which the chosen call was reached and the server killed before it; in the others after the script.
    pub reached: u64,
    /// Violations of I4.
    pub leaks: usize,
    /// Violations of I1 to I3.
    pub lost: usize,
    /// The cases that failed: k, the call not made, and what is wrong.
    pub failures: Vec<(u64, String, Vec<String>)>,
}

impl Campaign {
    /// Plays every case; `tell` hears of each.
    ///
    /// # Errors
    /// When a case cannot be played.
    pub fn run(&self, mut tell: impl FnMut(u64, &Verdict, &Bed)) -> anyhow::Result<Summary> {
        let mut bed = Bed::make(self.scenario)?;
        let whole = bed.case(None)?;
        let calls = whole.trail.calls.len() as u64;
        let mut summary = Summary { scenario: self.scenario, calls, ..Summary::default() };
        tell(0, &whole, &bed);
        summary.count(0, &whole);
        for k in self.order(summary.calls) {
            let verdict = bed.case(Some(k))?;
            tell(k, &verdict, &bed);
            summary.count(k, &verdict);
            if !verdict.violations.is_empty() {
                // What one case left must not be held against the next.
                bed.clear()?;
                bed = Bed::make(self.scenario)?;
            }
        }
        Ok(summary)
    }

    fn order(&self, calls: u64) -> Vec<u64> {
        let last = self.last.unwrap_or(calls + MARGIN);
        let step = usize::try_from(self.step.max(1)).unwrap_or(usize::MAX);
        let mut cases: Vec<u64> = (self.first.max(1)..=last).step_by(step).collect();
        cases.sort_by_key(|k| mixed(self.seed ^ k));
        cases
    }
}

/// The finalizer of splitmix64: a number that looks like chance.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Summary {
    fn count(&mut self, k: u64, verdict: &Verdict) {
        self.cases += 1;
        self.reached += u64::from(verdict.trail.reached);
        let (leaks, lost): (Vec<_>, Vec<_>) =
            verdict.violations.iter().partition(|violation| violation.starts_with("leak: "));
        self.leaks += usize::from(!leaks.is_empty());
        self.lost += usize::from(!lost.is_empty());
        if !verdict.violations.is_empty() {
            self.failures.push((k, verdict.last_call(), verdict.violations.clone()));
        }
    }
}

impl Verdict {
    /// The call that was not made, or `after the script`.
    pub fn last_call(&self) -> String {
        match self.trail.calls.last() {
            Some(call) if self.trail.reached => call.clone(),
            _ => "after the script".to_owned(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "R1.02 {}: K={}, killed at {} of {} (the others after the script), {} leaks, {} lost acknowledgements",
            self.scenario.name(),
            self.calls,
            self.reached,
            self.cases,
            self.leaks,
            self.lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_played_once_whatever_the_seed() {
        for seed in 0..5 {
            let mut order =
                Campaign { scenario: Scenario::Plain, first: 2, last: Some(9), step: 1, seed }.order(0);
            order.sort_unstable();
            assert_eq!(order, (2..=9).collect::<Vec<_>>());
        }
    }

    #[test]
    fn without_a_last_case_the_number_of_calls_decides() {
        let order = Campaign { scenario: Scenario::Plain, first: 1, last: None, step: 10, seed: 0 }.order(20);
        assert_eq!(order.len(), 3, "{order:?}");
    }
}
