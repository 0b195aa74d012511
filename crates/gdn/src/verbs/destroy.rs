//! `gdn destroy`: removes containers with everything in them.

use clap::Args;
use gdn_types::Handle;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::changed;

/// Remove containers with everything in them.
#[derive(Debug, Args)]
pub(crate) struct Destroy {
    /// Containers
    #[arg(required = true, value_name = "HANDLE", value_parser = Handle::parse)]
    handles: Vec<Handle>,
}

impl Destroy {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let changed = changed::each("destroy", &self.handles, |handle| {
            let client = client.clone();
            async move { client.destroy(&handle).await }
        });
        changed.await?.show(global.format)?;
        Ok(DONE)
    }
}
