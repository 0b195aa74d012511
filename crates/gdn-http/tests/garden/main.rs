//! The gate in front of the real orchestrator, over a real socket: recorded bytes in both directions. The components are the
//! in-memory world's.

#![allow(clippy::unwrap_used, reason = "a failed step of a test ends it")]

mod documents;
mod gate;
mod hostile;
mod streams;
mod vectors;
