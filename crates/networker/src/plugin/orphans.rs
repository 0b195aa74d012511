//! Calls that an engine left behind when it was killed.
//!
//! A call goes on without its engine: one that sets a network up would end after the next engine has had it taken down, and
//! leave a network that nobody knows of. Every call carries a mark in its environment, which what it starts inherits.

use std::fs::{self, File};
use std::io::Read;
use std::time::Duration;

use gdn_types::{EngineId, Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable that marks a call; its value is the engine's name.
pub(super) const MARK: &str = "GDN_NETWORK_PLUGIN_OF";
/// The longest environment that the kernel lets a program begin with, as a rule.
const MOST_ENVIRONMENT: u64 = 2 << 20;
/// How long one that was killed may take to be gone.
const GOING: Duration = Duration::from_secs(5);

/// Kills what is left of calls of earlier lives of this engine, and waits until it is gone.
///
/// # Errors
/// `Internal` when the processes of the host cannot be listed; `Unavailable` when one does not go.
pub(super) fn end(engine: EngineId) -> Result<()> {
    let doing = |error| Error::caused(ErrorKind::Internal, "look for calls of the network plug-in", error);
    let mark = format!("{MARK}={engine}");
    for entry in fs::read_dir("/proc").map_err(doing)? {
        let name = entry.map_err(doing)?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            end_if_marked(pid, &mark)?;
        }
    }
    Ok(())
}

/// Nobody who is not marked while the descriptor holds its number is killed.
fn end_if_marked(pid: Pid, mark: &str) -> Result<()> {
    let failed = |errno: Errno| {
        let doing = format!("end process {pid}, a call of the network plug-in");
        Error::caused(ErrorKind::Unavailable, &doing, std::io::Error::from(errno))
    };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH | Errno::INVAL) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    if !is_marked(pid, mark) {
        return Ok(());
    }
    tracing::warn!(%pid, "a call of the network plug-in is left from an engine that was killed; it is ended");
    match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let patience = Timespec { tv_sec: GOING.as_secs().cast_signed(), tv_nsec: 0 };
    match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)) {
        Ok(1..) | Err(Errno::INTR) => Ok(()),
        Ok(0) => Err(failed(Errno::TIMEDOUT)),
        Err(errno) => Err(failed(errno)),
    }
}

/// Processes of the kernel have no environment, and one that is gone none any more.
fn is_marked(pid: Pid, mark: &str) -> bool {
    let mut environment = Vec::new();
    let path = format!("/proc/{}/environ", pid.as_raw_nonzero());
    let read = File::open(path).and_then(|file| file.take(MOST_ENVIRONMENT).read_to_end(&mut environment));
    read.is_ok() && environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn calls_of_an_engine_that_was_killed_are_ended_and_no_others() {
        let (ours, other) = (EngineId::from_bits(1), EngineId::from_bits(2));
        let start = |engine: EngineId| {
            let mut sleep = Command::new("sleep");
            let sleep = sleep.arg("1000").env(MARK, engine.to_string()).spawn().unwrap();
            // Whoever started a program may go on before the program has its environment.
            let pid = Pid::from_raw(sleep.id().try_into().unwrap()).unwrap();
            while !is_marked(pid, &format!("{MARK}={engine}")) {
                std::thread::yield_now();
            }
            sleep
        };
        let (mut call, mut foreign) = (start(ours), start(other));
        end(ours).unwrap();
        assert!(!call.wait().unwrap().success());
        assert!(foreign.try_wait().unwrap().is_none());
        foreign.kill().unwrap();
        foreign.wait().unwrap();
    }
}
