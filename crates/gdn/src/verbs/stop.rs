//! `gdn stop`: ends every process of containers, which stay.

use clap::Args;
use gdn_types::Handle;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::changed;

/// End every process of containers: first by TERM, after 10 s by KILL.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Kill at once
    #[arg(long)]
    kill: bool,
    /// Containers
    #[arg(required = true, value_name = "HANDLE", value_parser = Handle::parse)]
    handles: Vec<Handle>,
}

impl Stop {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let changed = changed::each("stop", &self.handles, |handle| {
            let (client, kill) = (client.clone(), self.kill);
            async move { client.stop(&handle, kill).await }
        });
        changed.await?.show(global.format)?;
        Ok(DONE)
    }
}
