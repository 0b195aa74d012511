//! The thread that deletes what was thrown away, a moment later and behind everyone else.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gdn_types::{Error, ErrorKind, Result};
use rustix::process::{Pid, setpriority_process};
use rustix::thread::gettid;

use crate::volumes::Volumes;

/// How long what was thrown away lies: deleting changes the file system's journal, and the destroy that threw it away is
/// about to wait for that journal. So it waits until nothing was thrown away for a moment.
const MOMENT: Duration = Duration::from_millis(200);
/// How long at most, where there is always something: far below the 5 s in which files are gone.
const LONGEST: Duration = Duration::from_secs(1);
/// How long an engine that stops waits for what is being deleted. A container can leave more files than can be deleted in
/// any time that whoever stops an engine waits (10 s until it is killed, in Garden's deployments).
const PATIENCE: Duration = Duration::from_secs(5);
/// Whoever is waited for goes first. Not the lowest there is, which busy containers would leave a hundredth of a processor:
/// files are to be gone in seconds on a busy host too.
const NICENESS: i32 = 10;
/// As it was, once an engine that stops waits for the rest.
const WAITED_FOR: i32 = 0;

/// Wakes the thread that empties the trash. The thread ends when this is closed or dropped.
#[derive(Debug)]
pub(crate) struct Janitor(Mutex<Option<Thread>>);

#[derive(Debug)]
struct Thread {
    wake: SyncSender<()>,
    id: Pid,
    /// Hangs up when the thread has ended.
    over: Receiver<()>,
    ended: JoinHandle<()>,
}

impl Janitor {
    pub(crate) fn start(volumes: Arc<Volumes>) -> Result<Self> {
        Janitor::with(move || {
            if let Err(error) = volumes.empty_trash() {
                tracing::warn!(%error, "empty the trash; the next removal tries again");
            }
        })
    }

    fn with(empty: impl Fn() + Send + 'static) -> Result<Self> {
        // One waiting call is enough: the trash is emptied wholly each time.
        let (wake, woken) = sync_channel(1);
        let (running, over) = sync_channel(0);
        let (tell_id, id) = sync_channel(1);
        let ended = std::thread::Builder::new()
            .name("gdn-trash".to_owned())
            .spawn(move || {
                set_niceness(gettid(), NICENESS);
                // Whoever starts this waits for it.
                let _ = tell_id.send(gettid());
                run(&empty, &woken);
                drop(running);
            })
            .map_err(|error| {
                Error::caused(ErrorKind::Internal, "start the thread that empties the trash", error)
            })?;
        let id = id.recv().map_err(|_| Error::internal("the thread that empties the trash ended at once"))?;
        Ok(Janitor(Mutex::new(Some(Thread { wake, id, over, ended }))))
    }

    pub(crate) fn wake(&self) {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(thread) = thread.as_ref() else { return };
        match thread.wake.try_send(()) {
            Ok(()) | Err(TrySendError::Full(())) => {}
            Err(TrySendError::Disconnected(())) => {
                tracing::error!("the thread that empties the trash is gone")
            }
        }
    }

    /// Waits until everything thrown away so far is deleted, but not for ever: what is left then, and what is thrown away
    /// later, waits for the next engine.
    pub(crate) fn close(&self) {
        self.close_within(PATIENCE);
    }

    fn close_within(&self, patience: Duration) {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Thread { wake, id, over, ended }) = thread else { return };
        set_niceness(id, WAITED_FOR);
        drop(wake);
        if over.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(?patience, "the trash is not empty yet; the next engine goes on with it");
        } else if ended.join().is_err() {
            tracing::error!("the thread that empties the trash panicked");
        }
    }
}

fn run(empty: &impl Fn(), woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        let due = Instant::now() + LONGEST;
        // Further calls are for the same round. It ends early when nobody can call any more.
        while woken.recv_timeout(MOMENT.min(due.saturating_duration_since(Instant::now()))).is_ok() {}
        empty();
    }
}

/// Sets a thread's niceness, where that is allowed: raising it again takes a right that an unprivileged engine lacks.
fn set_niceness(thread: Pid, niceness: i32) {
    if let Err(errno) = setpriority_process(Some(thread), niceness) {
        tracing::debug!(%errno, niceness, "the thread that empties the trash keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_waits_for_the_trash_but_not_for_ever() {
        let (release, held) = sync_channel::<()>(0);
        let held = Mutex::new(held);
        let janitor = Janitor::with(move || {
            // Hangs up when the test is over.
            let _ = held.lock().unwrap().recv();
        })
        .unwrap();
        janitor.wake();
        janitor.close_within(Duration::ZERO);
        drop(release);

        let (tell, told) = sync_channel(1);
        let janitor = Janitor::with(move || tell.send(()).unwrap()).unwrap();
        janitor.wake();
        janitor.close();
        assert_eq!(told.try_recv(), Ok(()), "closing waited for the trash to be emptied");
    }
}
