//! The rules. Each gives `LINE: what is wrong` for a file.

use std::path::Path;

/// Longest hand-written source file, in lines. Files of this workspace have about 130; one this long has two subjects.
const MAX_LINES: usize = 600;

/// Directories that exist only on one person's machine or build host.
const MACHINE_PATHS: [&str; 4] = ["/work/", "/Users/", "/home/runner/", "/root/."];

/// This file spells out what it looks for.
const RULES: &str = "xtask/src/tidy/rules.rs";

pub(super) fn check(root: &Path, file: &Path, text: &str) -> Vec<String> {
    if file == Path::new(RULES) {
        return Vec::new();
    }
    let mut faults = machine_paths(text);
    match file.extension().and_then(std::ffi::OsStr::to_str) {
        Some("rs") if !is_generated(text) => {
            faults.extend(length(text));
            faults.extend(unfinished(text));
            faults.extend(ignored_tests(text));
        }
        Some("md") => faults.extend(dead_links(root, file, text)),
        _ => {}
    }
    faults
}

/// Generated files say so in their first line, as rustfmt and review tools expect.
fn is_generated(text: &str) -> bool {
    text.lines().take(3).any(|line| line.contains("@generated"))
}

fn length(text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES).then(|| format!("{lines}: the file is longer than {MAX_LINES} lines"))
}

fn unfinished(text: &str) -> Vec<String> {
    each_line(text, |line| {
        ["todo!(", "unimplemented!("]
            .iter()
            .find(|word| line.contains(**word))
            .map(|word| format!("{word}) is no code"))
    })
}

/// `#[ignore]` must say why: `#[ignore = "reason"]`.
fn ignored_tests(text: &str) -> Vec<String> {
    each_line(text, |line| {
        line.trim().starts_with("#[ignore]").then(|| "a test is ignored without a reason".into())
    })
}

fn machine_paths(text: &str) -> Vec<String> {
    each_line(text, |line| {
        let found = MACHINE_PATHS.iter().find(|path| {
            line.match_indices(**path)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c)))
        });
        found
            .filter(|_| !line.contains("tidy: a path inside"))
            .map(|path| format!("a path of one machine ({path}...)"))
    })
}

/// Relative links of Markdown must lead to a file.
fn dead_links(root: &Path, file: &Path, text: &str) -> Vec<String> {
    let directory = root.join(file).parent().expect("a file has a directory").to_path_buf();
    each_line(text, |line| {
        let targets =
            line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
        targets
            .filter(|target| {
                !target.contains("://") && !target.starts_with(['#', '<']) && !target.starts_with("mailto:")
            })
            .map(|target| target.split('#').next().unwrap_or(target).split(' ').next().unwrap_or(target))
            .find(|target| !directory.join(target).exists())
            .map(|target| format!("the link {target} leads nowhere"))
    })
}

fn each_line(text: &str, rule: impl Fn(&str) -> Option<String>) -> Vec<String> {
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| Some(format!("{}: {}", index + 1, rule(line)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(name: &str, text: &str) -> Vec<String> {
        check(Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(name), text)
    }

    #[test]
    fn each_rule_finds_what_it_looks_for() {
        assert!(faults("a.rs", &"//\n".repeat(MAX_LINES + 1))[0].contains("longer"));
        assert!(faults("a.rs", "fn f() {\n    todo!()\n}")[0].starts_with("2: todo!("));
        assert!(faults("a.rs", "    #[ignore]\n")[0].contains("without a reason"));
        assert!(faults("a.rs", "let x = \"/Users/me/x\";")[0].contains("one machine"));
        assert!(faults("a.md", "see [x](missing.md) there")[0].contains("missing.md"));
    }

    #[test]
    fn what_is_in_order_is_left_alone() {
        assert!(
            faults(
                "a.rs",
                "#[ignore = \"needs two hosts\"]\nlet p = root.join(\"run/work/x\"); // {}/work/dir\n"
            )
            .is_empty()
        );
        assert!(faults("a.rs", &format!("// @generated\n{}", "//\n".repeat(MAX_LINES))).is_empty());
        assert!(
            faults("a.md", "[manifest](Cargo.toml) [site](https://example.org) [part](#part)").is_empty()
        );
    }
}
