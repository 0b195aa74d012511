//! What is known of processes of which nothing else is left.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use crate::program::failure::{During, Result, failure};
use crate::program::process::Process;
use crate::program::pump::pipe_nonblocking;
use crate::protocol::{FailureKind, Streams};

/// How many are known, the last; as many as an engine remembers statuses of.
const MOST: usize = 4096;

/// How much ended processes said: a reader that comes too late learns by it how much it missed.
#[derive(Default)]
pub(super) struct Past {
    processes: VecDeque<Said>,
}

struct Said {
    process: String,
    /// Bytes of each output.
    written: [u64; 2],
    /// How many outputs it had.
    outputs: usize,
}

impl Past {
    pub(super) fn remember(&mut self, process: &Process) {
        // Who said nothing is as good as unknown.
        if process.name.is_empty() || process.written == [0; 2] {
            return;
        }
        if self.processes.len() == MOST {
            self.processes.pop_front();
        }
        let (process, written, outputs) = (process.name.clone(), process.written, process.outputs.len());
        self.processes.push_back(Said { process, written, outputs });
    }

    /// An attachment to a process of the past: outputs at their end.
    pub(super) fn attach(&self, name: &str) -> Result<(Streams, Vec<OwnedFd>)> {
        let said = self.processes.iter().rfind(|said| said.process == name);
        let said =
            said.ok_or_else(|| failure(FailureKind::NoProcess, format!("no process {name} is running")))?;
        let mut descriptors = Vec::with_capacity(said.outputs);
        for _ in 0..said.outputs {
            let at_end = pipe_nonblocking(false).map(|(reader, _)| reader);
            descriptors.push(at_end.during(FailureKind::Exhausted, || "attach to the process".to_owned())?);
        }
        let streams = Streams {
            stdin: false,
            stdout: true,
            stderr: said.outputs > 1,
            stdout_first: said.written[0],
            stderr_first: said.written[1],
        };
        Ok((streams, descriptors))
    }
}
