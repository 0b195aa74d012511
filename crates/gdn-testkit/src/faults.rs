//! The fault clock: counts the calls of all components and strikes at the ones it was told to.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gdn_types::{Error, ErrorKind, Result};
use tokio::sync::watch;

/// Where in a call a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Nothing of it is done.
    Before,
    /// Half of it is done.
    Halfway,
    /// All of it is done, and nobody has been told.
    After,
}

impl Point {
    /// All three, for sweeps.
    pub const ALL: [Point; 3] = [Point::Before, Point::Halfway, Point::After];
}

/// Which call a fault waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The n-th call of any component, counted from 1 from now on.
    Nth(usize),
    /// The n-th call of one method (`volumizer.create`), counted from 1 from now on.
    Call(&'static str, usize),
    /// Every call of one method.
    Every(&'static str),
}

/// What happens there.
#[derive(Clone, Debug)]
pub enum Action {
    /// The call answers this kind of error.
    Fail(ErrorKind),
    /// The call panics.
    Panic,
    /// The engine is killed: this call and all others of its life never return.
    Crash,
    /// The call takes this long.
    Delay(Duration),
    /// The call waits until [`FaultClock::release`].
    Block,
}

/// Counts calls and strikes. Clears itself of a fault that struck, except [`Site::Every`].
#[derive(Default)]
pub struct FaultClock {
    state: Mutex<State>,
    signals: Signals,
}

#[derive(Default)]
struct State {
    faults: Vec<Armed>,
    log: Vec<String>,
    struck: usize,
}

struct Armed {
    site: Site,
    point: Point,
    action: Action,
    seen: usize,
    /// The call it waits for has begun: it strikes at its own point of that call.
    chosen: Option<&'static str>,
}

struct Signals {
    dead: watch::Sender<bool>,
    released: watch::Sender<u64>,
    blocked: watch::Sender<usize>,
}

impl Default for Signals {
    fn default() -> Self {
        Signals {
            dead: watch::Sender::new(false),
            released: watch::Sender::new(0),
            blocked: watch::Sender::new(0),
        }
    }
}

impl FaultClock {
    /// Arms a fault.
    pub fn arm(&self, site: Site, point: Point, action: Action) {
        self.state().faults.push(Armed { site, point, action, seen: 0, chosen: None });
    }

    /// Disarms every fault.
    pub fn disarm(&self) {
        self.state().faults.clear();
    }

    /// How many faults have struck so far.
    pub fn struck(&self) -> usize {
        self.state().struck
    }

    /// The calls so far, in the order in which they began; for the message of a failed test.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Lets every blocked call go on.
    pub fn release(&self) {
        self.signals.released.send_modify(|count| *count += 1);
    }

    /// Waits until that many calls in all have come to a [`Action::Block`].
    pub async fn blocked(&self, calls: usize) {
        let mut blocked = self.signals.blocked.subscribe();
        // An error means that the clock is gone, and with it whoever could wait.
        let _ = blocked.wait_for(|count| *count >= calls).await;
    }

    /// Waits until an [`Action::Crash`] has struck.
    pub async fn crashed(&self) {
        let mut dead = self.signals.dead.subscribe();
        let _ = dead.wait_for(|dead| *dead).await;
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.signals.dead.borrow()
    }

    pub(crate) fn revive(&self) {
        self.signals.dead.send_replace(false);
    }

    pub(crate) async fn strike(&self, call: &'static str, point: Point) -> Result<()> {
        let Some(action) = self.choose(call, point) else { return Ok(()) };
        match action {
            Action::Fail(kind) => {
                return Err(Error::new(kind, format!("injected fault in {call} ({point:?})")));
            }
            Action::Panic => std::panic::panic_any(format!("injected panic in {call} ({point:?})")),
            Action::Crash => drop(self.signals.dead.send_replace(true)),
            Action::Delay(time) => tokio::time::sleep(time).await,
            Action::Block => {
                let mut released = self.signals.released.subscribe();
                self.signals.blocked.send_modify(|count| *count += 1);
                let _ = released.changed().await;
            }
        }
        Ok(())
    }

    fn choose(&self, call: &'static str, point: Point) -> Option<Action> {
        let mut state = self.state();
        let state = &mut *state;
        if point == Point::Before {
            state.log.push(call.to_owned());
            state.faults.iter_mut().for_each(|fault| fault.begin(call));
        }
        let position =
            state.faults.iter().position(|fault| fault.chosen == Some(call) && fault.point == point)?;
        state.struck += 1;
        let fault = &mut state.faults[position];
        let action = fault.action.clone();
        match fault.site {
            Site::Every(_) => fault.chosen = None,
            Site::Nth(_) | Site::Call(..) => drop(state.faults.remove(position)),
        }
        Some(action)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn begin(&mut self, call: &'static str) {
        let (counts, at) = match self.site {
            Site::Nth(at) => (true, Some(at)),
            Site::Call(name, at) => (name == call, Some(at)),
            Site::Every(name) => (name == call, None),
        };
        if counts {
            self.seen += 1;
            if at.is_none_or(|at| at == self.seen) {
                self.chosen = Some(call);
            }
        }
    }
}
