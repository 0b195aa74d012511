//! Which rows of the conformance tables a test shows, and which are still missing.
//!
//! The tables are `docs/conformance/*.md`; a test names its rows in its doc comment: `/// Conformance: G61, G63-65`.

mod gate;
mod scan;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use gate::Tally;
use scan::Citation;
use table::{Group, Mark, RowId};

/// Where the tables are, from the repository's root.
const TABLES: &str = "docs/conformance";

/// Directories whose sources hold tests, from the repository's root.
const SOURCES: [&str; 2] = ["tests", "crates"];

/// What is asked for on the command line.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only this group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Fails when a row of a required group is missing, or one of Garden's own suite over HTTP.
    #[arg(long)]
    strict: bool,
}

/// How a group stands.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Standing {
    group: String,
    required: bool,
    /// Row to the tests that show it.
    done: BTreeMap<RowId, Vec<String>>,
    /// Those of them that are shown through the gate of Garden's clients.
    over_http: BTreeSet<RowId>,
    /// Row to the reason why none ever will.
    excepted: BTreeMap<RowId, String>,
    /// Row to what it waits for.
    later: BTreeMap<RowId, String>,
    /// Row to what must hold, and to the ignored tests that would show it.
    missing: BTreeMap<RowId, Missing>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Missing {
    holds: String,
    ignored: Vec<String>,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut groups = table::read(&root.join(TABLES))?;
    let citations = citations(root)?;
    let unknown = unknown_rows(&groups, &citations);
    if !unknown.is_empty() {
        bail!("rows that no table has:\n{}", unknown.join("\n"));
    }
    if let Some(name) = &options.group {
        groups.retain(|group| group.name == *name);
        if groups.is_empty() {
            bail!("there is no group {name:?} in {TABLES}");
        }
    }
    let standings: Vec<_> = groups.into_iter().map(|group| standing(group, &citations)).collect();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&standings)?);
    } else {
        standings.iter().for_each(print);
        Tally::of(&standings)?.print();
    }
    let missing: usize = standings.iter().filter(|one| one.required).map(|one| one.missing.len()).sum();
    if options.strict && missing > 0 {
        bail!("{missing} rows of required groups are missing");
    }
    if options.strict { Tally::of(&standings)?.expect_all() } else { Ok(()) }
}

fn citations(root: &Path) -> Result<Vec<Citation>> {
    let mut citations = Vec::new();
    for directory in SOURCES {
        for file in sources(&root.join(directory))? {
            let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            citations.extend(scan::citations(&name, &text)?);
        }
    }
    Ok(citations)
}

/// All Rust files below a directory, in order.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("read directory {}", directory.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort_unstable();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn unknown_rows(groups: &[Group], citations: &[Citation]) -> Vec<String> {
    let known = |id: &RowId| groups.iter().any(|group| group.rows.contains_key(id));
    citations
        .iter()
        .filter(|citation| !known(&citation.row))
        .map(|citation| format!("{} cites {}", citation.test, citation.row))
        .collect()
}

/// A test that runs shows a row, whatever its mark says; one that is ignored does not.
fn standing(group: Group, citations: &[Citation]) -> Standing {
    let mut standing = Standing { group: group.name, required: group.required, ..Standing::default() };
    for (id, row) in group.rows {
        let tests = |ignored: bool| {
            let cites = |citation: &&Citation| citation.row == id && citation.ignored == ignored;
            citations.iter().filter(cites).map(|citation| citation.test.clone()).collect::<Vec<_>>()
        };
        let shown = tests(false);
        if citations.iter().any(|citation| citation.row == id && gate::shows(citation)) {
            standing.over_http.insert(id);
        }
        if !shown.is_empty() {
            standing.done.insert(id, shown);
            continue;
        }
        match row.mark {
            Mark::Except(reason) => drop(standing.excepted.insert(id, reason)),
            Mark::Later(what) => drop(standing.later.insert(id, what)),
            Mark::Due => {
                drop(standing.missing.insert(id, Missing { holds: row.holds, ignored: tests(true) }))
            }
        }
    }
    standing
}

fn print(standing: &Standing) {
    let required = if standing.required { "" } else { " (not required)" };
    println!(
        "{}: {} done, {} excepted, {} later, {} missing{required}",
        standing.group,
        standing.done.len(),
        standing.excepted.len(),
        standing.later.len(),
        standing.missing.len()
    );
    for (id, reason) in &standing.excepted {
        println!("  {id} excepted: {reason}");
    }
    for (id, missing) in &standing.missing {
        println!("  {id} missing: {}", missing.holds);
        for test in &missing.ignored {
            println!("      ignored: {test}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Required: yes\n\n| G1 | it runs | |\n| G2-3 | it stops | |\n| G4 | it flies | except: no wings |\n| G5 | it dives | later: water |\n";

    fn stand(source: &str) -> Standing {
        let group = table::parse("motion", TABLE).unwrap();
        standing(group, &scan::citations("a.rs", source).unwrap())
    }

    #[test]
    fn a_row_is_done_only_by_a_test_that_runs() {
        let standing = stand(
            "/// Conformance: G1\n#[test]\nfn runs() {}\n\
             /// Conformance: G2\n#[test]\n#[ignore = \"not yet\"]\nfn stops() {}\n",
        );
        assert_eq!(standing.done.keys().map(ToString::to_string).collect::<Vec<_>>(), ["G1"]);
        let missing: Vec<_> =
            standing.missing.iter().map(|(id, row)| (id.to_string(), row.ignored.len())).collect();
        assert_eq!(missing, [("G2".to_owned(), 1), ("G3".to_owned(), 0)]);
        assert_eq!((standing.excepted.len(), standing.later.len()), (1, 1));
    }

    #[test]
    fn a_test_makes_a_row_done_before_it_is_due() {
        let standing = stand("/// Conformance: G5\n#[test]\nfn dives() {}\n");
        assert_eq!((standing.done.len(), standing.later.len()), (1, 0));
    }

    #[test]
    fn rows_that_no_table_has_are_told_with_their_test() {
        let groups = [table::parse("motion", TABLE).unwrap()];
        let cited = scan::citations("a.rs", "/// Conformance: G1, G77\n#[test]\nfn f() {}\n").unwrap();
        assert_eq!(unknown_rows(&groups, &cited), ["a.rs: f cites G77"]);
    }

    #[test]
    fn the_tables_and_tests_of_this_repository_agree() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let groups = table::read(&root.join(TABLES)).unwrap();
        let cited = citations(&root).unwrap();
        assert!(!cited.is_empty());
        assert_eq!(unknown_rows(&groups, &cited), Vec::<String>::new());
        let standings: Vec<_> = groups.into_iter().map(|group| standing(group, &cited)).collect();
        Tally::of(&standings).unwrap().expect_all().unwrap();
    }
}
