//! S4: users, groups, capabilities, keyrings, terminals and what makes a process.

mod users;

use crate::{Campaign, Row};

/// The campaign.
pub(super) const CAMPAIGN: Campaign = Campaign {
    id: "S4",
    title: "users, groups, capabilities, keyrings, terminals, identity of processes",
    rows: &[Row {
        id: "S4.01",
        title: "a user that is no number of 32 bits and no name is refused, and never becomes user 0",
        reference: "CVE-2024-40635, CVE-2026-46680",
        cases: 26,
        attempts: 1,
        play: users::numbers_out_of_range,
    }],
};
