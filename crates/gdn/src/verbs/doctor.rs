//! `gdn doctor`: what this host has and lacks.

use clap::Args;

use super::DONE;
use crate::cli::Global;
use crate::doctor::Diagnosis;
use crate::output;

/// The exit status when the engine cannot run here.
const CANNOT_RUN_HERE: u8 = 1;

/// Say what this host has and lacks, and what that means; exit 1 when the engine cannot run here.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let diagnosis = Diagnosis::of(global.root());
        output::show(global.format, &diagnosis)?;
        Ok(if diagnosis.can_run { DONE } else { CANNOT_RUN_HERE })
    }
}
