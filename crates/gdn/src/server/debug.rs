//! The port for operators: where it is, and what it tells of.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use gardener_core::Gardener;
use gdn_debug::{DebugServer, DebugSources};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::logging::LogSwitch;

/// A port for operators.
#[derive(Clone, Debug)]
pub(crate) struct DebugSettings {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The log whose level it changes.
    pub(crate) log: LogSwitch,
}

/// A port that listens, and what it will tell of.
pub(super) struct Opened {
    server: DebugServer,
    log: LogSwitch,
}

/// Begins to listen.
pub(super) async fn open(settings: &DebugSettings) -> anyhow::Result<Opened> {
    let server = DebugServer::open(settings.address).await.context("cannot serve figures")?;
    tracing::info!(address = %server.addr(), "serving figures");
    Ok(Opened { server, log: settings.log.clone() })
}

/// Begins to serve.
pub(super) fn serve(opened: Opened, gardener: Arc<Gardener>, stop: CancellationToken) -> JoinHandle<()> {
    let sources = DebugSources {
        gardener,
        log: Arc::new(opened.log),
        version: env!("CARGO_PKG_VERSION"),
        command_line: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
    };
    tokio::spawn(opened.server.serve(sources, stop))
}
