//! `gdn create`: a container without a process of the client's.

use anyhow::Context;
use clap::Args;
use gdn_types::Error;
use serde::Serialize;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::options::{ContainerOptions, UserOptions};
use crate::output::{self, Show};
use crate::values;

/// Create a container and print its name.
#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    container: ContainerOptions,
    #[command(flatten)]
    user: UserOptions,
    /// Image, as in --image
    #[arg(value_name = "IMAGE", conflicts_with = "image")]
    word: Option<String>,
}

#[derive(Debug, Serialize)]
struct Created {
    handle: String,
}

impl Show for Created {
    fn text(&self) -> String {
        self.handle.clone()
    }
}

impl Create {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        if self.user.user.is_some() || self.user.dir.is_some() {
            let error = Error::not_yet(
                "a user or directory for all processes of a container (--user and --dir of gdn create)",
            );
            return Err(error).context("cannot create the container");
        }
        let mut spec = self.container.spec()?;
        if let Some(word) = &self.word {
            spec.image.uri = values::image(word)?;
        }
        let client = address::connect(global).await?;
        let handle = client.create(spec).await.context("cannot create the container")?;
        output::show(global.format, &Created { handle: handle.to_string() })?;
        Ok(DONE)
    }
}
