//! `gdn setup`: prepares the host for a server.
//!
//! A server needs none of it: it makes its directories itself. What only the host can give, a group whose members may speak
//! to the engine and a unit that starts it, is made here, once, and again without harm.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

mod group;
mod unit;

use super::DONE;
use super::server::guardian::GuardianOptions;
use crate::cli::{ConfigFile, Global};
use crate::output::{self, Show};
use crate::server::{self, Layout, layout};

/// Prepare this host: directories, the group "garden", and a unit of systemd if asked for. What is there stays as it is.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Make no group: only root may use the socket for Garden's clients then
    #[arg(long)]
    no_group: bool,
    /// Install a unit that starts this program as a server [default file: /etc/systemd/system/gdn.service]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = unit::USUAL)]
    systemd_unit: Option<PathBuf>,
    /// Replace a unit that is there and says something else
    #[arg(long, requires = "systemd_unit")]
    replace: bool,
    /// Guardian's; throttling needs no preparation
    #[arg(long, hide = true)]
    enable_cpu_throttling: bool,
    #[command(flatten)]
    guardian: GuardianOptions,
    #[command(flatten)]
    _file: ConfigFile,
}

/// What became of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// It was not there.
    Made,
    /// It was there and is as it was.
    There,
    /// It was there and is another now.
    Replaced,
    /// It is not there.
    Absent,
}

/// One thing, and what became of it.
#[derive(Debug, Serialize)]
struct Step {
    what: String,
    outcome: Outcome,
    /// What the operator should know; empty for nothing.
    remark: String,
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
struct Steps(Vec<Step>);

impl Show for Steps {
    fn text(&self) -> String {
        let line = |step: &Step| {
            let outcome = match step.outcome {
                Outcome::Made => "made",
                Outcome::There => "is there",
                Outcome::Replaced => "replaced",
                Outcome::Absent => "is not there",
            };
            let remark = if step.remark.is_empty() { String::new() } else { format!(": {}", step.remark) };
            format!("{} {outcome}{remark}\n", step.what)
        };
        self.0.iter().map(line).collect()
    }
}

impl Setup {
    pub(crate) fn perform(self, global: &Global) -> anyhow::Result<u8> {
        server::require_root()?;
        self.guardian.ignored();
        if self.enable_cpu_throttling {
            output::note("--enable-cpu-throttling means something to gdn server only");
        }
        let mut steps = vec![directory(global.root(), |root| Layout::make(root).map(drop))?];
        if let Some(parent) = global.garden_socket().parent().filter(|parent| *parent != global.root()) {
            steps.push(directory(parent, layout::make_reachable)?);
        }
        if !self.no_group {
            steps.push(group::make()?);
        }
        if let Some(file) = &self.systemd_unit {
            steps.push(unit::install(file, global.root.as_deref(), self.replace)?);
        }
        output::show(global.format, &Steps(steps))?;
        Ok(DONE)
    }
}

fn directory(path: &Path, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<Step> {
    let outcome = if path.is_dir() { Outcome::There } else { Outcome::Made };
    make(path)?;
    Ok(Step { what: format!("directory {}", path.display()), outcome, remark: String::new() })
}
