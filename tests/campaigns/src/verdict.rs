//! What came of an attempt.

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target did not give in.
    Held,
    /// It did; the evidence.
    Escaped(String),
    /// The attempt could not be made, which proves nothing; why.
    Broken(String),
}

impl Verdict {
    /// Escaped when this is so.
    pub fn held_unless(escaped: bool, evidence: impl FnOnce() -> String) -> Self {
        if escaped { Verdict::Escaped(evidence()) } else { Verdict::Held }
    }

    /// Held when both are equal.
    pub fn equal<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(seen: T, expected: U) -> Self {
        Verdict::held_unless(seen != expected, || format!("{seen:?} and not {expected:?}"))
    }

    /// The first of them that is not [`Verdict::Held`].
    pub fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Held).unwrap_or(Verdict::Held)
    }

    /// The same with where it was seen.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        match self {
            Verdict::Held => Verdict::Held,
            Verdict::Escaped(evidence) => Verdict::Escaped(format!("{place}: {evidence}")),
            Verdict::Broken(error) => Verdict::Broken(format!("{place}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_verdict_spoils_them_all() {
        assert_eq!(Verdict::all([Verdict::Held, Verdict::Held]), Verdict::Held);
        let escaped = Verdict::equal(1, 2).at("here");
        assert_eq!(escaped, Verdict::Escaped("here: 1 and not 2".into()));
        assert_eq!(Verdict::all([Verdict::Held, escaped.clone()]), escaped);
    }
}
