//! S2: tars that go in and come out while the container does what it can about it.

mod entries;
mod paths;
mod poison;
mod races;
mod specials;

use crate::{Bed, Campaign, Row, Stage};

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    id: "S2",
    title: "copies into containers and out of them",
    bed: Bed::start,
    rows: &[
        row(
            "S2.01",
            "CVE-2018-15664, CVE-2019-10152, CVE-2019-18466, CVE-2015-5350",
            12,
            2000,
            races::directories,
            "a copy never leaves the container while its path is exchanged with a link",
        ),
        row(
            "S2.02",
            "CVE-2019-14271",
            6,
            1,
            poison::libraries,
            "a copy opens no library and no configuration of the image",
        ),
        row(
            "S2.03",
            "CVE-2026-41567",
            12,
            1,
            poison::programs,
            "a copy runs no program of the image, whatever the stream looks like",
        ),
        row(
            "S2.04",
            "CVE-2026-41568, CVE-2026-42306",
            6,
            2000,
            races::volumes,
            "a copy through a shared volume never leaves it while its path is exchanged with a link",
        ),
        row(
            "S2.05",
            "CVE-2021-41089, CVE-2021-32760, CVE-2026-33056",
            10,
            1,
            entries::links_first,
            "an entry is never written through a link of the same name",
        ),
        row("S2.06", "", 14, 1, entries::rights, "a tar brings no rights that its user does not have"),
        row("S2.07", "", 10, 1, specials::files, "a copy of something that is no file ends"),
        row("S2.08", "", 24, 1, paths::table, "paths mean what the Garden API says"),
    ],
};

const fn row(
    id: &'static str,
    reference: &'static str,
    cases: usize,
    attempts: u32,
    play: fn(&mut Stage<'_>),
    title: &'static str,
) -> Row {
    Row { id, title, reference, cases, attempts, play }
}
