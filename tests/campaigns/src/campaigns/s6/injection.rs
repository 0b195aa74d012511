pub(super) fn words(_: &mut crate::Stage<'_>) {}
