//! `gdn stats`: the figures of containers.

use anyhow::Context;
use clap::Args;
use gdn_types::{ErrorKind, Handle};

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output;
use crate::output::figures::{FigureLine, FigureList, Figures};

/// Show what containers use: one line each, as it is now.
///
/// Waits are the shares of the last 10 seconds in which something in the container waited; - is what the kernel does not
/// count. --format json tells more.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Containers, or sidecars by their process id [default: all containers]
    #[arg(value_name = "HANDLE", value_parser = Handle::parse)]
    handles: Vec<Handle>,
}

impl Stats {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let all = self.handles.is_empty();
        let handles = match all {
            true => client.list([]).await.context("cannot list the containers")?,
            false => self.handles,
        };
        let mut lines = Vec::new();
        for (handle, metrics) in client.bulk_metrics(&handles).await.context("cannot read the figures")? {
            match metrics {
                Ok(metrics) => lines.push(FigureLine {
                    handle: handle.to_string(),
                    metrics: Some(Figures::from(metrics)),
                    reason: String::new(),
                }),
                // Destroyed since it was listed.
                Err(error) if all && error.kind() == ErrorKind::ContainerNotFound => {}
                Err(error) if all => lines.push(FigureLine {
                    handle: handle.to_string(),
                    metrics: None,
                    reason: error.report(),
                }),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot read the figures of \"{handle}\""));
                }
            }
        }
        output::show(global.format, &FigureList(lines))?;
        Ok(DONE)
    }
}
