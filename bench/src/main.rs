//! The permanent benchmark: floor, engine and peers, interleaved round by round. `cargo xtask bench` runs it.

mod bars;
mod engine;
mod figures;
mod floor;
mod garden;
mod hogs;
mod page;
mod peers;
mod podman;
mod processor;
mod ramp;
mod report;
mod rootfs;
mod rounds;
mod samples;
mod splice;
mod turns;
mod view;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use rounds::Contest;

/// Measures the engine against the kernel's floor and its peers.
#[derive(Parser)]
pub(crate) struct Options {
    /// Rows whose name contains one of these; all when none is given.
    pub(crate) rows: Vec<String>,
    /// Rounds that count; two more come before as a warm-up.
    #[arg(long, default_value_t = 30)]
    pub(crate) rounds: usize,
    /// Three rounds, to see that everything works; missed goals are shown and forgiven.
    #[arg(long)]
    pub(crate) smoke: bool,
    /// The server to measure; without one only floor and peers are measured.
    #[arg(long)]
    pub(crate) gdn: Option<PathBuf>,
    /// Leaves the engine out.
    #[arg(long)]
    pub(crate) without_engine: bool,
    /// Where the results are written as JSON.
    #[arg(long, default_value = "target/bench")]
    pub(crate) output: PathBuf,
    /// Where a page of plots is written, if anywhere.
    #[arg(long)]
    pub(crate) page: Option<PathBuf>,
}

// One thread: a client's hops between threads would be measured as the engine's.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.smoke {
        options.rounds = 3;
    }
    match run(&options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) if options.smoke => {
            println!("bench: goals were missed; three rounds prove nothing, so this is no failure");
            ExitCode::SUCCESS
        }
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every goal was met. A round that failed is an error.
async fn run(options: &Options) -> Result<bool> {
    let work = tempfile::Builder::new()
        .prefix("gdn-bench-")
        .tempdir_in("/var/tmp")
        .context("make a work directory")?;
    // Containers of the peers reach their root file system through this directory as another user.
    std::fs::set_permissions(work.path(), std::fs::Permissions::from_mode(0o755))?;
    let mut contest = Contest::prepare(options, work.path()).await?;
    let outcome = contest.measure(options).await;
    contest.stop().await.context("put everything away")?;
    let results = outcome?;
    report::print_and_write(&results, options)
}
