//! Plays a security campaign and says what came of it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use gdn_campaigns::{Attempts, Plan, find, names, run};

/// Attempts to get out of a container, or to get more in it than it may have
#[derive(Parser)]
struct Options {
    /// The campaign (S4), or one of its rows (S4.03)
    campaign: String,
    /// Only these rows
    rows: Vec<String>,
    /// Attempts of each case in rows that depend on chance [default: what the row says]
    #[arg(long)]
    attempts: Option<u32>,
    /// Decides what is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the case of this number
    #[arg(long)]
    case: Option<usize>,
    /// Only tell which rows there are
    #[arg(long)]
    list: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write the result to this page, which is Markdown
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    // `S4.03` names its campaign as well.
    let (campaign, rows) = match options.campaign.split_once('.') {
        Some((campaign, _)) => (campaign.to_owned(), [vec![options.campaign.clone()], options.rows].concat()),
        None => (options.campaign.clone(), options.rows),
    };
    if options.list {
        let found = find(&campaign).with_context(|| format!("there are {:?}, not {campaign}", names()))?;
        println!("{}: {}", found.id, found.title);
        for row in found.rows {
            println!("{} {:>5} cases  {} {}", row.id, row.cases, row.title, row.reference);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let attempts = options.attempts.map_or(Attempts::OfTheRow, Attempts::Exactly);
    let plan = Plan { campaign, rows, attempts, case: options.case, seed: options.seed };
    let report = run(&plan, |row| {
        eprintln!("{} {} in {:.1} s", row.id, if row.is_good() { "good" } else { "NOT GOOD" }, row.seconds);
    })?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    if let Some(page) = options.page {
        std::fs::write(&page, report.page()).with_context(|| format!("write {}", page.display()))?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
