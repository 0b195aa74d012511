//! In-memory components with a fault clock, conformance suites and the leak oracle.
//!
//! What it is: the tools with which the engine is tested without a kernel ([`World`], [`FaultClock`]), with which every
//! implementation of a component trait is held to the same promises ([`conformance`]), and with which a host is compared
//! before and after ([`leak`]).
//!
//! What it is not: a part of any binary; it is a dev-dependency only. It records no expectations about calls: tests look
//! at what exists and what remains.
//!
//! Start with [`World`].
//!
//! Invariants: an in-memory component changes the world only through the steps it declares, and a fault can strike before,
//! halfway and after each of them; a killed engine's calls never return; only what was made durable survives a kill.
//!
//! Limitations: process streams carry what the fake programs print; a tar is an uninterpreted run of at most a pipe's
//! size of bytes.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use gdn_testkit::{Action, Point, Site, World};
//! use gdn_types::{ContainerId, ErrorKind};
//!
//! let world = World::new();
//! world.clock().arm(Site::Nth(1), Point::Before, Action::Fail(ErrorKind::Internal));
//! let error = world.volumizer().destroy(&ContainerId::from_bits(1).into()).await.unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Internal);
//! assert!(world.leftovers().is_empty());
//! # }
//! ```

pub mod conformance;
mod faults;
pub mod leak;
mod processes;
mod world;

pub use faults::{Action, FaultClock, Point, Site};
pub use world::World;
