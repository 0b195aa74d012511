//! `gdn cleanup`: destroys what an engine left behind.

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use gdn_types::{PropertyFilter, keys};
use networker::Subnet;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::DONE;
use super::server::guardian::{GuardianOptions, NETWORK_POOL};
use super::server::lock;
use crate::cli::{ConfigFile, Global};
use crate::output::{self, Show};
use crate::server::logging::{self, LogFormat, LogLevel};
use crate::server::{self, Settings};
use crate::values;

/// How often to look what is left.
const LOOK: Duration = Duration::from_millis(20);

/// The exit status when something is left.
const LEFT: u8 = 1;

/// Destroy every container of an engine that does not run, with its files, network and properties; exit 1 when something is
/// left. Images stay.
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// How long to wait for containers that do not go, such as 30s
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    timeout: Duration,
    /// Any range of addresses that no other engine of this host has; needed only where containers have networks
    #[arg(long, value_name = "IP/LENGTH", default_value = NETWORK_POOL)]
    network_pool: Subnet,
    #[command(flatten)]
    guardian: GuardianOptions,
    #[command(flatten)]
    _file: ConfigFile,
}

/// What became of the containers.
#[derive(Debug, Default, Serialize)]
struct Cleaned {
    /// How many were destroyed.
    destroyed: usize,
    /// Those that are left, with what stands in the way.
    left: Vec<Left>,
}

/// A container that is left.
#[derive(Debug, Serialize)]
struct Left {
    handle: String,
    reason: String,
}

impl Show for Cleaned {
    fn text(&self) -> String {
        let mut text = match self.destroyed {
            0 => "no container destroyed\n".to_owned(),
            1 => "1 container destroyed\n".to_owned(),
            more => format!("{more} containers destroyed\n"),
        };
        for Left { handle, reason } in &self.left {
            text.push_str(&format!("{handle} is left: {reason}\n"));
        }
        text
    }
}

/// Removes a socket that a server that was killed left behind: whoever holds the engine's lock has no other beside it.
fn remove_if_left(socket: &Path) -> anyhow::Result<()> {
    let is_socket = std::fs::symlink_metadata(socket).is_ok_and(|there| there.file_type().is_socket());
    let refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(socket).is_err_and(refused) {
        std::fs::remove_file(socket).with_context(|| format!("cannot remove {}", socket.display()))?;
    }
    Ok(())
}

impl Cleanup {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        server::require_root()?;
        self.guardian.ignored();
        logging::begin(LogLevel::Error, LogFormat::Text);
        // Nothing is made where there never was an engine.
        let cleaned = match global.root().join("state").is_dir() {
            true => self.clean(global).await?,
            false => Cleaned::default(),
        };
        output::show(global.format, &cleaned)?;
        Ok(if cleaned.left.is_empty() { DONE } else { LEFT })
    }

    async fn clean(&self, global: &Global) -> anyhow::Result<Cleaned> {
        let lock = lock(global)?;
        for socket in [global.socket(), global.garden_socket()] {
            remove_if_left(&socket)?;
        }
        let engine = server::start(Settings::cleanup(global, self.network_pool), lock).await?;
        let deadline = Instant::now() + self.timeout;
        while engine.gardener().census().total() > 0 && Instant::now() < deadline {
            sleep(LOOK).await;
        }
        let begun = engine.destroying();
        let left = self.left(&engine).await;
        engine.stop(server::AT_LEISURE).await?;
        let left = left.context("cannot tell what is left")?;
        Ok(Cleaned { destroyed: begun.saturating_sub(left.len()), left })
    }

    async fn left(&self, engine: &server::Running) -> gdn_types::Result<Vec<Left>> {
        let all = PropertyFilter::new([(keys::STATE.to_owned(), "all".to_owned())]);
        let handles = engine.gardener().list(&all)?;
        let told = engine.gardener().bulk_info(&handles).await;
        let reason = |info: gdn_types::Result<gdn_types::ContainerInfo>| match info {
            Ok(info) => info.reason,
            Err(error) => error.report(),
        };
        let left =
            |(handle, info)| Left { handle: gdn_types::Handle::to_string(&handle), reason: reason(info) };
        Ok(told.into_iter().map(left).collect())
    }
}
