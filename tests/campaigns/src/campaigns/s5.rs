//! S5: what of the kernel a container reaches.

mod calls;
mod dangerous;

use crate::{Campaign, Row};

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    id: "S5",
    title: "the kernel's surface",
    rows: &[Row {
        id: "S5.01",
        title: "every system call number of x86_64, x32 and i386 is allowed, refused or unknown as declared",
        reference: "",
        cases: calls::CASES,
        attempts: 1,
        play: calls::every_number,
    }],
};
