//! Campaign R1.02: kill -9 of the engine before each state-changing system call of a container's life.
//!
//! What it is: a ptrace [`Stepper`] that counts the calls of a running `gdn server` and kills it before the k-th, a
//! script of client verbs with a [`Ledger`] of what was sent and what was acknowledged, and a [`Bed`]: one
//! root directory with the oracle that looks whether everything is back as it was. Start at [`Bed::case`], or run the
//! campaign: `cargo run -p crash-tests --bin crash`.
//!
//! What it is *not*: a test of helpers dying (only the server is killed; launcher and keepers run on untraced), nor of a
//! loss of power (what the kernel was told is kept).
//!
//! # Invariants checked in each case
//! I1: an acknowledged create that was not asked to be destroyed is listed and runs processes, and its init is the same
//! process. I2: an acknowledged destroy is not listed. I3: an unacknowledged create is wholly there, or wholly gone and its
//! handle free. I4: when everything listed was destroyed and the server stopped, the host is as it was.
//!
//! # Limitations
//! The order of calls of different threads varies from run to run, so that case k is not always the same call; each
//! verdict names the call that was not made. What the server does between two counted calls is not told apart.

mod bed;
mod campaign;
mod client;
mod orphans;
mod recovery;
mod script;
mod server;
mod stepper;
mod syscalls;
mod trace;

pub use bed::{Bed, Played, Verdict};
pub use campaign::{Campaign, Summary};
pub use script::{Init, Ledger, Scenario, Step};
pub use stepper::{Stepper, Trail};
