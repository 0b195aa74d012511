//! Counts the state-changing calls of a process and kills it before a chosen one.

use std::collections::HashSet;
use std::io;
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{syscalls, trace};

/// A process whose state-changing calls are counted, over all its threads; its children run free.
///
/// Dropping it without [`finish`](Self::finish) kills the process: the kernel does so when the tracing thread ends.
pub struct Stepper {
    process: u32,
    killed: Receiver<()>,
    tracer: JoinHandle<io::Result<Trail>>,
}

/// What a process did while it was traced.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    /// Its state-changing calls in order; the last one was not made if the process was killed before it.
    pub calls: Vec<String>,
    /// Whether it was killed before its chosen call, rather than by [`Stepper::finish`].
    pub reached: bool,
}

impl Stepper {
    /// Begins to count the calls of a child of this process, which will be killed before the `kill_at`-th (from 1).
    ///
    /// The child is reaped by the stepper.
    ///
    /// # Errors
    /// Whatever the kernel says against tracing it.
    pub fn attach(mut child: Child, kill_at: Option<u64>) -> io::Result<Self> {
        let process = child.id();
        let (attached, ready) = mpsc::channel();
        let (killing, killed) = mpsc::channel();
        // One thread makes every request: the kernel knows tracers by thread.
        let tracer = std::thread::Builder::new().name("tracer".into()).spawn(move || {
            let outcome = seize_all(process);
            let failed = outcome.is_err();
            // Nobody listens only if attach() itself has ended, which it does not before it has heard.
            let _ = attached.send(outcome);
            if failed {
                // Nobody else can reap it: its parent has given it away.
                let _ = child.kill();
                let _ = child.wait();
                return Ok(Trail::default());
            }
            Tracing { process, kill_at, killing, foreign: HashSet::new(), trail: Trail::default() }.run()
        })?;
        ready.recv().map_err(|_| io::Error::other("the tracing thread has ended"))??;
        Ok(Stepper { process, killed, tracer })
    }

    /// Waits for the chosen call, for at most this long. Says whether it was reached.
    pub fn reached(&self, patience: Duration) -> bool {
        !matches!(self.killed.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
    }

    /// Kills the process if it still runs, and tells what it did.
    ///
    /// # Errors
    /// When tracing failed.
    pub fn finish(self) -> io::Result<Trail> {
        match trace::kill(self.process) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
            _ => {}
        }
        self.tracer.join().map_err(|_| io::Error::other("the tracing thread panicked"))?
    }
}

/// Seizes every thread there is; those made meanwhile by a seized one are traced by themselves.
fn seize_all(process: u32) -> io::Result<()> {
    let mut seized = HashSet::new();
    loop {
        let mut fresh = false;
        for thread in threads(process)? {
            if seized.insert(thread) {
                fresh = true;
                match trace::seize(thread).and_then(|()| trace::interrupt(thread)) {
                    // Ended meanwhile, or traced already because a seized thread made it.
                    Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EPERM)) => {}
                    other => other?,
                }
            }
        }
        if !fresh {
            return Ok(());
        }
    }
}

fn threads(process: u32) -> io::Result<Vec<u32>> {
    let mut threads = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
        threads.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(threads)
}

/// The state of the tracing thread.
struct Tracing {
    process: u32,
    kill_at: Option<u64>,
    killing: Sender<()>,
    /// Traced by the kernel because a thread of ours made them, but processes of their own.
    foreign: HashSet<u32>,
    trail: Trail,
}

impl Tracing {
    /// Until the process has ended. Its first thread is reported last.
    fn run(mut self) -> io::Result<Trail> {
        loop {
            let (thread, stop) = trace::wait()?;
            if matches!(stop, trace::Stop::Ended) {
                if thread == self.process {
                    return Ok(self.trail);
                }
                continue;
            }
            match self.step(thread, stop) {
                // Killed between its stop and our request: its end is reported next.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
    }

    fn step(&mut self, thread: u32, stop: trace::Stop) -> io::Result<()> {
        match stop {
            trace::Stop::Ended => Ok(()),
            trace::Stop::Call => self.call(thread),
            trace::Stop::Cloned => trace::go_on(thread, 0),
            trace::Stop::Interrupted if self.is_foreign(thread) => trace::detach(thread),
            trace::Stop::Interrupted => trace::go_on(thread, 0),
            trace::Stop::Grouped => trace::listen(thread),
            trace::Stop::Signal(signal) => trace::go_on(thread, signal),
        }
    }

    fn is_foreign(&mut self, thread: u32) -> bool {
        self.foreign.contains(&thread) || {
            let foreign = !std::path::Path::new(&format!("/proc/{}/task/{thread}", self.process)).exists();
            if foreign {
                self.foreign.insert(thread);
            }
            foreign
        }
    }

    fn call(&mut self, thread: u32) -> io::Result<()> {
        if self.trail.reached {
            // Between the kill and the end of this thread nothing more may be done.
            return Ok(());
        }
        let call = trace::entry(thread)?
            .and_then(|entry| syscalls::counted(self.process, entry.number, &entry.arguments));
        if let Some(call) = call {
            self.trail.calls.push(call);
            if self.kill_at == Some(self.trail.calls.len() as u64) {
                self.trail.reached = true;
                trace::kill(self.process)?;
                // Nobody listens when the script is over already.
                let _ = self.killing.send(());
                return Ok(());
            }
        }
        trace::go_on(thread, 0)
    }
}
