//! Tests that cannot run in the guest, each with what the guest lacks. An entry that names no test is an error.

/// A test program, a test of it (or with `*` at the end, all that begin so), and why it is left out.
pub(super) struct Skip {
    pub(super) suite: &'static str,
    pub(super) test: &'static str,
    pub(super) reason: &'static str,
}

pub(super) const SKIPS: &[Skip] = &[];
