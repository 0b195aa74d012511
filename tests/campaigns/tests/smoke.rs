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

#[test]
fn what_joins_a_container_brings_nothing_of_the_host() {
    play("S1", &["S1.01", "S1.02", "S1.03"]);
}

#[test]
fn kernel_file_systems_are_set_up_inside() {
    play("S1", &["S1.04", "S1.05", "S1.06", "S1.07", "S1.08"]);
}

#[test]
fn mounts_land_inside_or_nowhere() {
    play("S1", &["S1.09", "S1.10", "S1.11", "S1.13"]);
}

#[test]
fn the_kernel_is_out_of_reach() {
    play("S1", &["S1.14", "S1.15", "S1.16", "S1.17", "S1.18"]);
}

#[test]
fn words_of_an_image_stay_words() {
    play("S1", &["S1.12", "S1.19", "S1.20"]);
}

#[test]
fn copies_stay_inside_while_paths_change() {
    play("S2", &["S2.01", "S2.04"]);
}

#[test]
fn copies_use_nothing_of_the_image() {
    play("S2", &["S2.02", "S2.03"]);
}

#[test]
fn copies_bring_no_rights_and_end() {
    play("S2", &["S2.05", "S2.06", "S2.07", "S2.08"]);
}
