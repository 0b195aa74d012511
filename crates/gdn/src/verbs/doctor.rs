//! `gdn doctor`: what this host has and lacks.

use std::time::Duration;

use clap::Args;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::doctor::Diagnosis;
use crate::output;

/// The exit status when the engine cannot run here.
const CANNOT_RUN_HERE: u8 = 1;
/// How long a server is waited for that may not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Say what this host has and lacks, and what that means; exit 1 when the engine cannot run here.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let asked = async { address::connect(global).await?.capacity().await.map_err(anyhow::Error::new) };
        // Without a server there is nothing to ask; what keeps one from answering is not of this host.
        let capacity = tokio::time::timeout(PATIENCE, asked).await.ok().and_then(Result::ok);
        let pools = capacity.map(|capacity| capacity.pools).unwrap_or_default();
        let diagnosis = Diagnosis::of(global.root(), &pools);
        output::show(global.format, &diagnosis)?;
        Ok(if diagnosis.can_run { DONE } else { CANNOT_RUN_HERE })
    }
}
