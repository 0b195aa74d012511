//! The engine inside `gdn run`, for when no server runs.
//!
//! Whoever finds nobody listening takes the engine's lock and becomes the server, on the normal socket and with the same code
//! as `gdn server`; whoever finds the lock taken waits for that server to answer. So of two that begin at once, one is the
//! server and the other its client. The server's own command is a client like any other.

use std::time::Duration;

use anyhow::Context;
use gdn_client::{Address, Client};
use gdn_types::{Error, ErrorKind};
use tokio::time::{Instant, sleep};

use crate::cli::Global;
use crate::failure::Advised;
use crate::output::note;
use crate::relay::Signals;
use crate::server::{self, EngineLock, Running, Settings};
use crate::{address, server::logging};

/// How long to wait for the engine of another `gdn run`, or a server that starts, to answer. Restoring a thousand containers
/// takes less than a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often to look: far below what a person notices, far above what a look costs.
const LOOK: Duration = Duration::from_millis(10);

/// An engine that lives in this process.
pub(crate) struct Embedded {
    engine: Running,
}

/// Connects to the server that runs; without one, starts an engine here and connects to that.
pub(crate) async fn connect_or_start(global: &Global) -> anyhow::Result<(Client, Option<Embedded>)> {
    if global.address.is_some() {
        return Ok((address::connect(global).await?, None));
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match answering(global).await {
            Ok(client) => return Ok((client, None)),
            Err(error) if error.kind() != ErrorKind::Unavailable => {
                return Err(error).context("cannot reach an engine");
            }
            Err(error) if Instant::now() > deadline => {
                let waited = PATIENCE.as_secs();
                let context =
                    format!("the engine of {} did not answer for {waited} s", global.root().display());
                return Err(error).context(context);
            }
            Err(_) => {}
        }
        server::require_root().map_err(|_| {
            Advised::error(
                format!("no engine listens on {}, and only root can be one", global.socket().display()),
                "run this as root, or ask root to start gdn server",
            )
        })?;
        match EngineLock::take(global.root())? {
            Some(lock) => return start(global, lock).await,
            None => sleep(LOOK).await,
        }
    }
}

/// A connection to a server that has finished its start.
async fn answering(global: &Global) -> Result<Client, Error> {
    let client = Client::connect_unix(&global.socket()).await?;
    client.ping().await?;
    Ok(client)
}

async fn start(global: &Global, lock: EngineLock) -> anyhow::Result<(Client, Option<Embedded>)> {
    logging::begin_quietly();
    let settings = Settings::embedded(global);
    let engine = server::start(settings, lock).await.context("cannot start an engine for this command")?;
    match address::of(global)? {
        Address::Unix(path) => {
            let client =
                Client::connect_unix(&path).await.context("cannot reach this command's own engine")?;
            Ok((client, Some(Embedded { engine })))
        }
        Address::Https(uri) => anyhow::bail!("an engine of this command cannot listen on {uri}"),
    }
}

impl Embedded {
    /// Stops the engine as soon as its last client is gone, or a signal says so.
    pub(crate) async fn last_one_out(self, signals: &mut Signals) {
        tokio::select! {
            () = self.engine.without_clients() => {}
            _ = signals.end() => {}
        }
        if let Err(error) = self.engine.stop(server::AT_LEISURE).await {
            note(&format!("cannot stop this command's engine: {error:#}"));
        }
    }
}
