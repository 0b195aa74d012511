//! Plays campaign R1.02 and says what came of it.

use std::process::ExitCode;

use clap::Parser;
use crash_tests::Campaign;

/// Kill the engine before each state-changing system call of create, run and destroy
#[derive(Parser)]
struct Options {
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
    let Options { first, last, step, seed, calls, log } = Options::parse();
    let summary = Campaign { first, last, step, seed }.run(|k, verdict, bed| {
        println!(
            "k={k} {}: {}",
            verdict.last_call(),
            if verdict.violations.is_empty() { "ok" } else { "FAILED" }
        );
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
        println!(
            "again: cargo run -p crash-tests --bin crash -- --first {k} --last {k} --seed {seed} ({call})"
        );
    }
    println!("{summary}");
    Ok(if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
