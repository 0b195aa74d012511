//! Network plug-ins, which are not played here yet.

use crate::Stage;

const CASES: [&str; 12] = [
    "a type with a path in it",
    "a type that is a link",
    "a program that is not there",
    "no JSON",
    "half an answer",
    "an answer of 1 GiB",
    "an answer without an end",
    "a status of 1",
    "a death by a signal",
    "no end",
    "children that outlive it",
    "addresses that are others'",
];

pub(super) fn absent(stage: &mut Stage<'_>) {
    stage.absent(
        &CASES,
        "network plug-ins are newer than the campaign, which does not play them yet; the black-box test \
         a_plug_in_that_fails_costs_one_container_and_leaves_nothing shows what comes of bad ones",
    );
}
