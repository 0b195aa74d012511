//! Security campaigns: scripted attempts to get out of a container, or to get more in it than it may have.
//!
//! What it is: a [`Row`] is one kind of attack with its reference; its *cases* are attempts with a [`Verdict`] of their own;
//! its *controls* are the same attempts against a target known to be weak, where they must succeed. A row whose control
//! does not escape has not shown anything and fails.
//! Run one by `cargo xtask campaign S4`, or a part of it by `cargo xtask campaign S4 S4.03 --case 2`.
//!
//! What it is *not*: a fuzzer (attempts are written down, seeds only order and time them), nor a test of what the engine
//! offers (that is `engine-tests`, whose engine and sessions are used here).
//!
//! # How to add a row
//! Write a function that plays it, and a [`Row`] in its campaign's table with the number of cases it plays:
//! ```no_run
//! use gdn_campaigns::{Row, Stage, Target, Verdict};
//!
//! /// The same attempt, whoever the target is.
//! fn reads_the_canary(target: &dyn Target, secret: &str, path: &str) -> Verdict {
//!     let ran = target.run("", &["cat", path]);
//!     Verdict::held_unless(ran.everything().contains(secret), || format!("read {path}"))
//! }
//!
//! fn play(stage: &mut Stage<'_>) {
//!     stage.case("by its path", |bed| {
//!         let handle = bed.create(Default::default());
//!         reads_the_canary(&bed.inside(&handle), bed.canary().secret(), bed.canary().file().to_str().unwrap())
//!     });
//!     stage.control("a process that is not contained at all", |bed| {
//!         let decoy = bed.decoy();
//!         reads_the_canary(&bed.bare().unchanged_root(), decoy.secret(), decoy.file().to_str().unwrap())
//!     });
//! }
//!
//! const ROW: Row = Row {
//!     id: "S9.01",
//!     title: "the host's files cannot be read by their path",
//!     reference: "",
//!     cases: 1,
//!     attempts: 1,
//!     play,
//! };
//! ```
//! * [`Stage::case`] counts, names and times a case, turns a panic into [`Verdict::Broken`], and skips it when another was
//!   asked for; loops of attempts run [`Stage::attempts`] times, and chance comes from [`Stage::dice`].
//! * What is known not to hold is played by [`Stage::excepted`] with the reason, and told apart in every report.
//! * What a reader of a row could take for a gap and is as it should be is told by [`Stage::accepts`].
//! * Weak targets: [`Bed::bare`] (the probe as a runtime that does next to nothing), [`Peer`] (runc and crun of the
//!   distribution), a container of the engine with a defence switched off ([`Bed::create`] with another spec), or a naive
//!   way of doing the same thing.
//! * What an attempt needs to do inside is a subcommand of the probe (`tests/probe`), which is `/bin/probe` in the image.
//! * Rows about the network have a bed on a host of its own ([`Bed::networked`]): network namespaces for the server and for
//!   what is outside. What is sent carries a [`Word`], and a [`Sniffer`] tells where it arrives.
//! * A control that writes to the host does so to a [`Bed::decoy`], never to the [`Bed::canary`].
//!
//! # Invariants
//! After each row: the canary (files outside of anything the engine may touch) is what it was, the server answers, and the
//! binary has not changed. At the end of a run nothing of the engine is left on the host.
//!
//! # Limitations
//! Needs root, x86_64 or aarch64, and a static busybox.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a step of the bed that fails is a failed test")]

mod archive;
mod bed;
mod campaigns;
mod canary;
mod dice;
mod image;
mod packets;
mod racer;
mod report;
mod row;
mod runner;
mod stage;
mod targets;
mod verdict;
mod wire;

pub use archive::Hostile;
pub use bed::Bed;
pub use campaigns::{find, names};
pub use canary::Canary;
pub use dice::Dice;
pub use image::{Images, Words};
pub use racer::Racer;
pub use report::{ControlReport, Report, RowReport};
pub use row::{Campaign, Row};
pub use runner::{Attempts, Plan, run};
pub use stage::Stage;
pub use targets::{Bare, Inside, Peer, Seen, Target, probe};
pub use verdict::Verdict;
pub use wire::{Ear, Sniffer, Word};
