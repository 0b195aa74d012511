//! The bed of the black-box tests: an engine of the built `gdn` binary, with a root of its own.
//!
//! What it is: [`Engine`] (a server on a temporary root, killed, restarted and swept at will), [`Gdn`] (one run of the
//! command, with a deadline), [`garden::Garden`] (a client of the Garden API), and images made of busybox ([`images`]).
//!
//! What it is not: a library for anything but tests. A step that fails panics, as an assertion would.
//!
//! Start with [`Engine::start`]; end with [`Engine::finish`], which asks the leak oracle.
//!
//! Invariants: whatever a test started is gone when it ends, also when it fails; nothing is waited for without a deadline;
//! the binary is the one in `GDN_BIN`, else the development build of this workspace. With `GDN_TEST_RUNTIME` (`runc`, say)
//! every server has that runtime plug-in.
//!
//! Limitations: needs root, and a static busybox in `/bin`.
//!
//! ```no_run
//! use engine_tests::Engine;
//!
//! let engine = Engine::start();
//! let handle = engine.create(&[]);
//! engine.gdn(["exec", &handle, "true"]).expect_status(0);
//! engine.finish();
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a step of the bed that fails is a failed test")]

mod engine;
pub mod garden;
mod gdn;
pub mod host;
pub mod images;
pub mod inside;
pub mod mounts;
pub mod rlimits;
pub mod session;
pub mod tars;
mod wait;

pub use engine::{Engine, Server};
pub use gdn::{Gdn, Outcome, binary};
pub use wait::{PATIENCE, eventually, until, until_some};
