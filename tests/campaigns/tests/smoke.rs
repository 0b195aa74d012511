//! Every row of every campaign with as few attempts as show that it works.
#![allow(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use gdn_campaigns::{Attempts, Plan, find, run};

fn play(campaign: &str, rows: &[&str]) {
    let report = run(&Plan::new(campaign, rows, Attempts::Fewest), |_| {}).unwrap();
    println!("{report}");
    assert!(report.is_good(), "{:#?}", report.complaints());
}

const USERS: &[&str] = &["S4.01", "S4.02", "S4.03", "S4.04", "S4.05"];
const CAPABILITIES: &[&str] = &["S4.06", "S4.07", "S4.09"];
const SECRETS: &[&str] = &["S4.08", "S4.10", "S4.11", "S4.12"];
const IDENTITY: &[&str] = &["S4.13", "S4.14"];
const CALLS: &[&str] = &["S5.01", "S5.02", "S5.03"];
const REACH: &[&str] = &["S5.04", "S5.05", "S5.06", "S5.07", "S5.08"];
const ABUSE: &[&str] = &["S5.09"];
const FORGED: &[&str] = &["S6.01", "S6.02", "S6.03"];
const RULES: &[&str] = &["S6.04", "S6.06", "S6.08"];
const MOMENTS: &[&str] = &["S6.05", "S6.09", "S6.10"];
const CRAFTED: &[&str] = &["S6.07", "S6.11"];

#[test]
fn users_and_groups_are_what_the_image_says() {
    play("S4", USERS);
}

#[test]
fn capabilities_are_those_declared_and_never_handed_on() {
    play("S4", CAPABILITIES);
}

#[test]
fn environments_terminals_and_keyrings_stay_where_they_belong() {
    play("S4", SECRETS);
}

#[test]
fn processes_inherit_nothing_of_the_host() {
    play("S4", IDENTITY);
}

#[test]
fn every_system_call_answers_as_declared() {
    play("S5", CALLS);
}

#[test]
fn nothing_outside_of_a_container_is_reached() {
    play("S5", REACH);
}

#[test]
fn a_greedy_container_leaves_its_neighbours_theirs() {
    play("S5", ABUSE);
}

#[test]
fn nobody_on_a_network_passes_for_another() {
    play("S6", FORGED);
}

#[test]
fn rules_of_a_network_open_what_they_say_and_are_made_by_no_word() {
    play("S6", RULES);
}

#[test]
fn there_is_no_moment_without_rules() {
    play("S6", MOMENTS);
}

#[test]
fn odd_packets_and_changed_links_get_round_no_rule() {
    play("S6", CRAFTED);
}

#[test]
fn every_row_is_played_here() {
    let kernel = [USERS, CAPABILITIES, SECRETS, IDENTITY, CALLS, REACH, ABUSE].concat();
    let played = [&kernel[..], FORGED, RULES, MOMENTS, CRAFTED].concat();
    for campaign in ["S4", "S5", "S6"] {
        for row in find(campaign).unwrap().rows {
            assert!(played.contains(&row.id), "{}", row.id);
        }
    }
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
