//! The campaigns.

mod lab;
mod s1;
mod s2;
mod s4;
mod s5;
mod s6;

use crate::Campaign;

/// All campaigns, in order.
const CAMPAIGNS: &[Campaign] = &[s1::CAMPAIGN, s2::CAMPAIGN, s4::CAMPAIGN, s5::CAMPAIGN, s6::CAMPAIGN];

/// A campaign by its id.
pub fn find(id: &str) -> Option<&'static Campaign> {
    CAMPAIGNS.iter().find(|campaign| campaign.id.eq_ignore_ascii_case(id))
}

/// The ids of all.
pub fn names() -> Vec<&'static str> {
    CAMPAIGNS.iter().map(|campaign| campaign.id).collect()
}
