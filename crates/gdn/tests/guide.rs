//! docs/migration.md against the repository: what it says is shown by a test is.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Every file of Rust below a directory, as one text.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn the_guide_names_tests_that_there_are_for_each_defect() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = fs::read_to_string(root.join("docs/migration.md")).unwrap();
    let mut text = String::new();
    sources(&root.join("tests/engine"), &mut text);
    sources(&root.join("crates"), &mut text);
    let (_, defects) = guide.split_once("## The 28 defects").unwrap();
    for number in 1..=28 {
        let row = defects.lines().find(|line| line.starts_with(&format!("| {number} |")));
        let row = row.unwrap_or_else(|| panic!("defect {number} has no row"));
        let tests: Vec<&str> = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        for test in tests {
            assert!(text.contains(&format!("fn {test}(")), "defect {number}: there is no test {test}");
        }
    }
}
