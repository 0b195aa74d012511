//! `gdn completion`: scripts for shells.

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::DONE;
use crate::cli::Cli;
use crate::output;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// Shell
    shell: Shell,
}

impl Completion {
    pub(crate) fn perform(self) -> anyhow::Result<u8> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "gdn", &mut script);
        output::print(&String::from_utf8(script).context("cannot print the script")?)?;
        Ok(DONE)
    }
}
