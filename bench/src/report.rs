//! Says what was measured: a table for people, JSON for comparisons.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::json;

use crate::Options;
use crate::bars::{self, Results};
use crate::page;

/// A floor whose median is this many times its minimum says more about the host's other work than about ours.
const NOISY: f64 = 1.5;

/// Prints the table and the goals, writes the JSON, and answers whether every goal was met.
pub(crate) fn print_and_write(results: &Results, options: &Options) -> Result<bool> {
    let load = fs::read_to_string("/proc/loadavg")?;
    print_rows(results);
    for (name, value) in &results.figures {
        println!("{name:<28} {value:.1}");
    }
    println!("load average {}", load.trim_end());
    let noisy = is_noisy(results);
    if noisy {
        println!(
            "NOISY: the floor's median is more than {NOISY} x its minimum; only the ratios mean something"
        );
    }
    let bars = bars::check(results);
    for bar in &bars {
        println!("{} {}", if bar.met { "pass" } else { "MISS" }, bar.text);
    }

    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let report = json!({
        "time": now, "rounds": options.rounds, "load": load.trim_end(), "noisy": noisy, "kernel": kernel()?,
        "microseconds": results.rows, "figures": results.figures, "goals": bars,
    });
    fs::create_dir_all(&options.output)?;
    let file = options.output.join(format!("{now}.json"));
    fs::write(&file, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("write {}", file.display()))?;
    println!("bench: written to {}", file.display());
    if let Some(page) = &options.page {
        if let Some(directory) = page.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(page, page::html(results, &bars, &report))
            .with_context(|| format!("write {}", page.display()))?;
        println!("bench: drawn in {}", page.display());
    }
    Ok(bars.iter().all(|bar| bar.met))
}

fn print_rows(results: &Results) {
    println!("{:<14} {:>9} {:>9} {:>9} {:>9} {:>9}  x floor", "us", "min", "p10", "p50", "p90", "p99");
    for (name, row) in &results.rows {
        let floor = match *name {
            name if name.contains("exec") => "floor exec",
            name if name.contains("ping") => "none",
            _ => "floor cycle",
        };
        let ratio =
            results.rows.get(floor).map_or(String::new(), |floor| format!("{:.2}", row.p50 / floor.p50));
        println!(
            "{name:<14} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0}  {ratio:>7}",
            row.min, row.p10, row.p50, row.p90, row.p99
        );
    }
}

fn is_noisy(results: &Results) -> bool {
    results.rows.iter().any(|(name, row)| name.starts_with("floor") && row.p50 > NOISY * row.min)
}

fn kernel() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim_end().to_owned())
}
