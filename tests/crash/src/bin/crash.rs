//! Plays campaign R1.02 and says what came of it.

use std::process::ExitCode;

use clap::Parser;
use crash_tests::{Campaign, Scenario};

/// Kill the engine before each state-changing system call of create, run and destroy
#[derive(Parser)]
struct Options {
    /// Which kind of container
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    /// First call to kill before
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Last call to kill before [default: all there are]
    #[arg(long)]
    last: Option<u64>,
    /// How far from one to the next
    #[arg(long, default_value_t = 1)]
    step: u64,
    /// Decides the order of the cases
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the calls of the run without a kill
    #[arg(long)]
    calls: bool,
    /// Print the server's log after a case that failed
    #[arg(long)]
    log: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let Options { scenario, first, last, step, seed, calls, log } = Options::parse();
    let summary = Campaign { scenario, first, last, step, seed }.run(|k, verdict, bed| {
        let phase = verdict.ledger.entries.last().map_or_else(String::new, |(step, acknowledged)| {
            format!("{step:?}, {}", if *acknowledged { "acknowledged" } else { "not acknowledged" })
        });
        let outcome = if verdict.violations.is_empty() { "ok" } else { "FAILED" };
        println!("k={k} {} ({phase}): {outcome}", verdict.last_call());
        if calls && k == 0 {
            for (index, call) in verdict.trail.calls.iter().enumerate() {
                println!("  {} {call}", index + 1);
            }
        }
        for violation in &verdict.violations {
            println!("  {violation}");
        }
        if log && !verdict.violations.is_empty() {
            println!("{}", bed.log());
        }
    })?;
    for (k, call, _) in &summary.failures {
        let name = scenario.name();
        println!("again: crash --scenario {name} --first {k} --last {k} --seed {seed} ({call})");
    }
    println!("{summary}");
    Ok(if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
