//! What the index does not know yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::writer::Change;

/// Changes that the index has not been given: of each key the last.
///
/// Nothing depends on it: the journal holds the same, and a start applies whatever the index lacks.
#[derive(Debug, Default)]
pub(super) struct Lag {
    latest: BTreeMap<Arc<[u8]>, Option<Arc<[u8]>>>,
    noted: usize,
}

impl Lag {
    pub(super) fn note(&mut self, changes: Vec<Change>) {
        self.noted += changes.len();
        self.latest.extend(changes);
    }

    /// How many changes were noted; those that a later one of the same key replaced count too.
    pub(super) fn noted(&self) -> usize {
        self.noted
    }

    /// Takes everything out.
    pub(super) fn take(&mut self) -> Vec<Change> {
        self.noted = 0;
        std::mem::take(&mut self.latest).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_key_the_last_change_is_kept() {
        let change = |key: &str, value: Option<&str>| -> Change {
            (key.as_bytes().into(), value.map(|value| value.as_bytes().into()))
        };
        let mut lag = Lag::default();
        lag.note(vec![change("a", Some("1")), change("b", Some("2"))]);
        lag.note(vec![change("a", None), change("b", Some("3"))]);
        assert_eq!(lag.noted(), 4);
        assert_eq!(lag.take(), [change("a", None), change("b", Some("3"))]);
        assert!(lag.noted() == 0 && lag.take().is_empty());
    }
}
