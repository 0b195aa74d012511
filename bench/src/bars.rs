//! The goals, each with the rows that it compares.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::samples::Summary;

/// A goal, and whether this run met it.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) text: String,
    pub(crate) met: bool,
}

/// Everything measured: rows by name, and single figures by name.
pub(crate) struct Results {
    pub(crate) rows: BTreeMap<&'static str, Summary>,
    pub(crate) figures: BTreeMap<&'static str, f64>,
}

/// `p50(ours) <= factor x p50(theirs)`.
const RATIOS: [(&str, &str, f64); 6] = [
    ("gdn cycle", "floor cycle", 3.0),
    ("gdn cycle", "runc run", 1.0 / 4.0),
    ("gdn cycle", "crun run", 1.0 / 2.0),
    ("gdn exec", "floor exec", 5.0),
    ("gdn exec tty", "floor exec", 5.0),
    ("gdn exec", "crun exec", 1.0 / 4.0),
];

/// Longest p50 of a row, in microseconds.
const LONGEST: [(&str, f64); 1] = [("gdn destroy", 5_000.0)];

/// Least or most of a figure.
const FIGURES: [(&str, Bound); 3] = [
    ("KB per idle container", Bound::Most(300.0)),
    ("extra processes per process", Bound::Most(0.0)),
    ("stdout MB/s", Bound::Least(300.0)),
];

/// Most time of a cycle when cycles follow each other at once, in times the floor's.
const BACK_TO_BACK: f64 = 3.0;

enum Bound {
    Most(f64),
    Least(f64),
}

/// The goals whose rows this run has.
pub(crate) fn check(results: &Results) -> Vec<Bar> {
    let p50 = |name: &str| results.rows.get(name).map(|row| row.p50);
    let mut bars = Vec::new();
    for (ours, theirs, factor) in RATIOS {
        if let (Some(left), Some(right)) = (p50(ours), p50(theirs)) {
            let text = format!("{ours} is {} ({})", ratio(left, right, theirs), goal(factor));
            bars.push(Bar { text, met: left <= factor * right });
        }
    }
    for (row, longest) in LONGEST {
        if let Some(p50) = p50(row) {
            let text = format!("{row} takes {:.2} ms (goal: at most {} ms)", p50 / 1000.0, longest / 1000.0);
            bars.push(Bar { text, met: p50 <= longest });
        }
    }
    for (figure, bound) in FIGURES {
        if let Some(value) = results.figures.get(figure) {
            let (met, goal) = match bound {
                Bound::Most(most) => (*value <= most, format!("at most {most}")),
                Bound::Least(least) => (*value >= least, format!("at least {least}")),
            };
            bars.push(Bar { text: format!("{figure}: {value:.1} (goal: {goal})"), met });
        }
    }
    if let (Some(floor), Some(gdn)) =
        (results.figures.get("floor cycles/s"), results.figures.get("cycles/s by 1 worker"))
    {
        let text = format!(
            "back to back a cycle takes {:.2} x the floor's (goal: at most {BACK_TO_BACK} x)",
            floor / gdn
        );
        bars.push(Bar { text, met: floor / gdn <= BACK_TO_BACK });
    }
    bars
}

fn ratio(left: f64, right: f64, theirs: &str) -> String {
    if left <= right {
        format!("{:.2} x faster than {theirs}", right / left)
    } else {
        format!("{:.2} x {theirs}", left / right)
    }
}

fn goal(factor: f64) -> String {
    if factor < 1.0 {
        format!("goal: {:.0} x faster", 1.0 / factor)
    } else {
        format!("goal: at most {factor} x")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(rows: &[(&'static str, f64)], figures: &[(&'static str, f64)]) -> Results {
        let summary = |p50| Summary { count: 1, failures: 0, min: p50, p10: p50, p50, p90: p50, p99: p50 };
        Results {
            rows: rows.iter().map(|(name, p50)| (*name, summary(*p50))).collect(),
            figures: figures.iter().copied().collect(),
        }
    }

    #[test]
    fn a_ratio_at_the_goal_is_met_and_one_beyond_is_not() {
        assert!(check(&results(&[("gdn cycle", 3.0), ("floor cycle", 1.0)], &[]))[0].met);
        assert!(!check(&results(&[("gdn cycle", 3.1), ("floor cycle", 1.0)], &[]))[0].met);
        assert!(check(&results(&[("gdn cycle", 1.0), ("runc run", 4.0)], &[]))[0].met);
        assert!(!check(&results(&[("gdn cycle", 1.0), ("runc run", 3.9)], &[]))[0].met);
    }

    #[test]
    fn absolute_goals_are_checked_both_ways() {
        assert!(!check(&results(&[("gdn destroy", 5_001.0)], &[]))[0].met);
        assert!(!check(&results(&[], &[("KB per idle container", 301.0)]))[0].met);
        assert!(!check(&results(&[], &[("stdout MB/s", 299.0)]))[0].met);
    }

    #[test]
    fn a_row_that_was_not_measured_has_no_bar() {
        assert!(check(&results(&[("gdn cycle", 3.0)], &[])).is_empty());
    }
}
