//! The only place that prints: tables for people, JSON for programs.

use std::io::{self, Write};

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

pub(crate) mod changed;
pub(crate) mod container;
pub(crate) mod event;
pub(crate) mod figures;
pub(crate) mod time;

/// The form of what a command prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// Something that can be printed in every form. JSON is its serialised form.
pub(crate) trait Show: Serialize {
    /// The form for people; empty for nothing at all.
    fn text(&self) -> String;
}

/// Prints one answer.
pub(crate) fn show<T: Show>(format: Format, answer: &T) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => answer.text(),
        Format::Json => serde_json::to_string_pretty(answer).context("cannot write the answer as JSON")?,
    };
    if text.is_empty() { Ok(()) } else { print(&text) }
}

/// Prints one of many answers that come as time goes by: a line each.
pub(crate) fn show_line<T: Show>(format: Format, answer: &T) -> anyhow::Result<()> {
    match format {
        Format::Table => print(&answer.text()),
        Format::Json => print(&serde_json::to_string(answer).context("cannot write the answer as JSON")?),
    }
}

/// Prints a text and ends its last line.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    write!(stdout, "{text}{end}").and_then(|()| stdout.flush()).context("cannot write to standard output")
}

/// Tells the person something that is no part of the answer.
pub(crate) fn note(text: &str) {
    // Standard error is the last resort: when even that is gone, nobody is left to tell.
    let _ = writeln!(io::stderr().lock(), "gdn: {text}");
}

/// Columns under a header, without lines, as wide as their contents.
pub(crate) fn columns<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    trimmed(&table)
}

/// One line per fact: its name, then its value.
pub(crate) fn facts(facts: impl IntoIterator<Item = (String, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in facts {
        table.add_row([name, value]);
    }
    trimmed(&table)
}

/// The table without the blank that would begin each line and those that would end it.
fn trimmed(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_frames_or_trailing_blanks() {
        let text =
            columns(["HANDLE", "STATE"], [["web-1".into(), "active".into()], ["a".into(), "lost".into()]]);
        assert_eq!(text, "HANDLE  STATE\nweb-1   active\na       lost");
    }

    #[test]
    fn facts_are_name_and_value() {
        assert_eq!(facts([("a".into(), "1".into()), ("long".into(), "2".into())]), "a     1\nlong  2");
    }
}
