pub(super) fn lists(_: &mut crate::Stage<'_>) {}
