//! Addresses whose namespace is still on its way out.
//!
//! A network namespace ends a moment after its last process, and with it the link. Until then the address is nobody's: given
//! to another container it would be in use twice. One thread looks until the link is gone, and deletes one that outstays
//! its time because somebody holds the namespace open.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gdn_links::LinkIndex;
use gdn_types::{Error, ErrorKind, Result};

use crate::links::Links;
use crate::pools::{Addresses, Pools};

/// Between two looks. The kernel takes some twenty milliseconds and more at a time.
const LOOK: Duration = Duration::from_millis(10);
/// A namespace that is open for longer after its container's end is held by somebody else.
const OUTSTAYED: Duration = Duration::from_secs(2);

/// Pools, with a way to wait for something to come back.
#[derive(Debug)]
pub(crate) struct SharedPools {
    pools: Mutex<Pools>,
    came_back: Condvar,
}

/// An address and the link that is to go first.
#[derive(Debug)]
pub(crate) struct Leaver {
    pub(crate) link: LinkIndex,
    /// Absent for a link that nobody has an address for.
    pub(crate) addresses: Option<Addresses>,
    pub(crate) since: Instant,
}

/// Tells the thread who leaves. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Leaving(Sender<Leaver>);

impl SharedPools {
    pub(crate) fn new(pools: Pools) -> Self {
        SharedPools { pools: Mutex::new(pools), came_back: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the pools, and again as long as they are empty and something may come back in time.
    pub(crate) fn take<T>(
        &self,
        patience: Duration,
        mut take: impl FnMut(&mut Pools) -> Result<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        let mut pools = self.lock();
        loop {
            let error = match take(&mut pools) {
                Err(error) if error.kind() == ErrorKind::ResourceExhausted => error,
                other => return other,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(error);
            }
            let waited = self.came_back.wait_timeout(pools, left);
            pools = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes addresses free.
    pub(crate) fn give_back(&self, addresses: Addresses) {
        self.lock().give_back_addresses(addresses);
        self.came_back.notify_all();
    }
}

impl Leaving {
    /// Starts the thread.
    pub(crate) fn start(links: Arc<Links>, pools: Arc<SharedPools>) -> Result<Self> {
        let (tell, told) = channel();
        std::thread::Builder::new()
            .name("gdn-netns".to_owned())
            .spawn(move || run(&links, &pools, &told))
            .map_err(|error| {
                Error::caused(ErrorKind::Internal, "start the thread that waits for namespaces to end", error)
            })?;
        Ok(Leaving(tell))
    }

    pub(crate) fn add(&self, leaver: Leaver) {
        if self.0.send(leaver).is_err() {
            tracing::error!("the thread that waits for namespaces to end is gone");
        }
    }
}

fn run(links: &Links, pools: &SharedPools, told: &Receiver<Leaver>) {
    let mut leavers: Vec<Leaver> = Vec::new();
    loop {
        let next = if leavers.is_empty() {
            told.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            told.recv_timeout(LOOK)
        };
        match next {
            Ok(leaver) => {
                leavers.push(leaver);
                leavers.extend(told.try_iter());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        leavers.retain(|leaver| !has_left(links, pools, leaver));
    }
}

fn has_left(links: &Links, pools: &SharedPools, leaver: &Leaver) -> bool {
    match links.exists(leaver.link) {
        Ok(false) => {
            if let Some(addresses) = leaver.addresses {
                pools.give_back(addresses);
            }
            true
        }
        Ok(true) if leaver.since.elapsed() > OUTSTAYED => {
            if let Err(error) = links.remove(leaver.link) {
                tracing::warn!(%error, "the link of a container that is gone stays; it will be tried again");
            }
            false
        }
        Ok(true) => false,
        Err(error) => {
            tracing::warn!(%error, "cannot tell whether a container's link is gone; it will be tried again");
            false
        }
    }
}
