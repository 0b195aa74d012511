//! `gdn events`: what happens, as it happens.

use anyhow::Context;
use clap::Args;
use gdn_client::Watched;
use gdn_types::Handle;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::event::EventLine;
use crate::output::{self, note};

/// Follow what happens, as it happens, one line each, until interrupted.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only events of these containers
    #[arg(value_name = "HANDLE", value_parser = Handle::parse)]
    handles: Vec<Handle>,
}

impl Events {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let mut events = client.watch_events(&self.handles).await.context("cannot watch the engine")?;
        while let Some(watched) = events.next().await.context("cannot watch the engine any longer")? {
            match watched {
                Watched::Event(event) => output::show_line(global.format, &EventLine::new(&event))?,
                Watched::Gap(missed) => {
                    note(&format!("{missed} events are missing here: they came faster than they were read"))
                }
            }
        }
        Ok(DONE)
    }
}
