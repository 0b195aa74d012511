//! Few threads that read figures of many containers.
//!
//! The figures of one are some files of the kernel's, read in less time than it takes to wake a thread for them. So one that is
//! awake reads whatever else was asked for meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gdn_types::{Error, Result};
use tokio::sync::oneshot;

/// Threads that read at most: more wait for the kernel's locks and for each other.
const AT_ONCE: usize = 2;

type Reading = Box<dyn FnOnce() + Send>;

/// What is to be read, and by how many threads.
#[derive(Clone, Default)]
pub(crate) struct Readers(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    waiting: VecDeque<Reading>,
    threads: usize,
}

impl Readers {
    /// Reads on a thread that may block.
    ///
    /// # Errors
    /// What `read` answers; `Internal` when it panicked.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let reading = Box::new(move || {
            // Nobody is there to be told when the client went away.
            let _told = answer.send(read());
        });
        if self.ask(reading) {
            let readers = self.clone();
            tokio::task::spawn_blocking(move || readers.read_all());
        }
        answered.await.map_err(|_| Error::internal("reading figures panicked"))?
    }

    /// Whether one more thread is to be started for it.
    fn ask(&self, reading: Reading) -> bool {
        let mut asked = self.asked();
        asked.waiting.push_back(reading);
        let more = asked.threads < AT_ONCE;
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_is_told_its_own_and_a_panic_disturbs_no_other() {
        let readers = Readers::default();
        let all = (0..20).map(|number| {
            readers.read(move || {
                assert_ne!(number, 7, "this one panics on purpose");
                Ok(number)
            })
        });
        let told = futures::future::join_all(all).await;
        for (number, told) in told.into_iter().enumerate() {
            assert_eq!(told.ok(), (number != 7).then_some(number));
        }
        assert!(readers.asked().waiting.is_empty());
    }
}
