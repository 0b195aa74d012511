//! Network plug-ins, which are not there yet.

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
        "the engine has no network plug-ins yet: no option names a program, and none is run for a network",
    );
}
