//! `gdn ping`: whether the engine answers.

use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::{self, Show};

/// Ask whether the server answers.
#[derive(Debug, Args)]
pub(crate) struct Ping {}

#[derive(Debug, Serialize)]
struct Pong {
    engine_version: String,
    api_version: u32,
    microseconds: u64,
}

impl Show for Pong {
    fn text(&self) -> String {
        let ms = self.microseconds as f64 / 1000.0;
        format!("gdn {}, API version {}, answered in {ms:.1} ms", self.engine_version, self.api_version)
    }
}

impl Ping {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let before = Instant::now();
        let pong = client.ping().await.context("cannot ping the engine")?;
        let microseconds = u64::try_from(before.elapsed().as_micros()).unwrap_or(u64::MAX);
        let pong = Pong { engine_version: pong.engine_version, api_version: pong.api_version, microseconds };
        output::show(global.format, &pong)?;
        Ok(DONE)
    }
}
