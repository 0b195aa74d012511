//! `gdn list`: which containers there are.

use anyhow::Context;
use clap::Args;
use gdn_types::keys;
use serde::Serialize;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::container::{ContainerLine, ContainerList};
use crate::output::{self, Show};
use crate::values;

/// List containers.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print only the names
    #[arg(short, long)]
    quiet: bool,
    /// Also those that are being made or removed
    #[arg(short, long)]
    all: bool,
    /// Only containers that have this property; may be repeated
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = values::pair)]
    properties: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Handles(Vec<String>);

impl Show for Handles {
    fn text(&self) -> String {
        self.0.join("\n")
    }
}

impl List {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let mut filter = self.properties;
        if self.all {
            filter.push((keys::STATE.to_owned(), "all".to_owned()));
        }
        let mut handles = client.list(filter).await.context("cannot list the containers")?;
        handles.sort();
        if self.quiet {
            output::show(global.format, &Handles(handles.iter().map(ToString::to_string).collect()))?;
            return Ok(DONE);
        }
        let infos = client.bulk_info(&handles).await.context("cannot tell about the containers")?;
        let lines =
            infos.into_iter().filter_map(|(handle, info)| ContainerLine::new(&handle, info)).collect();
        output::show(global.format, &ContainerList(lines))?;
        Ok(DONE)
    }
}
