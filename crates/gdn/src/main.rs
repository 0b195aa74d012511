//! The container engine: server and client in one command.
//!
//! What it is: the grammar of the command line, one module per verb, and the wiring of the engine's components
//! ([`server`]). What it is not: none of the engine's own work, which is in the crates it wires together.

use std::process::ExitCode;

mod address;
mod archive;
mod cli;
mod doctor;
mod embedded;
mod failure;
mod options;
mod output;
mod relay;
mod server;
mod terminal;
mod values;
mod verbs;

fn main() -> ExitCode {
    let arguments = match cli::config_file::applied(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => return failure::report(&error, failure::FAILED),
    };
    let cli = match cli::parse(arguments.clone()) {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error, cli::runs_a_process(&arguments)),
    };
    let fallback = failure::fallback_status(&cli.command);
    match verbs::perform(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => failure::report(&error, fallback),
    }
}
