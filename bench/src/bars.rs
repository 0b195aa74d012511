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
const RATIOS: [(&str, &str, f64); 8] = [
    ("gdn cycle", "floor cycle", 1.8),
    ("gdn net cycle", "floor net cycle", 2.0),
    ("gdn net cycle", "podman run", 1.0 / 40.0),
    ("gdn cycle", "runc run", 1.0 / 4.0),
    ("gdn cycle", "crun run", 1.0 / 2.0),
    ("gdn exec", "floor exec", 2.5),
    ("gdn exec tty", "gdn exec", 1.3),
    ("gdn exec", "crun exec", 1.0 / 8.0),
];

/// `ours <= factor x theirs`, of figures.
const FIGURE_RATIOS: [(&str, &str, f64); 4] = [
    ("us for the last creates of the ramp", "us for the first creates", 1.3),
    ("us round trip in the crowd", "us round trip alone", 1.08),
    ("CPU us per cycle", "floor CPU us per cycle", 2.0),
    ("cycle beside hogs p99 ms", "quiet cycle p99 ms", 3.0),
];

/// `ours >= part x theirs`, of figures: throughput. A cycle back to back may take 1.8 x the floor's.
const SHARES: [(&str, &str, f64); 5] = [
    ("net cycles/s by 8 workers", "floor net cycles/s by 8 workers", 0.5),
    ("MB/s in the crowd", "MB/s alone", 0.95),
    ("http stdout MB/s", "splice MB/s", 0.8),
    ("cycles/s by 1 worker", "floor cycles/s", 1.0 / 1.8),
    ("execs/s by 8 workers", "floor execs/s by 8 workers", 0.6),
];

/// Longest p50 of a row, in microseconds.
const LONGEST: [(&str, f64); 3] =
    [("gdn destroy", 5_000.0), ("gdn http exec", 1_500.0), ("gdn http ping", 200.0)];

/// `p50(ours) <= p50(theirs) + difference`, in microseconds.
const DIFFERENCES: [(&str, &str, f64); 1] = [("gdn http cycle", "gdn cycle", 500.0)];

/// Least or most of a figure.
const FIGURES: [(&str, Bound); 10] = [
    ("ms for 3000 rules", Bound::Most(6.0)),
    ("ms to destroy at once", Bound::Most(250.0)),
    ("ms until the host is clean", Bound::Most(5000.0)),
    ("KB per idle container", Bound::Most(150.0)),
    ("extra processes per process", Bound::Most(0.0)),
    ("ms for metrics of 50", Bound::Most(5.0)),
    ("stdout MB/s", Bound::Least(300.0)),
    ("ms for a list of 1000", Bound::Most(2.0)),
    ("http StreamIn MB/s", Bound::Least(800.0)),
    ("http StreamOut MB/s", Bound::Least(800.0)),
];

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
    for (ours, theirs, most) in DIFFERENCES {
        if let (Some(left), Some(right)) = (p50(ours), p50(theirs)) {
            let text =
                format!("{ours} takes {:.0} us more than {theirs} (goal: at most {most} us)", left - right);
            bars.push(Bar { text, met: left - right <= most });
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
    let figure = |name: &str| results.figures.get(name).copied();
    for (ours, theirs, factor) in FIGURE_RATIOS {
        if let (Some(left), Some(right)) = (figure(ours), figure(theirs)) {
            let text = format!("{ours} is {:.2} x {theirs} (goal: at most {factor} x)", left / right);
            bars.push(Bar { text, met: left <= factor * right });
        }
    }
    for (ours, theirs, part) in SHARES {
        if let (Some(left), Some(right)) = (figure(ours), figure(theirs)) {
            let percent = |part: f64| part * 100.0;
            let text = format!(
                "{ours} are {:.0}% of {theirs} (goal: at least {:.0}%)",
                percent(left / right),
                percent(part)
            );
            bars.push(Bar { text, met: left >= part * right });
        }
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
        assert!(check(&results(&[("gdn cycle", 1.8), ("floor cycle", 1.0)], &[]))[0].met);
        assert!(!check(&results(&[("gdn cycle", 1.9), ("floor cycle", 1.0)], &[]))[0].met);
        assert!(check(&results(&[("gdn cycle", 1.0), ("runc run", 4.0)], &[]))[0].met);
        assert!(!check(&results(&[("gdn cycle", 1.0), ("runc run", 3.9)], &[]))[0].met);
    }

    #[test]
    fn absolute_goals_are_checked_both_ways() {
        assert!(!check(&results(&[("gdn destroy", 5_001.0)], &[]))[0].met);
        assert!(!check(&results(&[], &[("KB per idle container", 151.0)]))[0].met);
        assert!(!check(&results(&[], &[("stdout MB/s", 299.0)]))[0].met);
    }

    #[test]
    fn a_difference_at_the_goal_is_met_and_one_beyond_is_not() {
        let met = |ours| {
            check(&results(&[("gdn http cycle", ours), ("gdn cycle", 1_000.0)], &[])).last().unwrap().met
        };
        assert!(met(1_500.0) && !met(1_501.0));
    }

    #[test]
    fn figures_are_compared_with_each_other() {
        let met = |ours, theirs| {
            check(&results(&[], &[("execs/s by 8 workers", ours), ("floor execs/s by 8 workers", theirs)]))[0]
                .met
        };
        assert!(met(60.0, 100.0) && !met(59.0, 100.0));
        let met = |ours, theirs| {
            check(&results(&[], &[("CPU us per cycle", ours), ("floor CPU us per cycle", theirs)]))[0].met
        };
        assert!(met(2.0, 1.0) && !met(2.1, 1.0));
    }

    #[test]
    fn a_row_that_was_not_measured_has_no_bar() {
        assert!(check(&results(&[("gdn cycle", 3.0)], &[])).is_empty());
    }
}
