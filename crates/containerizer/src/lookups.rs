//! Questions to files of a container that may be long in coming to an answer.
//!
//! A file can be the container's own to answer for: one of a FUSE file system, whose program runs in a privileged container, or
//! of a network file system that was bind-mounted. Whoever reads it waits for as long as that takes, and nothing but an answer
//! or the end of that program wakes him. So few threads wait for one container, and no client for long.

use std::sync::Arc;
use std::time::Duration;

use gdn_types::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use crate::failures;

/// Threads that wait for one container at most.
const AT_ONCE: usize = 2;

/// How long a client waits: far longer than any disk takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The questions to one container that are open.
#[derive(Debug)]
pub(crate) struct Lookups {
    threads: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Lookups {
    fn default() -> Self {
        Lookups { threads: Arc::new(Semaphore::new(AT_ONCE)), patience: PATIENCE }
    }
}

impl Lookups {
    /// Asks on a thread that may wait.
    ///
    /// # Errors
    /// What `ask` answers; `DeadlineExceeded` when it does not. Its thread then goes on waiting, and counts as one of the few.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let threads = Arc::clone(&self.threads);
        let answer = async {
            let thread =
                threads.acquire_owned().await.map_err(|_| Error::internal("the container is gone"))?;
            let asked = tokio::task::spawn_blocking(move || {
                let _counted = thread;
                ask()
            });
            asked.await.map_err(|error| failures::joined(&error))?
        };
        tokio::time::timeout(self.patience, answer).await.unwrap_or_else(|_| {
            Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!(
                    "read the container's /etc/passwd and /etc/group: nothing came within {:?}",
                    self.patience
                ),
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn whoever_does_not_answer_holds_few_threads_and_no_client() {
        let lookups = Lookups { patience: Duration::from_millis(20), ..Lookups::default() };
        let mut silent = Vec::new();
        for _ in 0..2 * AT_ONCE {
            let (answer, wait) = mpsc::channel::<()>();
            let asked = lookups.ask(move || wait.recv().map_err(|_| Error::internal("not asked"))).await;
            assert_eq!(asked.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
            silent.push(answer);
        }
        // The others' threads have never begun: their ends are gone with the questions.
        let waiting = silent.iter().filter(|answer| answer.send(()).is_ok()).count();
        assert_eq!(waiting, AT_ONCE);
        drop(silent);
        let lookups = Lookups { patience: PATIENCE, ..lookups };
        assert_eq!(lookups.ask(|| Ok(7)).await.unwrap(), 7);
    }
}
