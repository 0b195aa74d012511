//! `gdn attach`: follows a process that runs.

use anyhow::Context;
use clap::Args;
use gdn_client::{Client, ProcessStream};
use gdn_types::{AttachFrom, Handle, ProcessId, ProcessState};

use crate::address;
use crate::cli::Global;
use crate::failure::Advised;
use crate::options::StreamOptions;
use crate::output::note;
use crate::relay::{self, Signals};

/// Follow a process that runs; the exit status is the process's.
///
/// The process gets this command's signals. Without -i its standard input stays as it is.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    #[command(flatten)]
    streams: StreamOptions,
    /// Begin with this byte of each output, 0 being the first; how many are lost is told on standard error
    ///
    /// What was written before is there only if the process was started with --output-policy keep=SIZE.
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
    /// The same of standard error alone [default: that of --from]
    #[arg(long, value_name = "OFFSET")]
    stderr_from: Option<u64>,
    /// Container
    #[arg(value_name = "HANDLE", value_parser = Handle::parse)]
    handle: Handle,
    /// Process [default: the only one that runs]
    #[arg(value_name = "PROCESS", value_parser = ProcessId::parse)]
    process: Option<ProcessId>,
}

impl Attach {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let mut signals = Signals::listen().context("cannot listen to signals")?;
        let client = address::connect(global).await?;
        let id = match self.process {
            Some(id) => id,
            None => only_process(&client, &self.handle).await?,
        };
        let from = AttachFrom { stdout: self.from, stderr: self.stderr_from.or(self.from) };
        let attached = client.attach_from(&self.handle, &id, self.streams.interactive, from).await;
        let process =
            attached.with_context(|| format!("cannot attach to process \"{id}\" of \"{}\"", self.handle))?;
        tell_losses(&process, from);
        if self.streams.tty {
            // A terminal shows its process's screen anew when its size is told.
            process
                .input()
                .resize(crate::terminal::size())
                .await
                .context("cannot tell the size of the terminal")?;
        }
        relay::follow_attached(&client, &self.handle, process, self.streams, &mut signals).await
    }
}

/// Says how much of what was asked for is not there any more.
fn tell_losses(process: &ProcessStream, from: AttachFrom) {
    let outputs =
        [("output", from.stdout, process.stdout_first()), ("error", from.stderr, process.stderr_first())];
    for (name, from, first) in outputs {
        let lost = from.map_or(0, |from| first.saturating_sub(from));
        if lost > 0 {
            note(&format!("{lost} bytes of standard {name} are lost"));
        }
    }
}

async fn only_process(client: &Client, handle: &Handle) -> anyhow::Result<ProcessId> {
    let known = client
        .processes(handle)
        .await
        .with_context(|| format!("cannot tell the processes of \"{handle}\""))?;
    let mut running =
        known.into_iter().filter(|(_, state)| *state == ProcessState::Running).map(|(id, _)| id);
    match (running.next(), running.count()) {
        (Some(id), 0) => Ok(id),
        (None, _) => {
            Err(Advised::error(format!("no process runs in \"{handle}\""), "start one with gdn exec"))
        }
        (Some(_), others) => Err(Advised::error(
            format!("{} processes run in \"{handle}\"", others + 1),
            "name one of them; gdn inspect shows them",
        )),
    }
}
