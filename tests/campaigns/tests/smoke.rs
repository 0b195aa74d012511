//! Every row of every campaign with as few attempts as show that it works.
#![allow(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use gdn_campaigns::{Attempts, Plan, run};

fn play(campaign: &str, rows: &[&str]) {
    let report = run(&Plan::new(campaign, rows, Attempts::Fewest), |_| {}).unwrap();
    println!("{report}");
    assert!(report.is_good(), "{:#?}", report.complaints());
}

#[test]
fn users_and_groups_are_what_the_image_says() {
    play("S4", &["S4.01"]);
}

#[test]
fn every_system_call_answers_as_declared() {
    play("S5", &["S5.01"]);
}
