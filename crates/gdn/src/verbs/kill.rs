//! `gdn kill`: a signal for processes of a container.

use anyhow::Context;
use clap::Args;
use gdn_types::{Handle, ProcessId, ProcessState, Signal};
use serde::Serialize;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::{self, Show};

/// Send a signal to one process of a container, or to every one that was started there.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = Signal::parse)]
    signal: Signal,
    /// Container
    #[arg(value_name = "HANDLE", value_parser = Handle::parse)]
    handle: Handle,
    /// Process [default: every one that runs]
    #[arg(value_name = "PROCESS", value_parser = ProcessId::parse)]
    process: Option<ProcessId>,
}

#[derive(Debug, Serialize)]
struct Signalled {
    signal: i32,
    processes: Vec<String>,
}

impl Show for Signalled {
    fn text(&self) -> String {
        String::new()
    }
}

impl Kill {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        let handle = &self.handle;
        let processes = match self.process {
            Some(process) => vec![process],
            None => {
                let known = client.processes(handle).await;
                let known = known.with_context(|| format!("cannot tell the processes of \"{handle}\""))?;
                known
                    .into_iter()
                    .filter(|(_, state)| *state == ProcessState::Running)
                    .map(|(process, _)| process)
                    .collect()
            }
        };
        for process in &processes {
            let sent = client.signal(handle, process, self.signal).await;
            sent.with_context(|| format!("cannot signal process \"{process}\" of \"{handle}\""))?;
        }
        let processes = processes.iter().map(ToString::to_string).collect();
        output::show(global.format, &Signalled { signal: self.signal.number(), processes })?;
        Ok(DONE)
    }
}
