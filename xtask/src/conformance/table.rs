//! The tables: one Markdown file for each group, one row for each fact.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Serialize, Serializer};

/// The name of a row: a letter and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowId(char, u16);

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) holds: String,
    pub(super) mark: Mark,
}

/// Whether a test of a row is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Now.
    Due,
    /// Never, for this reason.
    Except(String),
    /// Together with this part of the engine.
    Later(String),
}

/// One file.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) rows: BTreeMap<RowId, Row>,
}

/// Every table of a directory, in order of its name. A row belongs to one group only.
pub(super) fn read(directory: &Path) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        if name == "README" || path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let group = parse(name, &text)?;
        let taken = |id: &&RowId| groups.iter().any(|other| other.rows.contains_key(*id));
        if let Some(id) = group.rows.keys().find(taken) {
            bail!("row {id} of {name} is in another table too");
        }
        groups.push(group);
    }
    groups.sort_unstable_by(|one, other| (!one.required, &one.name).cmp(&(!other.required, &other.name)));
    Ok(groups)
}

/// Reads one table.
pub(super) fn parse(name: &str, text: &str) -> Result<Group> {
    let required = text.lines().find_map(|line| line.strip_prefix("Required: "));
    let required = match required {
        Some("yes") => true,
        Some("no") => false,
        _ => bail!("table {name} does not say whether it is required"),
    };
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id ")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, ids, holds, mark, _] = cells[..] else {
            bail!("row {line:?} of {name} does not have three cells")
        };
        let row = Row { holds: holds.to_owned(), mark: parse_mark(mark).with_context(|| ids.to_owned())? };
        for id in RowId::range(ids)? {
            if rows.insert(id, row.clone()).is_some() {
                bail!("row {id} is twice in {name}");
            }
        }
    }
    Ok(Group { name: name.to_owned(), required, rows })
}

fn parse_mark(text: &str) -> Result<Mark> {
    match text.split_once(": ") {
        None if text.is_empty() => Ok(Mark::Due),
        Some(("except", reason)) => Ok(Mark::Except(reason.to_owned())),
        Some(("later", what)) => Ok(Mark::Later(what.to_owned())),
        _ => bail!("mark {text:?} is neither empty, nor except: REASON, nor later: WHAT"),
    }
}

impl RowId {
    /// Which suite the row comes from.
    pub(super) fn letter(self) -> char {
        self.0
    }

    /// `G7` or `G7-9`.
    pub(super) fn range(text: &str) -> Result<Vec<RowId>> {
        let parsed = || {
            let letter = text.chars().next().filter(char::is_ascii_uppercase)?;
            let (first, last) = text[1..].split_once('-').unwrap_or((&text[1..], &text[1..]));
            Some((letter, first.parse::<u16>().ok()?, last.parse::<u16>().ok()?))
        };
        match parsed() {
            Some((letter, first, last)) if first <= last => {
                Ok((first..=last).map(|number| RowId(letter, number)).collect())
            }
            _ => bail!("{text:?} is not of the form G7 or G7-9"),
        }
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, self.1)
    }
}

impl Serialize for RowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_table_is_refused_and_named() {
        for (text, naming) in [
            ("| G1 | x | |", "required"),
            ("Required: maybe\n", "required"),
            ("Required: no\n| G1 | x |", "three cells"),
            ("Required: no\n| G1 | x | sometime |", "sometime"),
            ("Required: no\n| 1 | x | |", "\"1\""),
            ("Required: no\n| G3-2 | x | |", "G3-2"),
            ("Required: no\n| G1 | x | |\n| G1-2 | y | |", "G1 is twice"),
        ] {
            let error = format!("{:#}", parse("t", text).unwrap_err());
            let found = error.contains(naming) || error.contains("mark") && naming == "sometime";
            assert!(found, "{naming:?} not in {error}");
        }
    }
}
