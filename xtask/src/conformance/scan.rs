//! Which tests cite which rows.

use anyhow::{Result, bail};

use super::table::RowId;

/// How a doc comment names rows.
const WORD: &str = "/// Conformance: ";

/// A row that a test says it shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Citation {
    pub(super) row: RowId,
    /// `FILE: NAME`.
    pub(super) test: String,
    /// Whether the test runs only when it is asked for.
    pub(super) ignored: bool,
}

/// The citations of one source file.
///
/// The text is read line by line: from a doc comment that cites, over attributes, to the function. What stands between them
/// is the formatter's to decide, and it puts each attribute on lines of its own.
pub(super) fn citations(file: &str, text: &str) -> Result<Vec<Citation>> {
    let mut found = Vec::new();
    let mut pending = Pending::default();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if let Some(rows) = line.strip_prefix(WORD) {
            for row in rows.split(',') {
                pending.rows.extend(RowId::range(row.trim())?);
            }
        } else if line.starts_with("#[") {
            pending.test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            pending.ignored |= line.starts_with("#[ignore");
        } else if let Some(name) = function(line) {
            let Pending { rows, test, ignored } = std::mem::take(&mut pending);
            if !rows.is_empty() && !test {
                bail!("{file}:{}: {name} cites rows and is no test", index + 1);
            }
            let citation = |row| Citation { row, test: format!("{file}: {name}"), ignored };
            found.extend(rows.into_iter().map(citation));
        } else if line.is_empty() || line == "}" {
            if !pending.rows.is_empty() {
                bail!("{file}:{}: a citation stands before no function", index + 1);
            }
            pending = Pending::default();
        }
    }
    Ok(found)
}

/// What was seen above the function to come.
#[derive(Default)]
struct Pending {
    rows: Vec<RowId>,
    test: bool,
    ignored: bool,
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_ranges_and_lists_over_any_attributes() {
        let source = "/// It flies.\n///\n/// Conformance: G1, G3-4\n#[tokio::test]\nasync fn flies() {\n}\n\n#[test]\nfn other() {}\n";
        let found = citations("a.rs", source).unwrap();
        let rows: Vec<_> = found.iter().map(|citation| citation.row.to_string()).collect();
        assert_eq!(rows, ["G1", "G3", "G4"]);
        assert!(found.iter().all(|citation| citation.test == "a.rs: flies" && !citation.ignored));
    }

    #[test]
    fn an_ignored_test_is_told_as_such() {
        let found =
            citations("a.rs", "/// Conformance: G1\n#[test]\n#[ignore = \"broken\"]\nfn f() {}\n").unwrap();
        assert!(found[0].ignored);
        let found =
            citations("a.rs", "#[ignore = \"x\"]\nfn f() {\n}\n/// Conformance: G1\n#[test]\nfn g() {}");
        assert!(!found.unwrap()[0].ignored);
    }

    #[test]
    fn what_cites_without_being_a_test_is_refused() {
        for source in [
            "/// Conformance: G1\nfn f() {}\n",
            "/// Conformance: G1\n\nfn f() {}\n",
            "/// Conformance: one\n#[test]\nfn f() {}\n",
        ] {
            assert!(citations("a.rs", source).is_err(), "{source:?}");
        }
    }
}
