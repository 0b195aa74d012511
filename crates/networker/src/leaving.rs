//! Addresses whose namespace is still on its way out.
//!
//! A network namespace ends a moment after its last process, and with it the link. Until then the address is nobody's: given
//! to another container it would be in use twice. One thread looks until the link is gone, and deletes one that outstays
//! its time because somebody holds the namespace open. Then it has the kernel forget the connections of the addresses:
//! whoever gets one next must not be taken for its last holder. To look for them takes the kernel milliseconds, the same for
//! one address and for many, so it is done for all that have gone in a while, and at once only where somebody waits for an
//! address. Last it removes their files: to free a file's blocks can take the disk milliseconds, too.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gdn_ipam::Network;
use gdn_links::LinkIndex;
use gdn_types::{ContainerId, Error, ErrorKind, Result};

use crate::files::Files;
use crate::firewall::Firewall;
use crate::links::Links;
use crate::pools::{Addresses, Pools};
use crate::store::Ledger;

/// Between two looks. The kernel takes some twenty milliseconds and more at a time.
const LOOK: Duration = Duration::from_millis(10);
/// What each one that leaves adds to that: of many the kernel lets many go at a time, and to look at all of them all the time
/// would keep a processor from those who wait for their destroys.
const LOOK_FOR_EACH: Duration = Duration::from_micros(400);
/// How long addresses whose links are gone wait for others, to be looked for in the kernel's connections together with them.
const GATHER: Duration = Duration::from_millis(250);
/// A namespace that is open for longer after its container's end is held by somebody else.
const OUTSTAYED: Duration = Duration::from_secs(2);

/// Pools, with a way to wait for something to come back.
#[derive(Debug)]
pub(crate) struct SharedPools {
    pools: Mutex<Waited>,
    came_back: Condvar,
}

/// Pools, how many links are to go, most of which bring an address back to them, and how many wait for that.
#[derive(Debug)]
struct Waited {
    pools: Pools,
    leaving: usize,
    waiting: usize,
}

/// An address and the link that is to go first.
#[derive(Debug)]
pub(crate) struct Leaver {
    pub(crate) link: LinkIndex,
    /// Whether there is an intermediate link of it, which does not go by itself.
    pub(crate) limited: bool,
    /// Absent for a link that nobody has an address for.
    pub(crate) addresses: Option<Addresses>,
    /// Addresses that the kernel may track connections of.
    pub(crate) tracked: Vec<IpAddr>,
    /// Whose they were: its record is kept until they are free, so that a later life knows them too.
    pub(crate) id: ContainerId,
    pub(crate) since: Instant,
}

/// Tells the thread who leaves. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Leaving {
    tell: Sender<Leaver>,
    pools: Arc<SharedPools>,
}

/// What the thread needs.
pub(crate) struct Looker {
    pub(crate) links: Arc<Links>,
    pub(crate) firewall: Arc<Firewall>,
    pub(crate) pools: Arc<SharedPools>,
    pub(crate) ledger: Ledger,
    pub(crate) files: Arc<Files>,
}

impl SharedPools {
    pub(crate) fn new(pools: Pools) -> Self {
        SharedPools { pools: Mutex::new(Waited { pools, leaving: 0, waiting: 0 }), came_back: Condvar::new() }
    }

    /// Does something with the pools.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Pools) -> T) -> T {
        work(&mut self.lock().pools)
    }

    /// Takes addresses; as long as what is wanted is on its way out of other hands, waits for that.
    pub(crate) fn take_addresses(&self, patience: Duration, network: &Network) -> Result<Addresses> {
        let deadline = Instant::now() + patience;
        let mut waited = self.lock();
        loop {
            let error = match waited.pools.take_addresses(network) {
                Err(error) => error,
                Ok(addresses) => return Ok(addresses),
            };
            let may_pass = error.is_exhaustion() || error.is_conflict();
            let left = deadline.saturating_duration_since(Instant::now());
            if !may_pass || waited.leaving == 0 || left.is_zero() {
                return Err(waited.pools.refuse(error));
            }
            waited.waiting += 1;
            let woken = self.came_back.wait_timeout(waited, left);
            waited = woken.unwrap_or_else(PoisonError::into_inner).0;
            waited.waiting -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waited> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody is leaving any more; whether that came about in time.
    pub(crate) fn wait_for_leavers(&self, patience: Duration) -> bool {
        let mut waited = self.lock();
        waited.waiting += 1;
        let woken = self.came_back.wait_timeout_while(waited, patience, |waited| waited.leaving > 0);
        let mut waited = woken.unwrap_or_else(PoisonError::into_inner).0;
        waited.waiting -= 1;
        waited.leaving == 0
    }

    /// Whether somebody waits for an address to come back.
    fn is_waited_for(&self) -> bool {
        self.lock().waiting > 0
    }

    fn leaves(&self) {
        self.lock().leaving += 1;
    }

    fn come_back(&self, addresses: Addresses) {
        self.with(|pools| pools.give_back_addresses(addresses));
        self.came_back.notify_all();
    }

    fn has_left(&self) {
        let mut waited = self.lock();
        waited.leaving = waited.leaving.saturating_sub(1);
        drop(waited);
        self.came_back.notify_all();
    }
}

impl Leaving {
    /// Starts the thread.
    pub(crate) fn start(looker: Looker) -> Result<Self> {
        let (tell, told) = channel();
        let pools = looker.pools.clone();
        std::thread::Builder::new().name("gdn-netns".to_owned()).spawn(move || run(&looker, &told)).map_err(
            |error| {
                Error::caused(ErrorKind::Internal, "start the thread that waits for namespaces to end", error)
            },
        )?;
        Ok(Leaving { tell, pools })
    }

    pub(crate) fn add(&self, leaver: Leaver) {
        self.pools.leaves();
        if self.tell.send(leaver).is_err() {
            tracing::error!("the thread that waits for namespaces to end is gone");
        }
    }
}

fn run(looker: &Looker, told: &Receiver<Leaver>) {
    let mut leavers: Vec<Leaver> = Vec::new();
    let mut gone: Vec<Leaver> = Vec::new();
    let mut gathering = Instant::now();
    loop {
        let next = if leavers.is_empty() && gone.is_empty() {
            told.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            told.recv_timeout(pause(leavers.len()))
        };
        match next {
            Ok(leaver) => {
                leavers.push(leaver);
                leavers.extend(told.try_iter());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for leaver in leavers.extract_if(.., |leaver| looker.is_gone(leaver)) {
            match leaver.tracked.is_empty() {
                true => looker.has_left(leaver),
                false => {
                    if gone.is_empty() {
                        gathering = Instant::now();
                    }
                    gone.push(leaver);
                }
            }
        }
        if gone.is_empty() || (gathering.elapsed() < GATHER && !looker.pools.is_waited_for()) {
            continue;
        }
        let tracked: Vec<IpAddr> = gone.iter().flat_map(|leaver| leaver.tracked.iter().copied()).collect();
        if let Err(error) = looker.firewall.forget_connections(&tracked) {
            tracing::warn!(%error, "addresses of containers that are gone are not free yet; it will be tried again");
            // Whatever comes of it, it is tried again no sooner.
            gone.iter_mut().for_each(|leaver| leaver.since = Instant::now() + OUTSTAYED);
            leavers.append(&mut gone);
        }
        gone.drain(..).for_each(|leaver| looker.has_left(leaver));
    }
}

/// How long to wait for more before looking at so many again.
fn pause(leavers: usize) -> Duration {
    LOOK + LOOK_FOR_EACH * u32::try_from(leavers).unwrap_or(u32::MAX)
}

impl Looker {
    fn is_gone(&self, leaver: &mut Leaver) -> bool {
        if leaver.since > Instant::now() {
            return false;
        }
        match self.links.exists(leaver.link) {
            Ok(false) => return true,
            Ok(true) if leaver.since.elapsed() > OUTSTAYED => {
                // Whatever comes of it, it is tried again no sooner.
                leaver.since = Instant::now();
                if let Err(error) = self.links.remove(leaver.link) {
                    tracing::warn!(%error, "the link of a container that is gone stays; it will be tried again");
                }
            }
            Ok(true) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot tell whether a container's link is gone; it will be tried again");
            }
        }
        false
    }

    fn has_left(&self, leaver: Leaver) {
        if leaver.limited
            && let Err(error) = self.links.remove_intermediate(&leaver.id)
        {
            // Tried again by the next start.
            tracing::error!(id = %leaver.id, %error, "the intermediate link of a container that is gone stays");
        }
        if let Err(error) = self.ledger.forget(&leaver.id) {
            // Tried again by the next start.
            tracing::error!(id = %leaver.id, %error, "the network of a container that is gone stays written down");
        }
        if let Some(addresses) = leaver.addresses {
            self.pools.come_back(addresses);
        }
        if let Err(error) = self.files.remove(&leaver.id) {
            // Tried again by the next start.
            tracing::error!(id = %leaver.id, %error, "the files of a container that is gone stay");
        }
        self.pools.has_left();
    }
}
