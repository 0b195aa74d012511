//! `gdn inspect`: everything about containers.

use anyhow::Context;
use clap::Args;
use gdn_types::Handle;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output;
use crate::output::container::{ContainerDetails, ContainerDetailsList};

/// Show everything about containers.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Containers
    #[arg(required = true, value_name = "HANDLE", value_parser = Handle::parse)]
    handles: Vec<Handle>,
}

impl Inspect {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let mut all = Vec::new();
        for handle in &self.handles {
            let info = client.info(handle).await.with_context(|| format!("cannot inspect \"{handle}\""))?;
            // A container that is lost or being removed has no figures, and is worth a look all the same.
            let metrics = client.metrics(handle).await.ok();
            all.push(ContainerDetails::new(handle, info, metrics));
        }
        output::show(global.format, &ContainerDetailsList(all))?;
        Ok(DONE)
    }
}
