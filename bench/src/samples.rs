//! Samples of one row, and what is said of them.

use serde::Serialize;

/// One row's measurements, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    values: Vec<f64>,
    pub(crate) failures: Vec<String>,
}

/// What is reported of a row, in microseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) failures: usize,
    pub(crate) min: f64,
    pub(crate) p10: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Nothing when every round failed.
    pub(crate) fn summary(&self) -> Option<Summary> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| sorted[(last * percent).div_ceil(100)];
        Some(Summary {
            count: sorted.len(),
            failures: self.failures.len(),
            min: sorted[0],
            p10: at(10),
            p50: at(50),
            p90: at(90),
            p99: at(99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut samples = Samples::default();
        (1..=100).rev().for_each(|value| samples.add(f64::from(value)));
        let summary = samples.summary().unwrap();
        assert_eq!((summary.min, summary.p10, summary.p50, summary.p99), (1.0, 11.0, 51.0, 100.0));
    }

    #[test]
    fn no_sample_has_no_summary() {
        assert!(Samples::default().summary().is_none());
    }
}
