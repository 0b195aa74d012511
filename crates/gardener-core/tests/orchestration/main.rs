//! The orchestrator over the in-memory world: what remains after every fault, crash and cancellation.

#![allow(clippy::unwrap_used, reason = "a test panics at the first surprise")]

mod bed;
mod cancel;
mod crash;
mod events;
mod grace;
mod lifecycle;
mod lookup;
mod lost;
mod races;
mod sidecars;
mod sweep;
mod throttling;
