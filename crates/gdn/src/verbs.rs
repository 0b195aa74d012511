//! The verbs, one module each, and the runtime they run on.

use std::future::Future;
use std::num::NonZero;

use anyhow::Context;
use tokio::runtime::Builder;

use crate::cli::{Cli, Command, Global};

pub(crate) mod attach;
pub(crate) mod capacity;
pub(crate) mod cleanup;
pub(crate) mod completion;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod destroy;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod net;
pub(crate) mod ping;
pub(crate) mod property;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod setup;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod update;

/// The exit status of a verb that did what it was asked.
const DONE: u8 = 0;

/// Does what the command line asks and answers with the exit status.
pub(crate) fn perform(cli: Cli) -> anyhow::Result<u8> {
    let Cli { global, command, .. } = cli;
    match command {
        Command::Completion(verb) => verb.perform(),
        Command::Doctor(verb) => single(verb.perform(&global)),
        Command::Setup(verb) => verb.perform(&global),
        Command::Cleanup(verb) => threaded(verb.perform(&global)),
        Command::Server(verb) => threaded(verb.perform(&global)),
        // It may have to be a server as well.
        Command::Run(verb) => threaded(verb.perform(&global)),
        other => single(client_verb(other, &global)),
    }
}

async fn client_verb(command: Command, global: &Global) -> anyhow::Result<u8> {
    match command {
        Command::Create(verb) => verb.perform(global).await,
        Command::Exec(verb) => Box::pin(verb.perform(global)).await,
        Command::Attach(verb) => Box::pin(verb.perform(global)).await,
        Command::List(verb) => verb.perform(global).await,
        Command::Inspect(verb) => verb.perform(global).await,
        Command::Stats(verb) => verb.perform(global).await,
        Command::Stop(verb) => verb.perform(global).await,
        Command::Update(verb) => verb.perform(global).await,
        Command::Kill(verb) => verb.perform(global).await,
        Command::Destroy(verb) => verb.perform(global).await,
        Command::Cp(verb) => Box::pin(verb.perform(global)).await,
        Command::Net(verb) => verb.perform(global).await,
        Command::Property(verb) => verb.perform(global).await,
        Command::Capacity(verb) => verb.perform(global).await,
        Command::Ping(verb) => verb.perform(global).await,
        Command::Events(verb) => verb.perform(global).await,
        Command::Server(_)
        | Command::Run(_)
        | Command::Doctor(_)
        | Command::Setup(_)
        | Command::Cleanup(_)
        | Command::Completion(_) => {
            unreachable!("performed without this runtime")
        }
    }
}

/// Runs a client: one thread is plenty and starts at once.
fn single(verb: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    on(Builder::new_current_thread(), verb)
}

/// Runs what may be a server, by half as many threads as there are processors: the others have the clients, the keepers and
/// the containers to run. A thread that wakes another one often gives up its processor to it, and each such switch is time
/// of somebody's call. `TOKIO_WORKER_THREADS` says otherwise.
fn threaded(verb: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    let mut runtime = Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        runtime.worker_threads(processors.div_ceil(2));
    }
    on(runtime, verb)
}

fn on(mut runtime: Builder, verb: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    let runtime = runtime.enable_all().build().context("cannot start the async runtime")?;
    let status = runtime.block_on(Box::pin(verb));
    // A write to a terminal that stands still must not keep the command from ending.
    runtime.shutdown_background();
    status
}
