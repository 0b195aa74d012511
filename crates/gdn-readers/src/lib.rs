//! Few threads that read for many: the figures of a hundred containers, say.
//!
//! What it is: [`Readers`], a queue of short readings that may block, and threads of tokio's that exist while there is
//! something in it. The figures of one container are some files of the kernel's, read in less time than it takes to wake a
//! thread for them; so a thread that is awake reads whatever else was asked for meanwhile.
//!
//! What it is not: a place for work that waits for others. As many readings as there are threads hold up all the rest.
//!
//! ```
//! use gdn_readers::Readers;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), gdn_readers::Panicked> {
//! let readers = Readers::new(2);
//! let uptime = readers.read(|| std::fs::read_to_string("/proc/uptime")).await?;
//! assert!(uptime.is_ok());
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

type Reading = Box<dyn FnOnce() + Send>;

/// The reading panicked; the panic's message went where panics go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reading panicked")]
pub struct Panicked;

/// What is to be read, and by how many threads.
#[derive(Clone)]
pub struct Readers {
    at_once: usize,
    asked: Arc<Mutex<Asked>>,
}

#[derive(Default)]
struct Asked {
    waiting: VecDeque<Reading>,
    threads: usize,
}

impl Readers {
    /// So many threads at most, and one at least. Beyond the number of processors more only help where readings wait for
    /// a disk.
    pub fn new(at_once: usize) -> Self {
        Readers { at_once: at_once.max(1), asked: Arc::default() }
    }

    /// Reads on a thread that may block. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Panicked`] when `read` panicked, or the runtime ended before it began.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (answer, answered) = oneshot::channel();
        let reading = Box::new(move || {
            // Nobody is there to be told when the client went away.
            let _told = answer.send(read());
        });
        if self.ask(reading) {
            let readers = self.clone();
            tokio::task::spawn_blocking(move || readers.read_all());
        }
        answered.await.map_err(|_| Panicked)
    }

    /// Whether one more thread is to be started for it.
    fn ask(&self, reading: Reading) -> bool {
        let mut asked = self.asked();
        asked.waiting.push_back(reading);
        let more = asked.threads < self.at_once;
        asked.threads += usize::from(more);
        more
    }

    fn read_all(&self) {
        loop {
            let mut asked = self.asked();
            let Some(reading) = asked.waiting.pop_front() else {
                asked.threads -= 1;
                return;
            };
            drop(asked);
            // One that panics has dropped its answer, which tells its client; the others are read all the same.
            let _ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(reading));
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("at_once", &self.at_once).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_is_told_its_own_and_a_panic_disturbs_no_other() {
        let readers = Readers::new(2);
        let all = (0..20).map(|number| {
            readers.read(move || {
                assert_ne!(number, 7, "this one panics on purpose");
                number
            })
        });
        let told = futures::future::join_all(all).await;
        for (number, told) in told.into_iter().enumerate() {
            assert_eq!(told.ok(), (number != 7).then_some(number));
        }
        assert!(readers.asked().waiting.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_takes_long_holds_up_nobody_while_there_is_another_thread() {
        let readers = Readers::new(2);
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let slow = tokio::spawn({
            let readers = readers.clone();
            async move { readers.read(move || wait.recv()).await }
        });
        for number in 0..10 {
            assert_eq!(readers.read(move || number).await, Ok(number));
        }
        drop(go_on);
        assert!(slow.await.is_ok_and(|read| read.is_ok_and(|received| received.is_err())));
    }
}
