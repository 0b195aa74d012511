//! Everything automated in this repository: `cargo xtask help` lists it.
//!
//! Each subcommand is one module with one `run` function, and nothing here is part of the product.

mod bench;
mod campaign;
mod ci;
mod codegen;
mod conformance;
mod deny;
mod guest;
mod layers;
mod leakcheck;
mod packages;
mod runtimes;
mod shell;
mod space;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Everything automated in this repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that must hold before a change lands, cheap checks first.
    Ci,
    /// Installs what the tests need, builds gdn, and runs every test and doc test.
    Test {
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Runs the black-box tests with an external OCI runtime (runc, crun) behind every engine.
    Runtime {
        /// As `gdn server --runtime-plugin` takes it.
        runtime: String,
    },
    /// Runs tests in a User-Mode Linux guest: cgroup v2 only, kernel 6.1, XFS with quotas.
    Guest(guest::Options),
    /// Generates the code of the protocol buffers.
    Codegen {
        /// Only says whether the committed code is fresh.
        #[arg(long)]
        check: bool,
    },
    /// Tells which rows of docs/conformance a test shows, and which are missing.
    Conformance(conformance::Options),
    /// Checks every dependency edge of the workspace against the table of rings.
    Layers,
    /// Checks licences, sources and banned crates with cargo-deny.
    Deny,
    /// Checks what no compiler checks: file lengths, ignored tests, machine paths, links.
    Tidy,
    /// Compares what the kernel holds of an engine before and after, or lists what is left of any.
    #[command(disable_help_flag = true)]
    Leakcheck {
        /// Handed on; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Plays a security campaign: `campaign S4`, `campaign S4.03 --case 2`, `campaign S4 --list`.
    #[command(disable_help_flag = true)]
    Campaign {
        /// Handed on; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures the engine against the kernel's floor and its peers.
    #[command(disable_help_flag = true)]
    Bench {
        /// Handed on; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let root = repository();
    let outcome = match Arguments::parse().task {
        Task::Ci => ci::run(&root),
        Task::Test { filter } => test::run(&root, filter.as_deref()),
        Task::Runtime { runtime } => runtimes::run(&root, &runtime),
        Task::Guest(options) => guest::run(&root, &options),
        Task::Codegen { check } => codegen::run(&root, check),
        Task::Conformance(options) => conformance::run(&root, &options),
        Task::Layers => layers::run(&root),
        Task::Deny => deny::run(&root),
        Task::Tidy => tidy::run(&root),
        Task::Leakcheck { arguments } => leakcheck::run(&root, &arguments),
        Task::Campaign { arguments } => campaign::run(&root, &arguments),
        Task::Bench { arguments } => bench::run(&root, &arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: the parent of this package's directory.
fn repository() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().expect("this package lies in a folder of the repository").to_path_buf()
}
